"""Load frames for training.

They are decoded once into memory as far as they fit, else read on threads ahead of the step, batches as tensors.

Stored per pixel: image 3, alpha 1, rendering 3, UV 2 x 16 bits, face flag 1 byte; 1,800 frames of 128 px take 0.35
GB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.errors import UserError
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.images import read_image
from selfieavatar.io.paths import IMAGES

BYTES_PER_PIXEL = 12


@dataclass
class Batch:
    """One batch on the training device.

    image, render, uv (B,3,S,S) in [0,1], uv channel 2 is the face flag; alpha, validity (B,1,S,S); time (B,) share of
    the material in [0,1]; torso_offset (B,2), see `move_torso`, or None where the head tells nothing of the torso;
    shift_px (B,2) of the sliding window, or None where it is off; plate (B,3,S,S) in [0,1] the background, NaN for
    images of clips without one, or None where no clip has one or nobody is moved.
    """

    image: Tensor
    alpha: Tensor
    render: Tensor
    uv: Tensor
    time: Tensor
    torso_offset: Tensor | None = None
    validity: Tensor | None = None
    shift_px: Tensor | None = None
    plate: Tensor | None = None


def read_plate(clip: Path, size_px: int) -> np.ndarray | None:
    """Read the clean background (S,S,3) u8 of a clip, None where there is none.

    Raises:
        UserError: it is damaged or not of size_px.
    """
    path = clip / "plate.png"
    if not path.is_file():
        return None
    plate = read_image(path)
    if plate.shape != (size_px, size_px, 3):
        raise UserError(f"{path} is of shape {plate.shape} instead of {size_px} px; run the workflow again")
    return plate


def read_frame(clip: Path, number: int, size_px: int) -> dict[str, np.ndarray]:
    """Read the four images of a frame: image, render (S,S,3) u8, alpha, face (S,S) u8, uv (S,S,2) u16.

    Raises:
        UserError: an image is missing, damaged or not of size_px.
    """
    store = ClipStore(clip)
    images = {kind: store.image(kind, number) for kind in IMAGES}
    for kind, image in images.items():
        if image.shape[:2] != (size_px, size_px):
            found = "x".join(map(str, image.shape[:2]))
            raise UserError(f"{store.path(kind, number)} is {found} px instead of {size_px}; run the workflow again")
    uv = images["uv"]
    return {
        "image": images["frames"],
        "alpha": images["alpha"] if images["alpha"].ndim == 2 else images["alpha"][..., 0],
        "render": images["render"],
        "uv": uv[..., :2].astype(np.uint16),
        "face": (uv[..., 2] > 0).astype(np.uint8),
    }


class FrameStore:
    """Random access to frames by position, (clip folder, frame number) each.

    As many as fit into `cache_bytes` are decoded at once on threads and stay in memory; the others are read when asked
    for. with_plates: batches have the clean backgrounds, which nobody needs but moved persons.
    """

    def __init__(
        self,
        frames: Sequence[tuple[Path, int]],
        size_px: int,
        cache_bytes: int,
        threads: int,
        with_plates: bool = True,
    ) -> None:
        self.frames, self.size_px = list(frames), size_px
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1), thread_name_prefix="frames")
        self._memory: dict[str, np.ndarray] = {}
        clips = dict.fromkeys(clip for clip, _ in self.frames)
        self.plates = {clip: read_plate(clip, size_px) if with_plates else None for clip in clips}
        self.held = 0  # frames in memory, the first ones
        fitting = min(len(self.frames), int(cache_bytes // (size_px**2 * BYTES_PER_PIXEL)))
        self._memory = self._gather(range(fitting))
        self.held = fitting

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def cached(self) -> bool:
        """Whether all frames are in memory."""
        return self.held == len(self.frames)

    def _gather(self, positions: Sequence[int]) -> dict[str, np.ndarray]:
        side, count = self.size_px, len(positions)
        shapes = {
            "image": (3, np.uint8),
            "render": (3, np.uint8),
            "alpha": (0, np.uint8),
            "face": (0, np.uint8),
            "uv": (2, np.uint16),
        }
        arrays = {
            name: np.zeros((count, side, side, channels) if channels else (count, side, side), dtype)
            for name, (channels, dtype) in shapes.items()
        }

        def put(k: int) -> None:
            position = positions[k]
            if position < self.held:
                found = {name: values[position] for name, values in self._memory.items()}
            else:
                found = read_frame(*self.frames[position], side)
            for name, value in found.items():
                arrays[name][k] = value

        list(self._pool.map(put, range(count)))
        return arrays

    def read(self, positions: Sequence[int]) -> dict[str, np.ndarray]:
        """Stack some frames as stored: image, render (B,S,S,3), alpha, face (B,S,S), uv (B,S,S,2)."""
        if self.cached:
            return {name: values[positions] for name, values in self._memory.items()}
        return self._gather(positions)

    def plates_of(self, positions: Sequence[int]) -> np.ndarray | None:
        """Stack the plates (B,S,S,3) float32 in [0,1] of some frames; see `Batch.plate`."""
        if all(plate is None for plate in self.plates.values()):
            return None
        unknown = np.full((self.size_px, self.size_px, 3), np.nan, np.float32)
        found = (self.plates[self.frames[position][0]] for position in positions)
        return np.stack([unknown if plate is None else plate.astype(np.float32) / 255 for plate in found])

    def prefetch(self, batches: Iterator[list[int]]) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """Yield (positions, arrays) in order; the next batch is read while this one trains."""
        if self.cached:
            for positions in batches:
                yield positions, self.read(positions)
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch") as ahead:
            waiting: tuple[list[int], Future] | None = None
            for positions in batches:
                following = (positions, ahead.submit(self.read, positions))
                if waiting is not None:
                    yield waiting[0], waiting[1].result()
                waiting = following

    def close(self) -> None:
        """End the threads and drop the memory."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._memory, self.held = {}, 0


def batch_positions(weights: np.ndarray, batch: int, seed: int, images: int = 0) -> Iterator[list[int]]:
    """Draw endless batches of positions, a function of the seed and the images seen before: what exact resume needs.

    Each epoch draws every frame about `weight` times (systematic resampling of weights with mean 1), in random order.
    """
    count = len(weights)
    chances = np.asarray(weights, np.float64) / np.sum(weights)

    def epoch(number: int) -> np.ndarray:
        random = np.random.default_rng([seed, number])
        ticks = (np.arange(count) + random.random()) / count
        drawn = np.minimum(np.searchsorted(np.cumsum(chances), ticks), count - 1)
        return random.permutation(drawn)

    number, offset = divmod(images, count)
    queue = epoch(number)[offset:].tolist()
    while True:
        while len(queue) < batch:
            number += 1
            queue += epoch(number).tolist()
        yield queue[:batch]
        queue = queue[batch:]


def make_batch(
    arrays: dict[str, np.ndarray],
    times: np.ndarray,
    device: torch.device | str,
    layout: torch.memory_format = torch.channels_last,
    torso_offset: np.ndarray | None = None,
    plates: np.ndarray | None = None,
) -> Batch:
    """Convert stored arrays to tensors on the device, scaled to [0,1], in the memory format `layout`."""

    def tensor(values: np.ndarray) -> Tensor:
        # uint8 travels, floats are made on the device; (B,S,S,C) seen as (B,C,S,S) is channels-last already
        placed = torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)
        return placed.permute(0, 3, 1, 2).contiguous(memory_format=layout).float()

    image, render = tensor(arrays["image"]) / 255, tensor(arrays["render"]) / 255
    # 16 bits without a sign are not understood by every torch; int32 is
    uv = tensor(arrays["uv"].astype(np.int32)) / 65535
    face, alpha = tensor(arrays["face"][..., None]), tensor(arrays["alpha"][..., None]) / 255
    uv = torch.cat([uv, face], 1).contiguous(memory_format=layout)
    time = torch.as_tensor(times, dtype=torch.float32, device=device)
    offset = None if torso_offset is None else torch.as_tensor(torso_offset, dtype=torch.float32, device=device)
    plate = None if plates is None else tensor(plates)
    return Batch(image, alpha, render, uv, time, offset, plate=plate)


def move_torso(batch: Batch, share: Tensor | float = 1.0) -> Batch:
    """Put the torso of I_UV where the head's pose alone tells it to be, instead of where it was tracked.

    batch.torso_offset: (B,2) x, y, tracked less predicted shift, as shares of the side. share: (B,1), of that way.
    """
    if batch.torso_offset is None:
        return batch
    offset = batch.torso_offset * share
    u, v, face = batch.uv.split(1, 1)
    torso = (face == 0) & (v >= 0.5)  # v holds hair in its lower half, the torso in its upper one
    moved_u = (u + offset[:, 0].view(-1, 1, 1, 1)).clamp(0, 1)
    moved_v = (v + offset[:, 1].view(-1, 1, 1, 1) / 2).clamp(0.5, 1)
    uv = torch.cat([torch.where(torso, moved_u, u), torch.where(torso, moved_v, v), face], 1)
    return replace(batch, uv=uv.contiguous(memory_format=torch.channels_last))


def shift_window(batch: Batch, shift_px: Tensor, limit_px: int) -> Batch:
    """Augment by a sliding window: each frame moves by its own whole number of pixels; what comes in is not valid.

    shift_px: (B,2) int64, x and y, at most limit_px either way. Pixels that enter from outside are black in rendering
    and UV, and carry no loss (validity 0), as do those that were not valid before (`in_plane.move_person`).
    """
    side = batch.image.shape[-1]
    known = torch.ones_like(batch.alpha) if batch.validity is None else batch.validity
    stacked = torch.cat([batch.image, batch.alpha, batch.render, batch.uv, known], 1)
    padded = F.pad(stacked, (limit_px,) * 4)
    moved = torch.stack(
        [
            padded[k, :, limit_px - dy : limit_px - dy + side, limit_px - dx : limit_px - dx + side]
            for k, (dx, dy) in enumerate(shift_px.tolist())
        ]
    )
    image, alpha, render, uv, validity = moved.split([3, 1, 3, 3, 1], 1)
    return replace(
        batch, image=image, alpha=alpha, render=render, uv=uv, validity=validity,
        shift_px=shift_px.to(image.device).float(),
    )  # fmt: skip


def jitter_render(batch: Batch, gain: Tensor, offset: Tensor) -> Batch:
    """Augment the colours of I_R by gain and offset (B,3,1,1) on the face only.

    For drivers in other light. The soft edge of the face, which reaches a pixel further, stays as it is.
    """
    gain, offset = gain.to(batch.render), offset.to(batch.render)
    changed = (batch.render * gain + offset).clamp(0, 1)
    return replace(batch, render=torch.where(batch.uv[:, 2:3] > 0, changed, batch.render))


def blur_render(batch: Batch, sigma_px: Tensor, limit_px: float) -> Batch:
    """Augment I_R by a Gaussian blur of deviation sigma_px (B,), at most limit_px, within the face.

    For drivers whose texture or light is coarser.

    What lies outside the face takes no part, since its black would darken the border, and stays as it is.
    """
    radius = max(1, math.ceil(3 * limit_px))
    place = torch.arange(-radius, radius + 1, device=batch.render.device)
    taps = torch.exp(-0.5 * (place / sigma_px.to(place.device).clamp_min(1e-3)[:, None]).square())  # (B, taps)
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(4, 0)[:, None]  # (4B, 1, taps)
    face = batch.uv[:, 2:3]
    count, _, height, width = batch.render.shape
    x = torch.cat([batch.render * face, face], 1).reshape(1, 4 * count, height, width)
    x = F.conv2d(x, taps[:, :, None], padding=(0, radius), groups=4 * count)
    x = F.conv2d(x, taps[..., None], padding=(radius, 0), groups=4 * count).view(count, 4, height, width)
    return replace(batch, render=torch.where(face > 0, x[:, :3] / x[:, 3:].clamp_min(1e-6), batch.render))
