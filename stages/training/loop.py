"""The training loop, to be read from top to bottom; one step of it is `Trainer.step`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.core.cli import progress
from stages.training.dataset import FrameStore, batch_positions, make_batch
from stages.training.monitor import Monitor, psnr_db, sharpness_share
from stages.training.state import load_state, save_state, stop_between_steps
from stages.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass
class Budget:
    """How long to train: images, minutes, or both (whichever ends first); 0 sets no bound."""

    images: int
    minutes: float

    def share(self, images: int, minutes: float) -> float:
        """Share of the budget that is used, at least 0; 1 and more is the end."""
        used = [images / self.images] if self.images else []
        return max([*used, minutes / self.minutes] if self.minutes else used, default=0.0)


@dataclass
class Frames:
    """What to train on.

    store: frames of the training and validation splits, in the order of time. weights (N,): how often each is drawn,
    0 for those never trained on. validation: positions to validate on.
    """

    store: FrameStore
    weights: np.ndarray
    validation: list[int]

    @property
    def times(self) -> np.ndarray:
        """Position of each frame in the material, (N,) in [0,1]: the time code."""
        return np.linspace(0, 1, max(len(self.store), 2))[: len(self.store)]


def train(settings: dict[str, Any], size_px: int, frames: Frames, folder: Path, device: str) -> Trainer:
    """Trains until the budget is used; goes on from the state in `folder` where there is one.

    Args:
        settings: the section `train`.
        folder: where state, TensorBoard events, stats.jsonl and grids go.

    Returns:
        the trainer; its `average` holds the networks of the avatar, its `history` the reports.

    Raises:
        UserError: the loss became NaN several times.
    """
    trainer = Trainer(settings, size_px, device)
    trainer.restore(load_state(folder, device))
    budget = Budget(settings["images"], settings["minutes"])
    monitor = Monitor(folder, trainer.images)
    bar = progress(total=1000, desc="train", unit="‰")
    save_state(folder, trainer.state())  # the first good state to return to
    try:
        with stop_between_steps() as stop:
            while budget.share(trainer.images, trainer.minutes) < 1:
                if not _run(trainer, budget, frames, monitor, folder, bar, stop):
                    trainer.fall_back(load_state(folder, device))
        # A run that was killed after its last report has it already.
        if not trainer.history or trainer.history[-1]["images"] != trainer.images:
            report(trainer, monitor, frames)
        bar.update(1000 - bar.n)
    finally:
        if trainer.healthy:  # Ctrl-C and the end of a batch job come through here, too
            save_state(folder, trainer.state())
            if budget.share(trainer.images, trainer.minutes) < 1:
                log.info("saved after %d images; run the same command to go on", trainer.images)
        monitor.close()
        bar.close()
    return trainer


def _run(
    trainer: Trainer,
    budget: Budget,
    frames: Frames,
    monitor: Monitor,
    folder: Path,
    bar: Any,
    stop: Callable[[], None],
) -> bool:
    """Steps until the budget is used: True; False as soon as the loss is not finite."""
    settings, times = trainer.settings, frames.times
    saved = reported = time.monotonic()
    chosen = np.flatnonzero(frames.weights > 0)
    order = batch_positions(
        frames.weights[chosen], settings["batch"], settings["seed"] + trainer.returns, trainer.images
    )
    for positions, arrays in frames.store.prefetch(chosen[batch].tolist() for batch in order):
        stop()
        began = time.monotonic()
        if trainer.enter(budget.share(trainer.images, trainer.minutes)):
            save_state(folder, trainer.state())
        figures = trainer.step(trainer.augment(make_batch(arrays, times[positions], trainer.device)))
        if figures is None:
            return False
        monitor.add(**figures)
        now = time.monotonic()
        trainer.minutes += (now - began) / 60
        share = budget.share(trainer.images, trainer.minutes)
        if share >= 1:
            return True
        if now - reported > settings["report_s"]:
            report(trainer, monitor, frames)
            bar.update(int(1000 * share) - bar.n)
            bar.set_postfix_str(trainer.headline())
            reported = time.monotonic()  # the time that a report takes is not the training's
        if now - saved > settings["save_s"]:
            save_state(folder, trainer.state())
            saved = now
    return True


@torch.no_grad()
def validate(
    paint: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], frames: Frames, device: torch.device
) -> tuple[dict[str, float], list[Tensor]]:
    """Scores of the averaged networks on validation frames, and rows for the grid (truth, avatar, mask) of up to
    eight."""
    positions = frames.validation
    scores: dict[str, list[Tensor]] = {"val_full_db": [], "val_face_db": [], "val_sharpness": []}
    rows: list[list[Tensor]] = [[], [], [], []]
    for start in range(0, len(positions), 8):
        part = positions[start : start + 8]
        batch = make_batch(frames.store.read(part), frames.times[part], device)
        picture, background = paint(batch.render, batch.uv)
        picture = (picture / 2 + 0.5).clamp(0, 1)
        face = (batch.uv[:, 2:3] > 0.5).float()
        scores["val_full_db"].append(psnr_db(picture, batch.picture))
        scores["val_face_db"].append(psnr_db(picture, batch.picture, face))
        scores["val_sharpness"].append(sharpness_share(picture, batch.picture, face))
        mask = F.interpolate((1 - background) / 2, size=picture.shape[-1], mode="bilinear")
        for row, value in zip(rows, (batch.picture, batch.render, picture, mask.expand(-1, 3, -1, -1)), strict=True):
            row.append(value)
    figures = {name: torch.cat(values).mean().item() for name, values in scores.items() if values}
    spread = np.linspace(0, max(len(positions) - 1, 0), min(8, len(positions))).astype(int).tolist()
    return figures, [torch.cat(row)[spread] for row in rows] if positions else []


def report(trainer: Trainer, monitor: Monitor, frames: Frames) -> None:
    """Validates, writes figures and grid, and appends to the history."""
    figures, rows = validate(trainer.average, frames, trainer.device)
    last = trainer.history[-1] if trainer.history else {"images": 0, "minutes": 0.0}
    speed = (trainer.images - last["images"]) / max(60 * (trainer.minutes - last["minutes"]), 1e-3)
    rate = trainer.optimizer.param_groups[0]["lr"]
    figures = monitor.report(trainer.images, trainer.minutes, images_per_s=speed, rate=rate, **figures)
    if rows:
        monitor.grid(trainer.images, rows)
    trainer.history.append({"images": trainer.images, "minutes": trainer.minutes} | figures)
    log.debug("%s", trainer.history[-1])
