"""Filter masks by the guided filter with a colour guide, and share the image arithmetic of matting.

He, Sun, Tang: Guided Image Filtering, TPAMI 2013 (eq. 19-21); on a coarser grid as in Fast Guided Filter (2015).
Images are processed plane by plane: OpenCV filters four float planes three times faster than four channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from selfieavatar.matting.kernels import enlarge_at, linear, pick, window_models

_SUM = np.ones((1, 3), np.float32)


def square(radius: int) -> np.ndarray:
    """Make the structuring element of a square window: OpenCV separates it, which is far faster than an ellipse."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def box_mean(plane: np.ndarray, radius: int) -> np.ndarray:
    """Average (H,W) over the (2 radius + 1)^2 window around each pixel, reflected at the border."""
    return cv2.boxFilter(plane, cv2.CV_32F, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT_101)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the dot product of (H,W,3) and (H,W,3) float32 over channels: (H,W)."""
    return cv2.transform(cv2.multiply(a, b), _SUM)


def shrink(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Downsample to `size` (width, height) by area averaging."""
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def enlarge(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resample to `size` (width, height) bilinearly."""
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def pixels(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Pick the colours (3,N) float32 in [0,1] of the flat indices `where` (N,) of (H,W,3) uint8 or float32."""
    return pick(image.reshape(-1, 3), where, np.float32(1.0 / 255.0 if image.dtype == np.uint8 else 1.0))


def unit(image: np.ndarray) -> np.ndarray:
    """Convert uint8 to float32 in [0,1]; float32 passes unchanged."""
    return image.astype(np.float32) * np.float32(1.0 / 255.0) if image.dtype == np.uint8 else image


def guided_filter(
    guide: np.ndarray, mask: np.ndarray, radius: int, epsilon: float, where: np.ndarray, subsample: int = 1
) -> np.ndarray:
    """Apply the guided filter to a mask, which moves its edges to those of the guide.

    Args:
        guide: (H,W,3) uint8 or float32 in [0,1].
        mask: (H,W) float32, the image to be filtered.
        radius: window radius in pixels of the full image.
        epsilon: regulariser of the window's colour covariance, in squared units of [0,1].
        where: (N,) flat indices of the pixels to compute.
        subsample: the linear coefficients are computed on a grid coarser by this factor.

    Returns:
        (N,) float32, unclipped: in each window the linear function of the guide's colour closest to `mask`.
    """
    height, width = mask.shape
    small_guide, small_mask = guide, mask
    if subsample > 1:
        size = (max(1, width // subsample), max(1, height // subsample))
        small_guide, small_mask = shrink(guide, size), shrink(mask, size)
        radius = max(1, round(radius / subsample))
    # The colours of an 8-bit guide stay integers here, which are filtered faster.
    levels = np.float32(1.0) if guide.dtype == np.float32 else np.float32(255.0)
    models = window_models(_moments(small_guide, small_mask, radius), levels * levels * np.float32(epsilon))
    models[:3] *= levels
    smooth = cv2.merge([box_mean(plane, radius) for plane in models])
    return linear(enlarge_at(smooth, (width, height), where), pixels(guide, where))


def _moments(guide: np.ndarray, mask: np.ndarray, radius: int) -> tuple[np.ndarray, ...]:
    """Average the colours r, g, b, the mask p, and their products over each window; see `kernels.window_models`."""
    r, g, b = cv2.split(guide)
    kind = np.float32 if guide.dtype == np.float32 else np.uint16
    products = (np.multiply(*pair, dtype=kind) for pair in ((r, r), (r, g), (r, b), (g, g), (g, b), (b, b)))
    return tuple(box_mean(plane, radius) for plane in (r, g, b, mask, *products, r * mask, g * mask, b * mask))
