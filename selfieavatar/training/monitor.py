"""Monitor a run: TensorBoard, stats.jsonl, image grids, and the watch for a collapse."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfieavatar.io.files import atomic_file
from selfieavatar.io.images import write_image
from selfieavatar.io.permissions import make_folder

_NAMELESS = SimpleNamespace(gethostname=lambda: "machine")
CHECK_EVERY = 10  # steps between looks at the losses: each look waits for the GPU
COLLAPSE_LOOKS = 20  # at the discriminator's loss, over which its mean is taken: 200 steps


class Monitor:
    """Collector of the values of each step, which writes their means every so often.

    folder gets stats.jsonl (one JSON object per report), TensorBoard events and grid_<images>.png.
    """

    def __init__(self, folder: Path, images: int = 0) -> None:
        from tensorboard.summary.writer import event_file_writer
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

        event_file_writer.socket = _NAMELESS  # the machine's name would be in that of each file
        make_folder(folder)
        self.folder = folder
        self._open = SummaryWriter
        self._noted: dict[str, list[float | Tensor]] = defaultdict(list)
        self._writer = self._open(str(folder), purge_step=images + 1)  # which TensorBoard reads when it is opened
        self._forget_rows(images)

    def forget_after(self, images: int) -> None:
        """Drop what was collected, and what was reported beyond `images`: the run goes on from before that."""
        self._noted.clear()
        self._writer.close()
        self._writer = self._open(str(self.folder), purge_step=images + 1)
        self._forget_rows(images)

    def _forget_rows(self, images: int) -> None:
        path = self.folder / "stats.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # a run was killed while it wrote
                continue
            if row["images"] <= images:
                kept.append(line + "\n")
        with atomic_file(path) as temporary:
            temporary.write_text("".join(kept))

    def add(self, **metrics: float | Tensor) -> None:
        """Collect values of one step; those on a GPU are fetched at the next report only."""
        for name, value in metrics.items():
            self._noted[name].append(value)

    def mean(self, name: str) -> float:
        """Average a value since the last report; NaN where it was not collected."""
        values = self._noted.get(name)
        return float(np.mean([float(value) for value in values])) if values else math.nan

    def report(self, images: int, minutes: float, **extra: float) -> dict[str, float]:
        """Write the means since the last report, and further values, and forget them."""
        metrics = {name: self.mean(name) for name in self._noted} | extra
        self._noted.clear()
        row: dict[str, Any] = {"images": images, "minutes": round(minutes, 3)} | {
            name: round(value, 6) if math.isfinite(value) else None for name, value in metrics.items()
        }
        with (self.folder / "stats.jsonl").open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, images)
        return metrics

    def grid(self, images: int, rows: list[Tensor]) -> Path:
        """Write rows of images, each (B,3,S,S) in [0,1], under each other: grid_<images>.png and TensorBoard."""
        image = image_grid(rows)
        self._writer.add_image("grid", image, images, dataformats="HWC")
        path = self.folder / f"grid_{images:07d}.png"
        write_image(path, image)
        return path

    def close(self) -> None:
        """Flush TensorBoard."""
        self._writer.close()


def image_grid(rows: list[Tensor]) -> np.ndarray:
    """Tile rows of (B,1 or 3,S,S) in [0,1] into one uint8 RGB image (len(rows)*S, B*S, 3)."""
    lines = []
    for row in rows:
        row = row.detach().float().cpu().clamp(0, 1)
        row = row.expand(-1, 3, -1, -1)
        lines.append(torch.cat(list(row), 2))
    return (torch.cat(lines, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def psnr_db(image: Tensor, truth: Tensor, region: Tensor | None = None) -> Tensor:
    """Compute PSNR of each frame (B,), dB, over region (B,1,S,S) in {0,1} or all; images (B,3,S,S) in [0,1]."""
    error = (image.float() - truth.float()).square().mean(1, keepdim=True)
    region = torch.ones_like(error) if region is None else region
    mean = (error * region).sum((1, 2, 3)) / region.sum((1, 2, 3)).clamp_min(1)
    return -10 * torch.log10(mean.clamp_min(1e-10))


def gradient_size(image: Tensor) -> Tensor:
    """Compute the gradient magnitude of the brightness by forward differences: (B,3,S,S) -> (B,1,S-1,S-1)."""
    grey = image.float().mean(1, keepdim=True)
    dx, dy = grey[..., :-1, 1:] - grey[..., :-1, :-1], grey[..., 1:, :-1] - grey[..., :-1, :-1]
    return (dx.square() + dy.square()).sqrt()


def sharpness_share(image: Tensor, truth: Tensor, region: Tensor) -> Tensor:
    """Divide the mean gradient by the truth's, over region (B,1,S,S): (B,). 1 is as sharp as the truth."""
    region = region[..., :-1, :-1]
    return (gradient_size(image) * region).sum((1, 2, 3)) / (gradient_size(truth) * region).sum((1, 2, 3)).clamp_min(
        1e-6
    )


class CollapseWatch:
    """Watch for a discriminator that has won: its mean loss is so low that the generator learns nothing."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.losses: list[float] = []  # part of the resume state

    def collapsed(self, loss: float) -> bool:
        """Collect a loss; True when the mean of the last window is below the limit, after which it starts anew."""
        self.losses.append(loss)
        if len(self.losses) < COLLAPSE_LOOKS:
            return False
        mean = sum(self.losses) / len(self.losses)
        self.losses = self.losses[COLLAPSE_LOOKS // 2 :] if mean >= self.limit else []
        return mean < self.limit
