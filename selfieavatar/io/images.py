"""Read and write images: numbered PNGs of the clips, and JPEGs for pages.

PNG is written fast, since lossless images are half of what the front end writes: OpenCV's encoder spends 12 ms on a
512 px frame in the deflate of plain zlib. The same bytes by ISA-L's deflate, each row as its difference from the row
above, take 2 ms, are no larger, and are read twice as fast (docs/decisions/0005).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_file, content_hash

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2  # the filter "difference from the row above" of the specification, section 9.2
_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}  # channels -> greyscale, RGB, RGBA
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type
_MOST_DEFLATED = 1032  # times that deflate makes anything smaller, at most
_LEVEL = 1  # 3 is half as fast for 2 % fewer bytes


def list_images(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """List the images of a folder, or its files of other suffixes, in natural order: frame2 before frame10."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    return sorted((path for path in found if not path.name.startswith(".")), key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"(\d+)", path.name.lower())
    # The name itself keeps `1.png` and `01.png` in one order on every machine.
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], path.name


def image_name(number: int) -> str:
    """Name the file of frame `number`: 7 -> `000007.png`."""
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
    image = None if _claims_too_much(path) else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UserError(f"{path} is not a readable image; delete it and run the workflow again")
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB)
    return image


def _claims_too_much(path: Path) -> bool:
    """Tell whether a PNG names more pixels, or longer chunks, than its bytes can hold.

    OpenCV would take gigabytes for them before it reads on.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(26)
        if len(head) < 26 or not head.startswith(_SIGNATURE) or head[12:16] != b"IHDR":
            return False
        width, height, bits, colours = struct.unpack(">IIBB", head[16:])
        if width * height * bits * _CHANNELS.get(colours, 1) > 8 * _MOST_DEFLATED * size:
            return True
        at, kind = len(_SIGNATURE), b""
        while at + 12 <= size and kind != b"IEND":
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            at += 12 + length
    return at > size


class ImageWriter:
    """Encode and write numbered PNGs on threads while the caller goes on.

    The folder is the caller's to make atomic: `with atomic_dir(out) as folder, ImageWriter(folder) as writer`.
    At most `4 * threads` images wait in memory. An error in a thread is raised by the next `put` or at the end.
    `finish` may add to the encoded bytes of each.
    """

    def __init__(
        self, folder: Path | str, threads: int = 2, finish: Callable[[bytes], bytes] | None = None
    ) -> None:  # fmt: skip
        self.folder, self._finish = Path(folder), finish
        self.hashes: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1), thread_name_prefix="png")
        self._waiting: deque[tuple[int, Future[str]]] = deque()
        self._limit = 4 * max(threads, 1)

    def __enter__(self) -> ImageWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def put(self, number: int, image: np.ndarray) -> None:
        """Queue image `number`, and wait when too many are queued. The array must stay as it is afterwards."""
        while len(self._waiting) >= self._limit:
            self._take()
        self._waiting.append((number, self._pool.submit(self._write, number, image)))

    def _write(self, number: int, image: np.ndarray) -> str:
        data = encode_png(image)
        data = data if self._finish is None else self._finish(data)
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


def encode_png(image: np.ndarray) -> bytes:
    """Encode an image, uint8 or uint16, as PNG (PNG specification, third edition).

    Args:
        image: (H, W), (H, W, 3) RGB, or (H, W, 4) RGB and an alpha that the colours are not multiplied by.

    Raises:
        ValueError: another shape or type.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image is uint8 or uint16, not {image.dtype}")
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.ndim not in (2, 3) or channels not in _COLOUR_TYPE or 0 in image.shape:
        raise ValueError(f"an image is (H, W), (H, W, 3) or (H, W, 4), not {image.shape}")
    height, width = image.shape[:2]
    big_endian = np.ascontiguousarray(image, image.dtype.newbyteorder(">"))
    rows = big_endian.view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    bits = 8 * image.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPE[channels], 0, 0, 0)
    from isal import isal_zlib  # one of the workflow's packages: an embedded avatar does without

    data = isal_zlib.compress(filtered, _LEVEL)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def over_white(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay an image (H, W, 3) over white by its alpha (H, W), both uint8 or both uint16; rounded."""
    most = np.iinfo(image.dtype).max
    missing = cv2.multiply(most - image, np.repeat(alpha[..., None], 3, axis=2), scale=1.0 / most)
    return most - missing


def scaled_down(image: np.ndarray, widest_px: int) -> np.ndarray:
    """Scale an image (H, W, 3) to `widest_px` where it is wider."""
    height, width = image.shape[:2]
    if width <= widest_px:
        return image
    size = (widest_px, max(1, round(height * widest_px / width)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def encode_jpeg(image: np.ndarray, widest_px: int, quality: int = 90) -> bytes:
    """Encode RGB uint8 (H, W, 3) as JPEG, scaled down to `widest_px` where it is wider."""
    image = scaled_down(image, widest_px)
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()
