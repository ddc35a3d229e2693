"""Stream images from a folder of images, or one image as a video of a single frame."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.foreign_image import ImageHeader, decode_foreign, read_foreign, read_header
from selfieavatar.io.images import IMAGE_SUFFIXES, list_images
from selfieavatar.video.sources import VideoSource

log = logging.getLogger(__name__)


def is_photo(path: Path) -> bool:
    """Tell by its name and header whether a file is one image that does not move."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not read_header(path).animated


class FolderSource(VideoSource):
    """Read a folder of images of one size in natural order of their names, `fps` images a second; or one image."""

    reader = "folder"

    def __init__(self, path: Path, fps: float = 25.0):
        self.path, self.fps = path, fps
        self._files = list_images(path) if path.is_dir() else [path]
        if not self._files:
            raise UserError(f"{path} is a folder without images ({', '.join(sorted(IMAGE_SUFFIXES))}): check the path")
        stem, times = Counter(file.stem for file in self._files).most_common(1)[0]
        if times > 1:
            twice = " and ".join(file.name for file in self._files if file.stem == stem)
            raise UserError(f"{path} holds {twice}: each frame must be there once, remove the others")
        headers = [read_header(file) for file in self._files]
        self.size, self.count = self._one_size(headers), len(self._files)
        self.times_s = np.arange(self.count) / fps
        self.transparent = any(header.alpha for header in headers)
        if self.transparent:
            shown = sum(header.alpha for header in headers)
            log.info("%s: %d of %d images are transparent: laid over white", path, shown, self.count)

    def _one_size(self, headers: list[ImageHeader]) -> tuple[int, int]:
        first = headers[0].size
        for file, header in zip(self._files, headers, strict=True):
            if header.size != first:
                raise UserError(
                    f"{file} is {header.size[0]}x{header.size[1]} but {self._files[0].name} is {first[0]}x{first[1]}: "
                    "all images of a folder must have the same size"
                )
        return first

    def raw(self, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `VideoSource.raw`."""
        for number in wanted:
            if number >= self.count:
                return
            yield number, self._read(self._files[number])

    def _read(self, file: Path) -> np.ndarray:
        if not self.shows_alpha:
            return read_foreign(file, str(file))
        image = decode_foreign(file, str(file))
        alpha = np.full(image.rgb.shape[:2], 255, np.uint8) if image.alpha is None else image.alpha
        return np.repeat(alpha[..., None], 3, axis=2)
