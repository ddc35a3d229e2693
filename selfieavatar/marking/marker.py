"""Mark what one avatar paints, before it leaves the program: the pixels of each image, and each file once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from selfieavatar.marking import credentials, keys, label, watermark, xmp
from selfieavatar.marking.facts import BESIDE_REAL, NOT_STATED, PAINTED, Facts
from selfieavatar.settings.marking_section import Marking

Region = tuple[int, int, int, int]


class Named(Protocol):
    """What of an avatar a mark names: `Avatar` and `Origin` have it."""

    @property
    def subject(self) -> str: ...  # noqa: D102
    @property
    def consent(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102


class Marker:
    """Mark images and files of an avatar.

    `paint` takes each image before it is encoded, `seal` the finished file. Where the avatar is a part of an image
    that also shows footage, only that part is painted on, and `region` says where it lies.

    Args:
        avatar: whose it is. settings: label and key.

    Raises:
        UserError: the key cannot be used; said before time is spent.
    """

    def __init__(self, avatar: Named, settings: Marking | None = None) -> None:
        settings = settings or Marking()
        self.facts = Facts(avatar.subject, avatar.digest, avatar.consent or NOT_STATED)
        self.label = settings.label
        self._key = keys.signing_key(settings.key)

    def paint(self, image: np.ndarray) -> np.ndarray:
        """Write label and watermark into an image (H, W, 3) or (H, W, 4) uint8; returns a copy.

        Nothing that is measured may be taken from it.
        """
        return watermark.hide(label.write_label(image) if self.label else image)

    def paint_part(self, image: np.ndarray, region: Region) -> None:
        """Do the same in the part of an image (H, W, 3) uint8 that the avatar painted, in its place."""
        x, y, width, height = region
        image[y : y + height, x : x + width] = self.paint(image[y : y + height, x : x + width])

    def seal(self, path: Path, region: Region | None = None, title: str = "") -> None:
        """Write XMP and signed Content Credentials into a finished PNG, JPEG, MP4 or MOV, in its place.

        Args:
            path: of the file. region: (x, y, width, height) px of the avatar beside footage. title: its final name.

        Raises:
            UserError: it cannot be signed.
            ValueError: another kind of file; Matroska and WebM take `tags` instead.
        """
        facts, ending = self._facts(region), path.suffix.lower()
        if ending in (".mp4", ".mov"):
            xmp.append_to_video(path, facts)
            credentials.sign_file(path, facts, self._key, title)
        else:
            path.write_bytes(self.sealed(path.read_bytes(), region, title or path.name))

    def sealed(self, data: bytes, region: Region | None = None, title: str = "image") -> bytes:
        """Write the same into the bytes of a PNG or JPEG; raises as `seal`."""
        facts = self._facts(region)
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
        return credentials.sign_bytes(xmp.into_image(data, facts), facts, self._key, kind, title)

    def tags(self) -> dict[str, str]:
        """Return tags for a Matroska or WebM of the avatar alone: C2PA has no place in these, so they stay unsigned."""
        return xmp.matroska_tags(self.facts)

    def _facts(self, region: Region | None) -> Facts:
        return replace(self.facts, kind=BESIDE_REAL if region else PAINTED, region=region)
