"""Measure how far an export's images are from the avatar's own, in torch and float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from selfieavatar.avatar import Avatar
from selfieavatar.runtime.painters import Painter

Motions = dict[str, np.ndarray]  # arguments of `Avatar.draw` by name, a row for each frame


class Parity:
    """The differences of all images that were compared."""

    def __init__(self) -> None:
        self.frames, self._count = 0, {"image": 0, "alpha": 0}
        self._sum, self._square, self._most = ({"image": 0.0, "alpha": 0.0} for _ in range(3))

    def add(self, found: tuple[np.ndarray, np.ndarray], wanted: tuple[np.ndarray, np.ndarray]) -> None:
        """Add frames as painters give them."""
        self.frames += len(found[0])
        for name, one, other in zip(self._count, found, wanted, strict=True):
            error = np.abs(one.astype(np.float64) - other)
            self._count[name] += error.size
            self._sum[name] += error.sum()
            self._square[name] += np.square(error).sum()
            self._most[name] = max(self._most[name], float(error.max()))

    @property
    def psnr_db(self) -> float:
        """PSNR of the images; infinite where they are the same."""
        mean = self._square["image"] / max(self._count["image"], 1)
        return -10 * math.log10(mean) if mean > 0 else math.inf

    def figures(self) -> dict[str, Any]:
        """Return mean and largest absolute differences (of 1) and PSNR in dB, null where nothing differs."""
        means = {f"{name}_mean_abs": self._sum[name] / max(self._count[name], 1) for name in self._count}
        most = {f"{name}_max_abs": self._most[name] for name in self._count}
        psnr = None if math.isinf(self.psnr_db) else round(self.psnr_db, 2)
        return {"frames": self.frames} | means | most | {"image_psnr_db": psnr}

    def in_words(self) -> str:
        """Say it in a line."""
        mean, most = self.figures()["image_mean_abs"], self._most["image"]
        return f"{self.frames} frames, mean difference {mean:.2g}, largest {most:.2g}, {self.psnr_db:.1f} dB"


def driving_images(avatar: Avatar, motions: Motions) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw I_R and I_UV (1,3,S,S) of each frame of the motions."""
    rows = range(len(motions["rotation"]))
    return [avatar.draw(**{name: values[row : row + 1] for name, values in motions.items()}) for row in rows]


def compare(avatar: Avatar, painter: Painter, images: list[tuple[np.ndarray, np.ndarray]]) -> Parity:
    """Compare what a painter and the avatar paint from the same driving images."""
    parity = Parity()
    for render, uv in images:
        image, alpha = avatar.paint(torch.from_numpy(render), torch.from_numpy(uv))
        parity.add(painter(render, uv), (image.numpy(), alpha.numpy()))
    return parity


def range_motions(avatar: Avatar, count: int) -> Motions:
    """Spread poses and expressions evenly over what the avatar's recording showed, by a seeded draw."""
    random, poses, model = np.random.default_rng(0), avatar.identity.pose_range, avatar.model
    away = np.zeros((count, 6)) if poses is None else random.uniform(poses.low, poses.high, (count, 6))
    pose = avatar.usual_pose() + away
    expression = random.uniform(model.expression_low, model.expression_high, (count, model.expression_count))
    return {"rotation": pose[:, :3], "translation": pose[:, 3:], "expression": expression}
