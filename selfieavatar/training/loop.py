"""Run the training loop, to be read from top to bottom; one step of it is `Trainer.step`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.errors import UserError
from selfieavatar.settings.cli import progress
from selfieavatar.settings.train_section import Train
from selfieavatar.training.dataset import Batch, FrameStore, batch_positions, make_batch, move_torso
from selfieavatar.training.monitor import Monitor, psnr_db, sharpness_share
from selfieavatar.training.parallel import SINGLE_PROCESS, ProcessGroup
from selfieavatar.training.schedule import Budget
from selfieavatar.training.state import (
    best_name,
    drop_others,
    keep_checkpoint,
    load_checkpoint,
    load_state,
    save_state,
    stop_between_steps,
    write_torch,
)
from selfieavatar.training.trainer import Diverged, Trainer

log = logging.getLogger(__name__)


@dataclass
class Frames:
    """Training and validation frames.

    store: frames of the training and validation splits, in the order of time. weights (N,): how often each is drawn,
    0 for those never trained on. validation: positions to validate on. torso_offsets (N,2): see `dataset.move_torso`,
    None where the head tells nothing of the torso.
    """

    store: FrameStore
    weights: np.ndarray
    validation: list[int]
    torso_offsets: np.ndarray | None = None

    @property
    def times(self) -> np.ndarray:
        """Position of each frame in the material, (N,) in [0,1]: the time code."""
        return np.linspace(0, 1, max(len(self.store), 2))[: len(self.store)]

    def batch(
        self, positions: list[int], arrays: dict[str, np.ndarray], device: torch.device,
        layout: torch.memory_format = torch.channels_last,
    ) -> Batch:  # fmt: skip
        """Make the batch of the frames at these positions."""
        offsets = None if self.torso_offsets is None else self.torso_offsets[positions]
        return make_batch(arrays, self.times[positions], device, layout, offsets, self.store.plates_of(positions))


def train(
    settings: Train,
    size_px: int,
    frames: Frames,
    folder: Path,
    device: str,
    group: ProcessGroup = SINGLE_PROCESS,
    start: dict[str, Any] | None = None,
) -> Trainer:
    """Train until the budget is used, going on from the state in `folder` where there is one.

    With a budget of images alone, a run that was killed and started again gives bitwise the same networks as one that
    never was (on a CPU, with the same number of threads): all that is chosen is a function of the seed and of the
    images seen. What depends on the clock (reports, saves) changes nothing.

    Args:
        settings: the section `train`.
        frames: all of them; each process reads its own shard of every batch.
        folder: where state, TensorBoard events, stats.jsonl and grids go.
        start: avatar (`start.read_start`) whose networks a fresh run starts from; None starts from random ones.

    Returns:
        the trainer; `avatar_parts` gives the networks of the avatar, its `history` the reports.

    Raises:
        UserError: the loss became NaN several times, or the batch cannot be shared.
    """
    if settings.batch % group.size:
        raise UserError(
            f"train.batch {settings.batch} cannot be shared by {group.size} GPUs; make it a multiple, or lower gpu"
        )
    run = Run(Trainer(settings, size_px, device, group), frames, folder, start)
    try:
        with stop_between_steps() as asked:
            while not run.finished:
                try:
                    if run.progress < 1:
                        run.steps(asked)
                    run.finish()
                except Diverged as problem:
                    run.roll_back(problem)
    finally:
        run.close()
    return run.trainer


class Run:
    """One training run: a trainer with its frames, its budget and the files that it leaves."""

    def __init__(
        self, trainer: Trainer, frames: Frames, folder: Path, start: dict[str, Any] | None = None
    ) -> None:  # fmt: skip
        self.trainer, self.frames, self.folder, self.group = trainer, frames, folder, trainer.group
        self.settings = trainer.settings
        self.budget = Budget(self.settings.images, self.settings.minutes)
        state = load_state(folder, trainer.device)
        if state is None and start is not None:
            trainer.start_from(start)
        trainer.restore(state)
        self.group.barrier()  # all have read before the first writes
        self.monitor = Monitor(folder, trainer.images) if self.group.is_main else None
        done = int(1000 * min(self.progress, 1))
        self.bar = progress(total=1000, initial=done, desc="train", unit="‰") if self.group.is_main else None
        if not trainer.checkpoints:
            trainer.mark_checkpoint()  # the first to return to
            self.save()
        if self.group.is_main and trainer.checkpoints[-1] == trainer.steps:  # or killed before it was kept
            keep_checkpoint(folder, trainer.checkpoints)
        self.saved = self.reported = time.monotonic()
        self.finished = False

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        return self.budget.progress(self.trainer.images, self.trainer.minutes)

    def steps(self, asked: Callable[[], bool]) -> None:
        """Step until the budget is used.

        Raises:
            Diverged: as `Trainer.step`.
            KeyboardInterrupt: somebody asked to stop.
        """
        trainer, frames, settings = self.trainer, self.frames, self.settings
        chosen = np.flatnonzero(frames.weights > 0)
        order = batch_positions(
            frames.weights[chosen], settings.batch, settings.seed + trainer.returns_in_all, trainer.images
        )
        parts = (self.group.shard(chosen[batch].tolist()) for batch in order)
        began = time.monotonic()
        for positions, arrays in frames.store.prefetch(parts):
            trainer.set_schedule(self.progress)
            batch = frames.batch(positions, arrays, trainer.device, trainer.layout)
            loaded = time.monotonic()
            metrics = trainer.step(trainer.augment(batch))
            now = time.monotonic()
            stop, trainer.minutes = self.group.all_reduce_max(asked(), trainer.minutes + (now - began) / 60)
            if self.monitor:
                self.monitor.add(data_share=(loaded - began) / max(now - began, 1e-9), **metrics)
                self.show()
            if int(self.progress * settings.validations) > int(trainer.progress * settings.validations):
                self.check()
            if stop:
                raise KeyboardInterrupt
            if self.progress >= 1:
                return
            if now - self.reported > settings.report_s:
                self.report()
            if now - self.saved > settings.save_s:
                self.save()
            began = time.monotonic()  # the time that reports and saves take is not the training's

    def check(self) -> None:
        """Validate, and keep the averaged networks if they are the best so far, and a checkpoint."""
        trainer = self.trainer
        trainer.mark_checkpoint()
        if self.monitor is None:
            return
        metrics, rows = validate(trainer.average, self.frames, trainer.device)
        if rows:
            self.monitor.grid(trainer.images, rows)
            metrics["val_score"] = score = validation_score(metrics)
            # before the discriminator joins, the networks learn for another objective
            joined = trainer.progress >= self.settings.gan_from or not trainer.gan
            if self.settings.keep_best and joined and score > trainer.best["score"]:
                trainer.best = {"score": score, "images": trainer.images}
                write_torch(self.folder / best_name(trainer.images), trainer.averaged_weights())
        self.report(**metrics)
        self.save()
        keep_checkpoint(self.folder, trainer.checkpoints)
        drop_others(self.folder, "best", [best_name(trainer.best["images"])])

    def report(self, **metrics: float) -> None:
        """Write the means since the last report and these metrics, and append them to the history."""
        trainer = self.trainer
        self.reported = time.monotonic()
        if self.monitor is None:
            return
        last = trainer.history[-1] if trainer.history else {"images": 0, "minutes": 0.0}
        speed = (trainer.images - last["images"]) / max(60 * (trainer.minutes - last["minutes"]), 1e-3)
        rate = trainer.optimizer.param_groups[-1]["lr"]  # lr_net's: the free maps, if any, are the first group
        metrics = self.monitor.report(trainer.images, trainer.minutes, images_per_s=speed, rate=rate, **metrics)
        trainer.history.append({"images": trainer.images, "minutes": trainer.minutes} | metrics)
        log.debug("%s", trainer.history[-1])
        self.show()

    def show(self) -> None:
        """Move the progress line, which draws itself only every so often."""
        if self.bar is None:
            return
        if self.trainer.history:
            self.bar.set_postfix_str(self.trainer.headline(), refresh=False)
        self.bar.update(int(1000 * min(self.progress, 1)) - self.bar.n)

    def save(self) -> None:
        """Write the state to go on from."""
        self.saved = time.monotonic()
        if self.group.is_main:
            save_state(self.folder, self.trainer.state())

    def roll_back(self, problem: Diverged) -> None:
        """Roll back to a checkpoint; what was reported since then is dropped, the best networks stay."""
        trainer = self.trainer
        self.group.barrier()  # the first has written what the others read
        trainer.roll_back(
            problem, load_checkpoint(self.folder, trainer.checkpoints, trainer.last_sound_step(problem), trainer.device)
        )
        self.group.barrier()  # all have read
        if self.monitor is not None:
            self.monitor.forget_after(trainer.images)
            self.save()
            keep_checkpoint(self.folder, trainer.checkpoints)

    def finish(self) -> None:
        """Validate a last time, unless a run that was killed after it has done so."""
        if not self.trainer.history or self.trainer.history[-1]["images"] != self.trainer.images:
            self.check()
        self.finished = True

    def close(self) -> None:
        """Save where no step was cut in two: Ctrl-C and the end of a batch job come through here, too."""
        if self.monitor is None or self.bar is None:
            return
        if self.trainer.consistent:
            self.save()
            if self.progress < 1:
                log.info("saved after %d images; run the same command to go on", self.trainer.images)
        self.monitor.close()
        self.bar.close()


def avatar_parts(trainer: Trainer, folder: Path) -> dict[str, Any]:
    """Choose the averaged networks that become the avatar: the best by validation, or the last ones."""
    path = folder / best_name(trainer.best["images"])
    scores = [row["val_score"] for row in trainer.history if "val_score" in row]
    if not scores or trainer.best["score"] <= scores[-1] or not path.is_file():
        return trainer.averaged_weights()
    log.info("the validation was best after %d images: the avatar is the one of then", trainer.best["images"])
    return torch.load(path, map_location="cpu", weights_only=True)


def validation_score(metrics: dict[str, float]) -> float:
    """Score validated networks in dB: mean PSNR of whole image and face, less the mean error of the sharpness.

    PSNR alone prefers blurred images, most of all where the face does not determine them: so the person's sharpness
    counts beside the face's. It is a ratio of amplitudes, so that its distance from 1 is in dB, too.
    """
    psnr = (metrics["val_full_db"] + metrics["val_face_db"]) / 2
    shares = (metrics["val_person_sharpness"], metrics["val_face_sharpness"])
    return psnr - sum(abs(20 * math.log10(max(share, 1e-3))) for share in shares) / 2


@torch.no_grad()
def validate(
    paint: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], frames: Frames, device: torch.device
) -> tuple[dict[str, float], list[Tensor]]:
    """Measure the averaged networks on validation frames, the torso where the head tells it to be.

    Returns the metrics and rows for the grid (truth, render, avatar, mask) of up to eight frames.
    """
    positions = frames.validation
    names = ("val_full_db", "val_face_db", "val_person_sharpness", "val_face_sharpness")
    scores: dict[str, list[Tensor]] = {name: [] for name in names}
    rows: list[list[Tensor]] = [[], [], [], []]
    for start in range(0, len(positions), 8):
        part = positions[start : start + 8]
        batch = move_torso(frames.batch(part, frames.store.read(part), device))
        image, background = paint(batch.render, batch.uv)
        image = (image / 2 + 0.5).clamp(0, 1)
        face = (batch.uv[:, 2:3] > 0.5).float()
        scores["val_full_db"].append(psnr_db(image, batch.image))
        scores["val_face_db"].append(psnr_db(image, batch.image, face))
        person = (batch.alpha > 0.5).float()
        scores["val_person_sharpness"].append(sharpness_share(image, batch.image, person))
        scores["val_face_sharpness"].append(sharpness_share(image, batch.image, face))
        mask = F.interpolate((1 - background) / 2, size=image.shape[-1], mode="bilinear")
        for row, value in zip(rows, (batch.image, batch.render, image, mask.expand(-1, 3, -1, -1)), strict=True):
            row.append(value)
    metrics = {name: torch.cat(values).mean().item() for name, values in scores.items() if values}
    spread = np.linspace(0, max(len(positions) - 1, 0), min(8, len(positions))).astype(int).tolist()
    return metrics, [torch.cat(row)[spread] for row in rows] if positions else []
