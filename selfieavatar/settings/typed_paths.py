"""Find the files that people mean by the paths that they type: of Windows, or in another form of Unicode."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from selfieavatar.io.files import expand

_DRIVE = re.compile(r"([A-Za-z]):[\\/](.*)")
_SHARE = re.compile(r"\\\\wsl(?:\$|\.localhost)\\[^\\]+(\\.*)")  # WSL's own files, as Windows sees them
_PATH_VARIABLE = re.compile(r"<[a-z][a-z0-9_]*>")  # Snakemake's
_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes that Linux and macOS take


def fault_of(source: str) -> str:
    """Say why no file or folder of that path can be used; empty where one can."""
    if "\0" in source:
        return "has a NUL character, which no path has; correct it"
    if set(source) & set("{}"):
        return "has a brace, which stands for a wildcard; rename it"
    if found := _PATH_VARIABLE.search(source):
        return f"has {found[0]}, which stands for a path of the workflow; rename it"
    whole, longest = len(os.fsencode(source)), max(len(os.fsencode(name)) for name in source.split("/"))
    if whole > _LONGEST_PATH:
        return f"has {whole} bytes; a path has at most {_LONGEST_PATH}, so correct it"
    return f"has a name of {longest} bytes; files have at most {_LONGEST_NAME}" if longest > _LONGEST_NAME else ""


def as_on_disk(source: str) -> str:
    """Spell a source as it is on the disk, where something is there that it clearly means; else as it was typed.

    A path that begins with a dash becomes absolute: commands would take it for an option.
    """
    for path in (source, *_spelt_otherwise(source)):
        found = expand(path)
        if not os.path.exists(found):  # Path.exists() raises where it may not look
            found = _in_other_letters(found) or found
        if os.path.exists(found):
            plain = path == source and found == expand(source) and not source.startswith("-")
            return source if plain else str(found.absolute() if str(found).startswith("-") else found)
    return source


def why_missing(source: str) -> str:
    """Say what a path that leads nowhere has that this system does not know, to go on in a sentence; mostly empty."""
    other = next(_spelt_otherwise(source), None)
    return f" (it is a path of Windows, which would be {other} here)" if other else ""


def _spelt_otherwise(source: str) -> Iterator[str]:
    """Spell a path of Windows as WSL has it."""
    if drive := _DRIVE.fullmatch(source):
        yield f"/mnt/{drive[1].lower()}/" + drive[2].replace("\\", "/")
    elif share := _SHARE.fullmatch(source):
        yield share[1].replace("\\", "/")
    elif "\\" in source:
        yield source.replace("\\", "/")


def _in_other_letters(path: Path) -> Path | None:
    """Find a path whose names are composed otherwise in Unicode: macOS writes an accent as a letter of its own."""
    if str(path).isascii():
        return None
    found = Path(path.anchor)
    for name in path.parts[len(found.parts) :]:
        if not os.path.exists(found / name):
            try:
                names = sorted(os.listdir(found))
            except OSError:
                return None
            alike = [one for one in names if composed(one) == composed(name)]
            if not alike:
                return None
            name = alike[0]
        found /= name
    return found


def composed(name: str) -> str:
    """Compose a name's accents in Unicode (NFC), to compare names whatever system wrote them."""
    return unicodedata.normalize("NFC", name)
