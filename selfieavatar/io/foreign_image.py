"""Read images of strangers: by Pillow, since OpenCV 4.11 ends the process on some damaged animated PNGs.

Every kind of image becomes 8-bit sRGB, upright: grey and palettes are expanded, 16 bits are rounded, CMYK and other
colour spaces are converted by the profile that the file embeds. Of an animation the first image is read.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps

from selfieavatar.errors import UserError
from selfieavatar.io.images import over_white

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_GREY = ("1", "L", "LA", "I;16")
_MANAGED = ("L", "RGB", "RGBA", "CMYK")  # modes that profiles are for
_TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
# What the readers of Pillow raise on damaged files.
_DAMAGED = (
    OSError, ValueError, SyntaxError, ArithmeticError, LookupError, TypeError, MemoryError, EOFError, struct.error
)  # fmt: skip


@dataclass(frozen=True)
class ForeignImage:
    """An image (H, W, 3) uint8 RGB, its alpha (H, W) uint8, which the colours are not multiplied by, if it has one."""

    rgb: np.ndarray
    alpha: np.ndarray | None
    grey: bool


@dataclass(frozen=True)
class ImageHeader:
    """What an image says before it is decoded: (width, height) as it is shown, is it transparent, does it move."""

    size: tuple[int, int]
    alpha: bool
    animated: bool


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image file alone.

    Raises:
        UserError: as of `decode_foreign`.
    """
    with _opened(path, str(path)) as image:
        size = image.size
        # The base class: that of PNG decodes the whole image. A TIFF swaps by itself.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        if image.format != "TIFF" and orientation in _TRANSPOSED:
            size = size[::-1]
        moves = image.format in ("PNG", "WEBP") and bool(getattr(image, "is_animated", False))
        return ImageHeader(size, image.has_transparency_data, moves)


def read_foreign(source: Path | io.BytesIO, name: str) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, over white where it is transparent.

    name: how the message calls it.

    Raises:
        UserError: as of `decode_foreign`.
    """
    image = decode_foreign(source, name)
    return image.rgb if image.alpha is None else over_white(image.rgb, image.alpha)


def decode_foreign(source: Path | io.BytesIO, name: str, managed: bool = True) -> ForeignImage:
    """Decode an image, its colours as they are below a transparency.

    name: how the message calls it. managed: whether an embedded colour profile counts; it does not for a mask.

    Raises:
        UserError: it is no regular file, no image, damaged, deeper than 16 bits, or of more pixels than Pillow takes
            for honest.
    """
    with _opened(source, name) as opened:
        image = _eight_bits(source, opened)
        if image.mode in ("I", "F"):
            raise UserError(f"{name} has values of 32 bits; give an image of 8 or 16 bits")
        grey = image.mode in _GREY
        if image.has_transparency_data:
            image = image.convert("RGBA")
        elif image.mode == "P":
            image = image.convert("RGB")
        profile = opened.info.get("icc_profile")
        if managed and profile and image.mode in _MANAGED and (transform := _to_srgb(profile, image.mode)):
            image = transform.apply(image)
        alpha = np.asarray(image.getchannel("A")) if image.mode == "RGBA" else None
        return ForeignImage(np.array(image.convert("RGB")), alpha, grey)


@contextmanager
def _opened(source: Path | io.BytesIO, name: str) -> Iterator[ImageFile.ImageFile]:
    if isinstance(source, Path) and not source.is_file():  # opening a pipe would wait for ever
        raise UserError(f"{name} is missing, a folder, a pipe or a broken link; remove it or put an image there")
    try:
        with Image.open(source, formats=FORMATS) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} claims more than 178 megapixels; give a smaller image") from error
    except _DAMAGED as error:
        raise UserError(f"{name} is not a readable image; remove or replace it") from error


def _eight_bits(source: Path | io.BytesIO, image: ImageFile.ImageFile) -> Image.Image:
    """Turn an image upright and round its 16 bits to 8. Pillow keeps the high bytes of deep colours."""
    tiles = image.tile  # emptied by decoding
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
    elif image.format == "PNG" and tiles and tiles[0].args in ("RGB;16B", "RGBA;16B"):
        with Image.open(source, formats=FORMATS) as again:  # in the other byte order the low bytes are the high ones
            again.tile = [tile._replace(args=f"{image.mode};16L") for tile in tiles]
            ImageOps.exif_transpose(again, in_place=True)
            deep = np.asarray(image).astype(np.uint32) * 256 + np.asarray(again)
    else:
        return image
    return Image.fromarray(((deep + 128) // 257).astype(np.uint8))


@lru_cache(maxsize=8)  # a folder's images share one
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Make the conversion from a colour profile to sRGB; None where it is sRGB, damaged, or of another mode."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (opened.profile.profile_description or ""):
            return None
        out = "RGBA" if mode == "RGBA" else "RGB"
        return ImageCms.buildTransform(opened, _srgb(), mode, out, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None  # as browsers do


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
