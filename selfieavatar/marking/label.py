"""Write the small visible label into the corner of an image that an avatar painted."""

from __future__ import annotations

import cv2
import numpy as np

LABEL = "AI-generated"
_FONT, _SHARE, _LEAST_PX = cv2.FONT_HERSHEY_SIMPLEX, 0.035, 6  # height of its capitals as a share of the image
_FONT_PX = 21  # height of the font's capitals at scale 1


def write_label(image: np.ndarray) -> np.ndarray:
    """Write the label at the lower left of an image (H, W, 3) or, opaque there, (H, W, 4) uint8; returns a copy."""
    image = np.ascontiguousarray(image).copy()
    height, width = image.shape[:2]
    capitals = max(_LEAST_PX, round(_SHARE * height))
    scale = min(capitals, 0.08 * width) / _FONT_PX  # twelve letters must fit a narrow image, too
    thickness = max(1, round(1.6 * scale))
    (wide, high), below = cv2.getTextSize(LABEL, _FONT, scale, thickness)
    margin = max(2, high // 2)
    top, right = height - 2 * margin - high - below // 2, wide + 2 * margin
    box = image[max(top, 0) :, :right]
    box[..., :3] = box[..., :3] // 3  # darkened, so that it can be read on anything
    if image.shape[2] == 4:
        box[..., 3] = np.maximum(box[..., 3], 200)
    colour = (255,) * image.shape[2]
    cv2.putText(image, LABEL, (margin, height - margin - below // 2), _FONT, scale, colour, thickness, cv2.LINE_AA)
    return image
