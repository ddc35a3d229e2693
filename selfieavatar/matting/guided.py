"""Filter masks by the guided filter with a colour guide, and share the image arithmetic of matting.

He, Sun, Tang: Guided Image Filtering, TPAMI 2013 (eq. 19-21); on a coarser grid as in Fast Guided Filter (2015).
Images are processed plane by plane: OpenCV filters four float planes three times faster than four channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

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


def enlarge_at(image: np.ndarray, size: tuple[int, int], where: np.ndarray) -> np.ndarray:
    """Upsample (h,w,C), C at most 4, by `enlarge` and pick the pixels with flat indices `where` (N,): (N,C)."""
    return np.take(enlarge(image, size).reshape(size[0] * size[1], -1), where, axis=0)


def pixels(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Pick the colours (N,3) float32 in [0,1] of the flat indices `where` (N,) of (H,W,3) uint8 or float32."""
    return unit(np.take(image.reshape(-1, 3), where, axis=0))


def linear(slope: np.ndarray, offset: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Evaluate slope (N,3) . colours (N,3) + offset (N,)."""
    return slope[:, 0] * colours[:, 0] + slope[:, 1] * colours[:, 1] + slope[:, 2] * colours[:, 2] + offset


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
    planes = [box_mean(plane, radius) for plane in _coefficients(unit(small_guide), small_mask, radius, epsilon)]
    model = enlarge_at(cv2.merge(planes), (width, height), where)
    return linear(model[:, :3], model[:, 3], pixels(guide, where))


def _coefficients(guide: np.ndarray, mask: np.ndarray, radius: int, epsilon: float) -> list[np.ndarray]:
    """Fit the linear model of each window: slopes a = (cov(I) + eps)^-1 cov(I, p) and the offset, four planes (H,W)."""
    r, g, b = cv2.split(guide)
    mr, mg, mb, mean = (box_mean(plane, radius) for plane in (r, g, b, mask))
    rr = box_mean(r * r, radius) - mr * mr + epsilon
    rg = box_mean(r * g, radius) - mr * mg
    rb = box_mean(r * b, radius) - mr * mb
    gg = box_mean(g * g, radius) - mg * mg + epsilon
    gb = box_mean(g * b, radius) - mg * mb
    bb = box_mean(b * b, radius) - mb * mb + epsilon
    cr = box_mean(r * mask, radius) - mr * mean
    cg = box_mean(g * mask, radius) - mg * mean
    cb = box_mean(b * mask, radius) - mb * mean
    # Cramer's rule for the symmetric 3 x 3 system, written out: an order faster than np.linalg.solve per pixel.
    i00, i01, i02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    i11, i12, i22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1.0 / (rr * i00 + rg * i01 + rb * i02)
    ar = (i00 * cr + i01 * cg + i02 * cb) * scale
    ag = (i01 * cr + i11 * cg + i12 * cb) * scale
    ab = (i02 * cr + i12 * cg + i22 * cb) * scale
    return [ar, ag, ab, mean - ar * mr - ag * mg - ab * mb]
