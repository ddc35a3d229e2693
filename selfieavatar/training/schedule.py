"""Schedule a training: its budget, and the learning rates over it."""

from __future__ import annotations

from dataclasses import dataclass

from selfieavatar.settings.train_section import Optimisation

WARM_UP_IMAGES = 200


@dataclass
class Budget:
    """Training budget: images, minutes, or both (whichever ends first); 0 sets no bound."""

    images: int
    minutes: float

    def progress(self, images: int, minutes: float) -> float:
        """Compute the share of the budget that is used, at least 0; 1 and more is the end."""
        used = [images / self.images] if self.images else []
        return max([*used, minutes / self.minutes] if self.minutes else used, default=0.0)


def learning_rate_factor(progress: float, images: int, settings: Optimisation) -> float:
    """Compute the factor of the generators' learning rates: linear warm-up, constant, linear decay to a floor.

    progress: used share of the budget. images: those seen after this step.
    """
    decay = min(1.0, (1 - progress) / max(1 - settings.decay_from, 1e-6))
    return min(1.0, images / WARM_UP_IMAGES) * max(decay, settings.lr_floor)
