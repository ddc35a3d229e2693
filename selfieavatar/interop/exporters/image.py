"""Read images that other methods have rendered."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from selfieavatar.errors import UserError

LEAST_PX = 16
_PNG, _GREY = b"\x89PNG\r\n\x1a\n", (0, 4)  # PNG's colour types of grey, without and with alpha


def external_image(path: Path) -> np.ndarray:
    """Read an image of another method as (S, S, 3) uint8 RGB; 16 bits are rounded to 8.

    Raises:
        UserError: it is unreadable, grey, smaller than 16 px, transparent in places, or has unequal sides.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path} is not a readable image; have the method write it again")
    height, width = image.shape[:2]
    with path.open("rb") as file:
        head = file.read(26)
    grey = image.ndim != 3 or (head.startswith(_PNG) and head[25] in _GREY)
    if grey or height != width:
        raise UserError(
            f"{path} is a {'grey' if grey else 'colour'} image of {width} x {height} px, but the truth is a square "
            "crop in colour; have the method write the same crop"
        )
    if image.shape[2] == 4 and image[..., 3].min() < (255 if image.dtype == np.uint8 else 65535):
        raise UserError(f"{path} is transparent in places; composite the images over the filmed background")
    if width < LEAST_PX:
        raise UserError(f"{path} has {width} px; have the method render {LEAST_PX} or more, best the truth's size")
    image = image[..., 2::-1]
    return image if image.dtype == np.uint8 else np.round(image / 257).astype(np.uint8)
