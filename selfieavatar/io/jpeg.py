"""Encode images as JPEG, for pages that hold them: a tenth of a PNG's bytes."""

from __future__ import annotations

import cv2
import numpy as np


def encode_jpeg(image: np.ndarray, widest_px: int, quality: int = 90) -> bytes:
    """Encode an image, RGB uint8 (H, W, 3), as JPEG, scaled down to `widest_px` where it is wider."""
    height, width = image.shape[:2]
    if width > widest_px:
        size = (widest_px, max(1, round(height * widest_px / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()
