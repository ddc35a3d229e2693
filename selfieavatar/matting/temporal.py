"""Stabilisation of alpha over time without lag: a recursive blend that acts only where the image stands still."""

from __future__ import annotations

import cv2
import numpy as np

from selfieavatar.matting.guided import enlarge
from selfieavatar.matting.refine import REFERENCE_PX

NOISE_FLOOR = 1.0 / 255.0
"""Least image noise that is assumed: quantisation."""


class TemporalBlend:
    """Motion-adaptive recursive filter of alpha, one instance per clip.

    Each pixel remembers the image that its alpha belongs to. Where the new image equals that memory up to noise,
    the new alpha is blended into the old one; where it does not, or does not near by, the new alpha is taken as it is,
    so that moving edges do not trail. The memory is blended with the same weight, which makes slow drifts add up and be
    noticed.

    Args:
        strength: weight of the past where nothing moves, in [0,1); 0 switches the filter off.
    """

    def __init__(self, strength: float) -> None:
        if not 0.0 <= strength < 1.0:
            raise ValueError(f"strength must be in [0, 1), not {strength}")
        self.strength = strength
        self._image: np.ndarray | None = None
        self._alpha: np.ndarray | None = None
        self._last_image: np.ndarray | None = None

    def __call__(self, rgb: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, float]:
        """Next frame.

        Args:
            rgb: (H,W,3) uint8.
            alpha: (H,W) float32 in [0,1].

        Returns:
            The stabilised alpha (H,W) float32, and the flicker: the mean over the pixels whose image did not change
            since the last frame of |alpha - last alpha|; NaN for the first frame and where every pixel changed.
        """
        # Half size: noise falls by the averaging, what moves does not, and it is four times faster.
        image = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
        if self._image is None or self._image.shape != image.shape:
            self._image, self._last_image, self._alpha = image, image, alpha
            return alpha, float("nan")
        last_alpha = self._alpha
        size = alpha.shape[::-1]
        still_since_last = cv2.compare(enlarge(stillness(image, self._last_image, alpha), size), 0.5, cv2.CMP_GT)
        weight = self.strength * stillness(image, self._image, alpha)
        blended = alpha + enlarge(weight, size) * (last_alpha - alpha)
        self._image = image + cv2.merge([weight] * 3) * (self._image - image)
        self._last_image, self._alpha = image, blended
        if not still_since_last.any():
            return blended, float("nan")
        return blended, cv2.mean(cv2.absdiff(blended, last_alpha), mask=still_since_last)[0]


def stillness(image: np.ndarray, before: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """How surely each pixel shows the same as before: 1 = within noise, 0 = changed here or near by.

    Args:
        image, before: (H,W,3) float32 in [0,1].
        alpha: (H,W) or a whole multiple of it, float32; the noise level is read off the background, which is still
            unless the camera moves.

    Returns:
        (H,W) float32 in [0,1].
    """
    red, green, blue = cv2.split(cv2.absdiff(image, before))
    change = cv2.max(cv2.max(red, green), blue)
    step = max(1, alpha.shape[0] // image.shape[0])
    rows, columns = (min(length) for length in zip(change.shape, alpha[::step, ::step].shape, strict=True))
    quiet = change[:rows:2, :columns:2][alpha[::step, ::step][:rows:2, :columns:2] < 0.1]
    noise = max(float(np.median(quiet)) if quiet.size > 50 else 0.0, NOISE_FLOOR)
    # A moving background must not pass for noise.
    noise = min(noise, 4.0 * NOISE_FLOOR)
    radius = max(1, round(4 * max(image.shape[:2]) / REFERENCE_PX))
    change = cv2.dilate(change, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    return np.clip(2.0 - change / (4.0 * noise), 0.0, 1.0)
