"""Crop a square window of an image and resample it, exact to a fraction of a pixel.

Coordinates are continuous, the centre of the first pixel is (0.5, 0.5). A window (x0, y0, side) maps source x to
(x - x0) * size / side in the result. The window may reach outside the image: the border is repeated there.
"""

import math

import cv2
import numpy as np


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6


def _slice_replicated(image: np.ndarray, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    """Slice a whole-pixel window (height, width, C) of `image`, its border replicated outside."""
    rows, columns = image.shape[:2]
    # A window wholly outside shows the nearest row or column.
    left, right = min(max(x0, 0), columns - 1), max(min(x0 + width, columns), 1)
    top, bottom = min(max(y0, 0), rows - 1), max(min(y0 + height, rows), 1)
    left, top = min(left, right - 1), min(top, bottom - 1)
    part = image[top:bottom, left:right]
    if part.shape[:2] == (height, width):
        return part
    pad_left, pad_top = min(max(left - x0, 0), width - 1), min(max(top - y0, 0), height - 1)
    part = part[: height - pad_top, : width - pad_left]
    pad_right, pad_bottom = width - pad_left - part.shape[1], height - pad_top - part.shape[0]
    return cv2.copyMakeBorder(part, pad_top, pad_bottom, pad_left, pad_right, cv2.BORDER_REPLICATE)


def cut_window(image: np.ndarray, crop_px: tuple[float, float, float], size_px: int) -> np.ndarray:
    """Crop and resample the window (x0, y0, side) of an image (H, W, C) uint8 or uint16 to (size_px, size_px, C).

    Shrinking averages over areas, enlarging is bicubic, equal size copies. Whole-number windows take OpenCV's resize.
    Others, if shrunk, are first sampled bilinearly on a grid at least as fine as the source (OpenCV's fixed-point warp
    knows positions to 1/32 px) and then averaged; else they are sampled by Lanczos, since OpenCV's cubic kernel would
    shift an image by up to 0.05 px.

    Raises:
        ValueError: the side or size is not positive.
    """
    x0, y0, side = (float(v) for v in crop_px)
    if not (side > 0 and size_px > 0):
        raise ValueError(f"window side {side} and size {size_px} must be positive")
    if _is_whole(x0) and _is_whole(y0) and _is_whole(side):
        part = _slice_replicated(image, round(x0), round(y0), round(side), round(side))
        return _resize(part, size_px)
    # Work on a whole-pixel part with a margin, so that a small window of a large image is cheap.
    left, top = math.floor(x0) - 2, math.floor(y0) - 2
    extent = math.ceil(side) + 5
    part = _slice_replicated(image, left, top, extent, extent)
    factor = max(1, math.ceil(side / size_px))
    scale = side / (size_px * factor)  # source px per grid px
    shift_x, shift_y = x0 - left, y0 - top
    # warpAffine counts from pixel centres at whole numbers, hence the half pixels.
    matrix = np.array([[scale, 0.0, shift_x + 0.5 * scale - 0.5], [0.0, scale, shift_y + 0.5 * scale - 0.5]])
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if side > size_px else cv2.INTER_LANCZOS4)
    grid = cv2.warpAffine(part, matrix, (size_px * factor,) * 2, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return _resize(grid, size_px)


def _resize(part: np.ndarray, size_px: int) -> np.ndarray:
    if part.shape[0] == size_px and part.shape[1] == size_px:
        return np.ascontiguousarray(part)
    method = cv2.INTER_AREA if part.shape[0] > size_px else cv2.INTER_CUBIC
    return cv2.resize(part, (size_px, size_px), interpolation=method)
