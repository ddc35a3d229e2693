"""What a mark says: whose avatar, on what basis it was made, by which tool, and what kind of source the image is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from selfieavatar import __version__
from selfieavatar.io.files import content_hash

TOOL = "selfieavatar"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"  # IPTC's vocabulary, which C2PA uses, too
Kind = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]
PAINTED: Kind = "trainedAlgorithmicMedia"  # the avatar alone
BESIDE_REAL: Kind = "compositeWithTrainedAlgorithmicMedia"  # tiles of an avatar beside footage
NOT_STATED = "not stated"
_LONGEST = 200  # characters of a text that comes from a file


@dataclass(frozen=True)
class Facts:
    """What a mark says.

    subject: whose avatar. avatar: short hash of avatar.pt. consent: the basis that the sheet states. kind: of source.
    region: (x, y, width, height) px of the avatar in an image that shows more; None: the whole image.
    version: of this package.
    """

    subject: str
    avatar: str
    consent: str
    kind: Kind = PAINTED
    region: tuple[int, int, int, int] | None = None
    version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        """Write the facts as plain values."""
        found: dict[str, Any] = {"subject": self.subject, "avatar": self.avatar, "consent": self.consent}
        found |= {"version": self.version, "digitalSourceType": SOURCE_TYPES + self.kind}
        return found | ({"region_px": " ".join(map(str, self.region))} if self.region else {})

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Facts | None:
        """Read facts that a stranger's file states; None where they name no known kind of synthetic source."""
        kind = str(values.get("digitalSourceType", "")).removeprefix(SOURCE_TYPES)
        if kind not in (PAINTED, BESIDE_REAL):
            return None
        said = {name: plain_text(values.get(name)) for name in ("subject", "avatar", "consent", "version")}
        said["consent"] = said["consent"] or NOT_STATED
        numbers = str(values.get("region_px", "")).split()
        known = len(numbers) == 4 and all(re.fullmatch(r"[0-9]{1,5}", one) for one in numbers)
        x, y, width, height = map(int, numbers) if known else (0, 0, 0, 0)
        return cls(**said, kind=kind, region=(x, y, width, height) if width and height else None)


@dataclass(frozen=True)
class Origin:
    """Whose avatar it is, of an avatar.pt that is not loaded; an `Avatar` has the same attributes."""

    subject: str
    consent: str
    digest: str

    @classmethod
    def of_file(cls, path: Path, content: Mapping[str, Any]) -> Origin:
        """Take it from the file and its content, of `io.avatar_file.read_avatar`."""
        return cls(plain_text(content.get("subject")), plain_text(content.get("consent")), content_hash(path))


def plain_text(value: Any) -> str:
    """Take a stranger's text for one line of a terminal: printable, and not long."""
    return "".join(letter for letter in str(value or "") if letter.isprintable())[:_LONGEST]
