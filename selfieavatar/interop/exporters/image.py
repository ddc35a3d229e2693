"""Read images that other methods have rendered."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.foreign_image import decode_foreign

LEAST_PX = 16


def external_image(path: Path) -> np.ndarray:
    """Read an image of another method as (S, S, 3) uint8 RGB; 16 bits are rounded to 8.

    Raises:
        UserError: it is unreadable, grey, smaller than 16 px, transparent in places, or has unequal sides.
    """
    image = decode_foreign(path, str(path))
    height, width = image.rgb.shape[:2]
    if image.grey or height != width:
        kind = "grey" if image.grey else "colour"
        raise UserError(
            f"{path} is a {kind} image of {width} x {height} px, but the truth is a square "
            "crop in colour; have the method write the same crop"
        )
    if image.alpha is not None and image.alpha.min() < 255:
        raise UserError(f"{path} is transparent in places; composite the images over the filmed background")
    if width < LEAST_PX:
        raise UserError(f"{path} has {width} px; have the method render {LEAST_PX} or more, best the truth's size")
    return image.rgb
