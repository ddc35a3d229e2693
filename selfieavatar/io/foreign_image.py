"""Read images of strangers: by Pillow, since OpenCV 4.11 ends the process on some damaged animated PNGs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from selfieavatar.errors import UserError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")


def read_foreign(source: Path | io.BytesIO, name: str) -> np.ndarray:
    """Read an image, of an animation the first, as (H, W, 3) uint8 RGB, turned as its EXIF says.

    name: how the message calls it.

    Raises:
        UserError: it is no image, damaged, or of more pixels than Pillow takes for honest.
    """
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.mode.startswith("I;16"):  # which Pillow would cut at 255
                grey = (np.asarray(image) >> 8).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} claims more than 178 megapixels; give a smaller image") from error
    except (OSError, ValueError, SyntaxError, ArithmeticError, LookupError, TypeError, MemoryError) as error:
        raise UserError(f"{name} is not a readable image; give another") from error
