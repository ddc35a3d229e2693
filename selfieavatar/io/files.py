"""Files that are either whole or not there, images, and content hashes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.png import encode_png


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends well and vanishes when not."""
    path = Path(path)
    # The suffix stays, since writers choose the format by it. One fixed name: what a killed run left is written over.
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    with _named_after(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
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
        temporary.mkdir(parents=True)
        try:
            yield temporary
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
    """The kernel does not say which file a failed write was for: add the output's name to such an error."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def end_of(path: Path, most: int = 1 << 16) -> str | None:
    """The last bytes of a log, which say why it ends; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - most, 0))
        return file.read().decode("utf-8", errors="replace")


def expand(path: str) -> Path:
    """A path that a person wrote, with ~ replaced.

    Raises:
        UserError: ~ names nobody's home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"the path '{path}' cannot be resolved ({error}); write it out in full") from error


def beside(source: Path, name: str) -> Path:
    """What a data set brings for a clip: `name` in the folder that holds the clip's video or image folder.

    A star stands for the name of the source without its ending, where several sources lie in one folder.
    """
    source = source.absolute()
    return source.parent / name.replace("*", source.name if source.is_dir() else source.stem)


def content_hash(data: bytes | Path) -> str:
    """Sixteen hexadecimal digits of BLAKE2b over bytes or a file's content (streamed)."""
    digest = hashlib.blake2b(digest_size=8)
    if isinstance(data, bytes):
        digest.update(data)
    else:
        with Path(data).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def list_images(folder: Path) -> list[Path]:
    """The images of a folder in natural order of their names: frame2 before frame10."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((path for path in found if not path.name.startswith(".")), key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def image_name(number: int) -> str:
    """File name of frame `number`: 7 -> `000007.png`."""
    return f"{number:06d}.png"


def write_image(path: Path | str, image: np.ndarray) -> str:
    """Write a PNG atomically and return the content hash of its bytes."""
    data = encode_png(image)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    return content_hash(data)


def read_image(path: Path | str) -> np.ndarray:
    """Read an image as (H, W) or (H, W, 3) RGB with its own depth (uint8 or uint16).

    Raises:
        UserError: the file is missing or not an image.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the image {path} is missing; run the workflow again to make it")
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UserError(f"{path} is not a readable image; delete it and run the workflow again")
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB)
    return image


class ImageWriter:
    """Encodes and writes numbered PNGs on threads while the caller goes on.

    The folder is the caller's to make atomic: `with atomic_dir(out) as folder, ImageWriter(folder) as writer`.
    At most `4 * threads` images wait in memory. An error in a thread is raised by the next `put` or at the end.
    """

    def __init__(self, folder: Path | str, threads: int = 2) -> None:
        self.folder = Path(folder)
        self.hashes: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1), thread_name_prefix="png")
        self._waiting: deque[tuple[int, Future[str]]] = deque()
        self._limit = 4 * max(threads, 1)

    def __enter__(self) -> ImageWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def put(self, number: int, image: np.ndarray) -> None:
        """Queue image `number`; waits when too many are queued. The array must not be changed afterwards."""
        while len(self._waiting) >= self._limit:
            self._take()
        self._waiting.append((number, self._pool.submit(self._write, number, image)))

    def _write(self, number: int, image: np.ndarray) -> str:
        data = encode_png(image)
        (self.folder / image_name(number)).write_bytes(data)
        return content_hash(data)

    def _take(self) -> None:
        number, future = self._waiting.popleft()
        self.hashes[number] = future.result()

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                while self._waiting:
                    self._take()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
