"""Images that come and go: read what a client sends, dress what the avatar painted, and encode it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from selfieavatar.errors import UserError
from selfieavatar.io.foreign_image import read_foreign

Background = Literal["own", "colour", "image"]

MOST_PIXELS = 4_000_000  # of an image from a client: a small JPEG may claim gigabytes
LEAST_PX, MOST_PX = 16, 8192  # of a side
_THIN = 0.35
QUALITIES = {"fast": 75, "balanced": 88, "fine": 95}  # of the JPEGs that are sent


@dataclass(frozen=True)
class Look:
    """What surrounds the person: `own` is as the avatar was trained, colour (R, G, B), image (S, S, 3) uint8 RGB."""

    mirror: bool = False
    background: Background = "own"
    colour: tuple[int, int, int] = (32, 96, 80)
    image: np.ndarray | None = None
    quality: str = "balanced"


def decode_image(data: bytes, formats: tuple[str, ...] = ("JPEG",)) -> np.ndarray:
    """Decode an image of a client as (H, W, 3) uint8 RGB; its size is looked at before any memory is taken.

    Raises:
        UserError: it is not an image of these formats, or too large or too small.
    """
    try:
        with Image.open(io.BytesIO(data), formats=formats) as header:
            width, height = header.size
            form = header.format
    except Image.DecompressionBombError as error:
        raise UserError("an image of a gigapixel was sent; send at most 4 megapixels") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"an image that was sent is not {' or '.join(formats)}; send another") from error
    if width * height > MOST_PIXELS or min(width, height) < LEAST_PX or max(width, height) > MOST_PX:
        raise UserError(
            f"an image of {width} x {height} px was sent; send sides of {LEAST_PX} to {MOST_PX} px, up to 4 megapixels"
        )
    if form != "JPEG":
        return read_foreign(io.BytesIO(data), "an image that was sent")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError("an image that was sent is damaged; send another")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def fill_square(image: np.ndarray, size_px: int) -> np.ndarray:
    """Scale the middle square of an image (H, W, 3) to (S, S, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (size_px, size_px), interpolation=cv2.INTER_AREA)


def dress(image: np.ndarray, alpha: np.ndarray, look: Look) -> np.ndarray:
    """Lay the person (S, S, 3) uint8 with alpha (S, S) uint8 over the background that is asked for."""
    if look.mirror:
        image, alpha = image[:, ::-1], alpha[:, ::-1]
    if look.background == "own":
        return np.ascontiguousarray(image)
    if look.background == "colour" or look.image is None:
        behind = np.broadcast_to(np.array(look.colour, np.float32), image.shape)
    else:
        behind = look.image.astype(np.float32)
    # The old background shines through where alpha is below 1: what is thin of it goes with that background.
    share = np.clip((alpha[..., None].astype(np.float32) / 255 - _THIN) / (1 - _THIN), 0, 1)
    return (image * share + behind * (1 - share) + 0.5).astype(np.uint8)


def encode_jpeg(image: np.ndarray, quality: str) -> bytes:
    """Encode an image (H, W, 3) uint8 RGB at one of the `QUALITIES`."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITIES[quality]]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()
