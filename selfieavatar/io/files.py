"""Write files that are either whole or not there, and hash their content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfieavatar.errors import UserError
from selfieavatar.io.permissions import make_folder, restrict


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends well and vanishes when not."""
    path = Path(path)
    # The suffix stays, since writers choose the format by it. One fixed name: what a killed run left is written over.
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    with _named_after(path):
        make_folder(path.parent)
        try:
            yield temporary
            restrict(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it takes the place of `path` when the block ends well."""
    path = Path(path)
    temporary, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    with _named_after(path):
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
        make_folder(temporary)
        try:
            yield temporary
            restrict(temporary)
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
        finally:
            for left in (temporary, old):
                shutil.rmtree(left, ignore_errors=True)


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
