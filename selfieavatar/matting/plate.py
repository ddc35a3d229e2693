"""Reconstruct the clean background plate of a static camera by a masked temporal median.

The plate supports a correction of alpha in the spirit of Background Matting (Sengupta et al. 2020, Lin et al. 2021): a
pixel that equals the plate is background. The reverse is wrong, since shadows and exposure change the background too.
"""

from __future__ import annotations

import cv2
import numpy as np

from selfieavatar.matting.guided import enlarge, shrink, square

BACKGROUND_ALPHA = 0.1
"""Alpha below which a pixel, with its neighbourhood, is background."""
DISTANCE_SHARE = 0.045
"""Least distance from the person, as a share of the image's side."""


class PlateBuilder:
    """Sample the frames of a clip and reduce them to a plate in bounded memory.

    When full, every second sample is dropped and the stride doubles: samples stay spread over a clip of any length.

    Args:
        capacity: most frames that are kept (each H x W x 4 bytes).

    Raises:
        ValueError: the capacity is below 2.
    """

    def __init__(self, capacity: int = 40) -> None:
        if capacity < 2:
            raise ValueError("capacity must be at least 2")
        self.capacity = capacity
        self._stride = 1
        self._seen = 0
        self._samples: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def sample_count(self) -> int:
        """Count the samples held."""
        return len(self._samples)

    def wants_next(self) -> bool:
        """Tell whether the next image is a sample: the others need no alpha."""
        return self._seen % self._stride == 0

    def add(self, rgb: np.ndarray, alpha: np.ndarray | None) -> None:
        """Add the next image (H,W,3) uint8 with its alpha of any size in [0,1].

        Raises:
            ValueError: alpha is None for an image that is a sample (see `wants_next`).
        """
        wanted = self.wants_next()
        self._seen += 1
        if not wanted:
            return
        if alpha is None:
            raise ValueError("this image is a sample, so its alpha is needed")
        # The segmenter misses loose hair: keep a distance from the person.
        near = enlarge(cv2.dilate(alpha, square(max(1, round(DISTANCE_SHARE * max(alpha.shape))))), rgb.shape[1::-1])
        self._samples.append((rgb.copy(), near < BACKGROUND_ALPHA))
        if len(self._samples) > self.capacity:
            self._samples = self._samples[::2]
            self._stride *= 2

    def plate(self, least_samples: int = 3) -> tuple[np.ndarray, np.ndarray]:
        """Reduce the samples to the plate (H,W,3) uint8 and where it was seen, (H,W) bool; the rest is inpainted.

        Args:
            least_samples: a pixel is seen when it was background in at least this many samples and a tenth of them: one
                sample may show loose hair that the segmenter missed.

        Raises:
            ValueError: no sample was added.
        """
        if not self._samples:
            raise ValueError("a plate needs at least one sample")
        images = np.stack([image for image, _ in self._samples])
        clear = np.stack([mask for _, mask in self._samples])
        count = clear.sum(axis=0)
        seen = count >= min(max(least_samples, len(self._samples) // 10), len(self._samples))
        median = np.empty(images.shape[1:], np.uint8)
        for row in range(0, images.shape[1], 32):  # a band of rows at a time bounds the float copies
            rows = slice(row, row + 32)
            median[rows] = masked_median(images[:, rows], clear[:, rows])
        return inpaint(median, seen), seen


def masked_median(images: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Compute the lower median (H,W,3) of images (N,H,W,3) uint8 over the samples `clear` (N,H,W) bool, else 0."""
    # Hidden samples sort to the end, so the median is the element in the middle of the first `count`.
    ordered = np.sort(np.where(clear[..., None], images.astype(np.uint16), np.uint16(256)), axis=0)
    middle = np.maximum(clear.sum(axis=0) - 1, 0) // 2
    value = np.take_along_axis(ordered, middle[None, ..., None], axis=0)[0]
    return np.where(value > 255, 0, value).astype(np.uint8)


def inpaint(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Inpaint the unknown pixels of (H,W,3) uint8 by push-pull (Gortler et al. 1996, sec. 3.4).

    Pixels `known` (H,W) bool stay as they are. Without any the result is grey (128).
    """
    if not known.any():
        return np.full_like(image, 128)
    weight = known.astype(np.float32)
    levels = [(image.astype(np.float32) * weight[..., None], weight)]
    while max(levels[-1][1].shape) > 1:
        colour, weight = levels[-1]
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        levels.append((shrink(colour, size), shrink(weight, size)))
    colour, weight = levels[-1]
    filled = np.atleast_3d(colour).reshape(*weight.shape, 3) / np.maximum(weight, 1e-6)[..., None]
    for colour, weight in reversed(levels[:-1]):
        coarse = enlarge(filled, weight.shape[::-1]).reshape(*weight.shape, 3)
        share = np.minimum(weight, 1.0)[..., None]
        filled = colour / np.maximum(weight, 1e-6)[..., None] * share + coarse * (1.0 - share)
    out = np.clip(np.rint(filled), 0, 255).astype(np.uint8)
    out[known] = image[known]
    return out
