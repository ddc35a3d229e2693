"""Stabilise alpha over time by a motion-adaptive recursive filter."""

from __future__ import annotations

import cv2
import numpy as np

from selfieavatar.matting.guided import enlarge, square
from selfieavatar.matting.refine import REFERENCE_PX

NOISE_FLOOR = 1.0 / 255.0
"""Least image noise: quantisation."""


class TemporalBlend:
    """Filter alpha by a motion-adaptive recursive filter, one instance per clip.

    Where the image equals the filtered image up to noise, in a whole neighbourhood, the new alpha is blended into the
    old one. Elsewhere the new alpha replaces it, so that moving edges have no lag. The image is filtered with the same
    weight, so that slow drifts add up and are noticed.

    Args:
        strength: weight of the past where nothing moves, in [0,1); 0 switches the filter off.

    Raises:
        ValueError: the strength is outside [0,1).
    """

    def __init__(self, strength: float) -> None:
        if not 0.0 <= strength < 1.0:
            raise ValueError(f"strength must be in [0, 1), not {strength}")
        self.strength = strength
        self._state: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # filtered image, last image and alpha

    def __call__(self, rgb: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, float]:
        """Filter the next frame.

        Args:
            rgb: (H,W,3) uint8.
            alpha: (H,W) float32 in [0,1].

        Returns:
            The filtered alpha (H,W) float32, and the flicker: the mean of |alpha - last alpha| over the pixels whose
            image is unchanged since the last frame; NaN for the first frame and where every pixel changed.
        """
        # Half size: averaging reduces the noise, keeps the motion, and is four times faster.
        image = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
        if self._state is None or self._state[0].shape != image.shape:
            self._state = image, image, alpha
            return alpha, float("nan")
        filtered, last_image, last_alpha = self._state
        size = alpha.shape[::-1]
        still = enlarge(stillness(image, last_image, alpha), size) > 0.5
        weight = self.strength * stillness(image, filtered, alpha)
        blended = alpha + enlarge(weight, size) * (last_alpha - alpha)
        self._state = image + cv2.merge([weight] * 3) * (filtered - image), image, blended
        if not still.any():
            return blended, float("nan")
        return blended, cv2.mean(cv2.absdiff(blended, last_alpha), mask=still.astype(np.uint8))[0]


def stillness(image: np.ndarray, before: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Measure how certainly each pixel is unchanged: 1 = within noise, 0 = changed here or near by.

    Args:
        image: (H,W,3) float32 in [0,1].
        before: (H,W,3) float32 in [0,1].
        alpha: (H,W) or a whole multiple of it, float32; the noise level is estimated on the background.

    Returns:
        (H,W) float32 in [0,1].
    """
    red, green, blue = cv2.split(cv2.absdiff(image, before))
    change = cv2.max(cv2.max(red, green), blue)
    step = max(1, alpha.shape[0] // image.shape[0])
    rows, columns = (min(length) for length in zip(change.shape, alpha[::step, ::step].shape, strict=True))
    quiet = change[:rows:2, :columns:2][alpha[::step, ::step][:rows:2, :columns:2] < 0.1]
    noise = max(float(np.median(quiet)) if quiet.size > 50 else 0.0, NOISE_FLOOR)
    noise = min(noise, 4.0 * NOISE_FLOOR)  # more is a moving background
    change = cv2.dilate(change, square(max(1, round(4 * max(image.shape[:2]) / REFERENCE_PX))))
    return np.clip(2.0 - change / (4.0 * noise), 0.0, 1.0)
