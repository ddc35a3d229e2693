"""Compare the avatar's alpha with the matte of the true frame: mean absolute error and intersection over union."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from selfieavatar.evaluation.regions import mean_or_none

METRICS = ("mask_mae", "mask_iou")
NOT_KNOWN = "the method gives no mask, or no loss has taught it one"


def mask_error(alpha: np.ndarray, matte: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the mean absolute error of alpha and the intersection over union of both, cut at one half.

    Args:
        alpha: (N,H,W) float in [0,1], 1 on the person, as the avatar gives it.
        matte: (N,H,W) float in [0,1] of the true frames.

    Returns:
        {metric: (N,) float64}; two empty masks agree wholly.
    """
    axes = (1, 2)
    error = np.abs(alpha - matte).mean(axis=axes, dtype=np.float64)
    mine, true = alpha >= 0.5, matte >= 0.5
    both, either = (mine & true).sum(axis=axes), (mine | true).sum(axis=axes)
    overlap = np.divide(both, either, out=np.ones(len(alpha)), where=either > 0)
    return {"mask_mae": error, "mask_iou": overlap}


@dataclass
class MaskSheet:
    """Collector of the mask's errors over batches."""

    _parts: list[dict[str, np.ndarray]] = field(default_factory=list)

    def add(self, alpha: np.ndarray, matte: np.ndarray) -> None:
        """Add N frames; see `mask_error`."""
        self._parts.append(mask_error(alpha, matte))

    def per_frame(self) -> dict[str, np.ndarray]:
        """List {metric: (N,)} in the order of adding; empty for a method without a mask."""
        return {name: np.concatenate([np.zeros(0), *(part[name] for part in self._parts)]) for name in METRICS}

    def summary(self) -> dict[str, float | int | None] | None:
        """Average: {"frames": N, metric: mean}; None for a method without a mask."""
        if not self._parts:
            return None
        values = self.per_frame()
        return {"frames": len(values["mask_mae"])} | {name: mean_or_none(values[name]) for name in METRICS}

    def notes(self) -> list[str]:
        """Say why metrics are missing."""
        return [] if self._parts else [f"{name}: {NOT_KNOWN}" for name in METRICS]
