"""Read all marks of an image or video back: Content Credentials, XMP, watermark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.foreign_image import decode_foreign
from selfieavatar.io.images import IMAGE_SUFFIXES
from selfieavatar.marking import watermark, xmp
from selfieavatar.marking.credentials import INVALID, Credentials, read_credentials
from selfieavatar.marking.facts import BESIDE_REAL, PAINTED, Facts
from selfieavatar.video.reader import open_source

_FRAMES, _STRIDE = 24, 4  # of a video, that vote on the watermark
_MOST_BYTES = 1 << 28  # of an image
_UNSIGNABLE = {".webm", ".mkv"}
_KINDS = {PAINTED: "painted by an avatar alone", BESIDE_REAL: "an avatar beside footage"}


@dataclass(frozen=True)
class Marks:
    """What a file says about itself.

    credentials: None where it has none. xmp: facts of its XMP, or of its tags. watermark: found or not; None where the
    image is too small or too large to hold one, or too damaged. unsignable: files of this kind have no place for
    credentials.
    """

    credentials: Credentials | None
    xmp: Facts | None
    watermark: bool | None
    unsignable: bool = False

    @property
    def facts(self) -> Facts | None:
        """The best statement: that of the credentials, where their signature holds, else that of XMP."""
        signed = self.credentials
        if signed and signed.facts and signed.signature != INVALID:
            return signed.facts
        return self.xmp or (signed.facts if signed else None)

    @property
    def found(self) -> bool:
        """Whether anything says that the file is synthetic."""
        return self.facts is not None or bool(self.watermark)

    @property
    def broken(self) -> bool:
        """Whether a signature does not fit what it signed."""
        return self.credentials is not None and self.credentials.signature == INVALID

    def as_dict(self) -> dict[str, object]:
        """Write the marks as plain values."""
        facts, signed = self.facts, self.credentials
        said: dict[str, object] = {"marked": self.found, "watermark": self.watermark}
        said |= {"facts": facts.as_dict() if facts else None, "xmp": self.xmp is not None}
        told = ("signature", "signer", "tool", "problems")
        return said | {"credentials": {name: getattr(signed, name) for name in told} if signed else None}

    def in_words(self) -> list[str]:
        """Say it in lines of text."""
        facts, signed = self.facts, self.credentials
        lines = []
        if not self.found and signed is None:
            lines.append("no mark found; that does not say where it comes from")
        elif facts is None:
            lines.append("SYNTHETIC by its watermark alone" if self.watermark else "not said to be synthetic")
        else:
            lines.append(f"SYNTHETIC: {_KINDS[facts.kind]}")
            if facts.subject or facts.avatar:
                lines.append(f"avatar: {facts.subject or 'unnamed'}, avatar.pt {facts.avatar or 'unknown'}")
                lines.append(f"consent: {facts.consent}")
                lines.append(f"tool: selfieavatar {facts.version}")
        if signed is not None:
            why = f" ({', '.join(signed.problems)}): changed after it was signed, or damaged" if signed.problems else ""
            lines.append(
                f"signature: {signed.signature}{why}; by {signed.signer or 'nobody named'}, with {signed.tool}"
            )
        elif self.found:
            none = "none, for which this kind of file has no place" if self.unsignable else "none"
            lines.append(f"signature: {none}; anybody could have written or removed what is said here")
        if self.found or signed is not None:
            told = {
                True: "found",
                False: "not found",
                None: "not looked for: an image too small, large or damaged",
            }
            lines.append(f"XMP: {'found' if self.xmp else 'not found'}; watermark: {told[self.watermark]}")
        return lines


def read_marks(path: Path, anchors: str = "") -> Marks:
    """Read the marks of an image or video. The file is a stranger's: nothing in it is executed or fetched.

    Args:
        path: of the file. anchors: PEM certificates whose signatures are trusted.

    Raises:
        UserError: it is missing, too large an image, or neither image nor video.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; give images or videos")
    is_image = path.suffix.lower() in IMAGE_SUFFIXES
    if is_image and path.stat().st_size > _MOST_BYTES:
        raise UserError(f"{path} is larger than {_MOST_BYTES >> 20} MB; give a smaller image")
    images = _image(path) if is_image else _frames(path)
    unreadable: UserError | None = None
    try:
        first = [next(images)]
    except UserError as error:  # a damaged image may still carry what was said of it
        first, unreadable = [], error
    signed = read_credentials(path, anchors)
    stated = xmp.of_image(path.read_bytes()) if is_image else xmp.of_video(path)
    if unreadable is not None and not (is_image and (stated or (signed and signed.facts))):
        raise unreadable
    region = next((f.region for f in (signed.facts if signed else None, stated) if f is not None and f.region), None)

    def shown() -> Iterator[np.ndarray]:
        for image in (*first, *images):
            yield _cut(image, region)

    found = watermark.found_in(shown()) if first else None
    return Marks(signed, stated, found, path.suffix.lower() in _UNSIGNABLE)


def _image(path: Path) -> Iterator[np.ndarray]:
    yield decode_foreign(path, str(path), managed=False).rgb  # the very values that were marked


def _frames(path: Path) -> Iterator[np.ndarray]:
    source = open_source(path)
    found = False
    for _, _, image in source.read(range(0, min(source.count, _FRAMES * _STRIDE), _STRIDE)):
        found = True
        yield image
    if not found:
        raise UserError(f"{path} has no frame that can be decoded; give images or videos")


def _cut(image: np.ndarray, region: tuple[int, int, int, int] | None) -> np.ndarray:
    """Cut out where the avatar lies; the whole image where that is not known, or lies outside."""
    if region is None or region[0] + region[2] > image.shape[1] or region[1] + region[3] > image.shape[0]:
        return image
    x, y, width, height = region
    return image[y : y + height, x : x + width]
