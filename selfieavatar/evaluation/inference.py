"""Run an avatar on arrays, and time it."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Paints(Protocol):
    """Interface of an avatar: images (B,3,S,S) in [0,1] in, image (B,3,S,S) and alpha (B,1,S,S) out."""

    def paint(self, render: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
        """Map I_R and I_UV to I_A and the matte."""
        ...


def frames_per_second(paint: Callable[[], object], count: int, warm_up: int = 2) -> float:
    """Time `paint`, which must return when its work is done: one over the median, without the first calls."""
    seconds = []
    for _ in range(warm_up + count):
        start = time.perf_counter()
        paint()
        seconds.append(time.perf_counter() - start)
    return 1.0 / statistics.median(seconds[warm_up:])


class InferenceRunner:
    """Runner of an avatar on a device, for images as arrays."""

    def __init__(self, avatar: Paints, device: str) -> None:
        self.avatar: Any = avatar  # what else an avatar has, measuring asks for, too
        self.device = torch.device(device)

    def _tensor(self, images: np.ndarray) -> Tensor:
        return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(self.device)

    @torch.inference_mode()
    def paint(self, render: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Paint render, uv (N,S,S,3) float32 in [0,1] -> image (N,S,S,3), rounded as 8 bits are, and alpha (N,S,S)."""
        image, alpha = self.avatar.paint(self._tensor(render), self._tensor(uv))
        image = image.float().clamp(0, 1).mul(255).round().div(255).permute(0, 2, 3, 1)
        return np.ascontiguousarray(image.cpu().numpy()), alpha.float().clamp(0, 1)[:, 0].cpu().numpy()

    @torch.inference_mode()
    def frames_per_second(self, render: np.ndarray, uv: np.ndarray, count: int) -> float:
        """Time frames painted one at a time, from inputs on the device to an image on the device."""
        inputs = self._tensor(render[:1]), self._tensor(uv[:1])

        def paint() -> None:
            self.avatar.paint(*inputs)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        return frames_per_second(paint, count)

    def device_name(self) -> str:
        """Name the CPU or GPU for people."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"
