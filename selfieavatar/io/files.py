"""Write files that are either whole or not there, and hash their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selfieavatar.errors import UserError
from selfieavatar.io.lease import refuse_lost
from selfieavatar.io.owner import is_gone, place
from selfieavatar.io.permissions import make_folder, restrict

LEFTOVER_S = 86400.0  # after which a temporary file of another host is nobody's


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`; it replaces `path` when the block ends well, else it vanishes.

    Raises:
        UserError: another run has taken over `path`, which is left alone.
    """
    path = Path(path)
    with _named_after(path):
        make_folder(path.parent)
        end = f".part{path.suffix}"  # by which writers choose the format
        temporary = _temporary(path.parent, path.stem, end)
        temporary.touch(mode=0o600, exist_ok=False)  # by O_EXCL: what is written goes through nobody's link
        try:
            _remove_leftovers(temporary, path.stem, end)
            yield temporary
            restrict(temporary)
            refuse_lost(path)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it takes the place of `path` when the block ends well.

    Raises:
        UserError: another run has taken over `path`, which is left alone.
    """
    path = Path(path)
    with _named_after(path):
        make_folder(path.parent)
        temporary, old = (_temporary(path.parent, path.name, end) for end in (".part", ".old"))
        temporary.mkdir(mode=0o700)
        try:
            for end in (".part", ".old"):
                _remove_leftovers(temporary, path.name, end)
            yield temporary
            restrict(temporary)
            refuse_lost(path)
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
        finally:
            for left in (temporary, old):
                _remove(left)


def _temporary(folder: Path, name: str, end: str) -> Path:
    """Name what is this process's alone, in a way that tells others whose it is."""
    return folder / f".{name}.{place()}-{os.getpid()}-{secrets.token_hex(4)}{end}"


def _remove_leftovers(mine: Path, name: str, end: str) -> None:
    """Remove what other processes left of the same output beside `mine`: those surely gone, or a day ago."""
    pattern = re.compile(rf"\.{re.escape(name)}\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}{re.escape(end)}")
    old = mine.lstat().st_mtime - LEFTOVER_S  # by the clock of the file system
    for path in mine.parent.iterdir():
        found = pattern.fullmatch(path.name)
        with suppress(FileNotFoundError):  # another process may be at the same
            if found and path != mine and (is_gone(found[1], int(found[2])) or path.lstat().st_mtime < old):
                _remove(path)


def remove_dead(folder: Path) -> None:
    """Remove what processes of this host that are surely gone have left half-written right below a folder."""
    pattern = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(part|old)(\.\w+)?")
    with suppress(OSError):  # no folder yet, or one that is closed to this user
        for path in folder.iterdir():
            if (found := pattern.fullmatch(path.name)) and is_gone(found[1], int(found[2])):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path | str, content: Any) -> None:
    """Write plain values as JSON for people, atomically. ValueError for NaN and infinity, which JSON lacks."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


@contextmanager
def _named_after(path: Path) -> Iterator[None]:
    """Name the output in an error of the kernel, which does not say which file a failed write was for."""
    try:
        yield
    except OSError as error:
        refuse_lost(path)  # whoever took the output over may have removed what was being written
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def end_of(path: Path, most: int = 1 << 16) -> str | None:
    """Read the last bytes of a log, which say why it ends; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - most, 0))
        return file.read().decode("utf-8", errors="replace")


def expand(path: str) -> Path:
    """Replace ~ in a path that a person wrote.

    Raises:
        UserError: ~ names nobody's home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"the path '{path}' cannot be resolved ({error}); write it out in full") from error


def beside(source: Path, name: str) -> Path:
    """Find what a data set brings for a clip: `name` in the folder that holds the clip's video or image folder.

    A star stands for the name of the source without its ending, where several sources lie in one folder.
    """
    source = source.absolute()
    return source.parent / name.replace("*", source.name if source.is_dir() else source.stem)


def content_hash(data: bytes | Path) -> str:
    """Hash bytes or a file's content (streamed) by BLAKE2b, to sixteen hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    if isinstance(data, bytes):
        digest.update(data)
    else:
        with Path(data).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
