"""Open a video, an image folder or an image and stream one fixed square crop of it.

source = open_source(path)                       # probe: size, fps, count, times_s, reader
with CropReader(path, 10, 250, (x0, y0, side), 512) as frames:
    for number, time_s, rgb in frames: ...       # rgb (512, 512, 3) uint8
"""

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.video.folder_source import FolderSource, is_photo
from selfieavatar.video.prefetch import Prefetch
from selfieavatar.video.sources import PyavSource, VideoSource
from selfieavatar.video.window import cut_window

log = logging.getLogger(__name__)


def open_source(path: Path | str, folder_fps: float = 25.0) -> VideoSource:
    """Probe a video file, a folder of images, or one image as a video of one frame.

    Raises:
        UserError: it is missing, empty or unreadable.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: check the column `source` of the subjects table")
    if path.is_dir():
        return FolderSource(path, folder_fps)
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path} is an empty file: record or copy it again")
    if is_photo(path):
        return FolderSource(path, folder_fps)
    return PyavSource(path)


def clip_range(source: VideoSource, start: int | None, end: int | None) -> range:
    """Clamp the frame range [start, end) to the frames of the source, with a warning where it is cut short.

    Raises:
        UserError: the range is empty.
    """
    first, last = start or 0, source.count if end is None else end
    if first >= source.count:
        raise UserError(f"{source.path} has {source.count} frames: start_frame {first} is beyond the end, lower it")
    if last <= first:
        raise UserError(f"{source.path}: end_frame {last} must be greater than start_frame {first}")
    if last > source.count:
        log.warning("%s has %d frames: end_frame %d is taken as %d", source.path, source.count, last, source.count)
    return range(first, min(last, source.count))


class CropReader:
    """Stream one clip as (number, time_s, rgb), every frame through the same square crop.

    `number` counts from 0 within the clip and `rgb` is uint8 (size_px, size_px, 3). `len()` is the number of frames
    announced; `source_frames` lists the source frame of each number yielded so far. A truncated file yields what can be
    read, then warns.

    Args:
        source: video file or image folder, or an opened VideoSource.
        start: first source frame, None for the source's first.
        end: source frame after the last, None for all.
        crop_px: (x0, y0, side) in upright, square source pixels; may be fractional and reach outside, where the border
            is repeated.
        size_px: side of the images.
        depth: most images that the decoding thread is ahead.

    Raises:
        UserError: none of the frames can be decoded (while iterating).
        ValueError: crop or size are not finite and positive.
    """

    def __init__(
        self, source: Path | str | VideoSource, start: int | None, end: int | None,
        crop_px: tuple[float, float, float], size_px: int, depth: int = 8,
    ):  # fmt: skip
        self.source = source if isinstance(source, VideoSource) else open_source(source)
        x0, y0, side = crop_px
        self.crop_px = float(x0), float(y0), float(side)
        if not (np.isfinite(self.crop_px).all() and self.crop_px[2] > 0 and size_px > 0):
            raise ValueError(f"crop {crop_px} and size {size_px} must be finite and positive")
        self.size_px = int(size_px)
        self.frames: Sequence[int] = clip_range(self.source, start, end)
        self.source_frames: list[int] = []
        self._depth = depth
        self._running: Prefetch | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def _cut(self) -> Iterator[tuple[int, float, np.ndarray]]:
        source = self.source
        for number, image in source.raw(self.frames):
            yield number, source.time(number), source.finish(cut_window(image, self.crop_px, self.size_px))

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        self.close()
        self.source_frames = []
        self._running = Prefetch(self._cut, self._depth)
        try:
            for number, time_s, rgb in self._running:
                self.source_frames.append(number)
                yield len(self.source_frames) - 1, time_s, rgb
            self._report_losses()
        finally:
            self.close()

    def only(self, numbers: Iterable[int]) -> "CropReader":
        """Make a reader of some of the clip's frames alone, in rising order; numbered from 0."""
        other = copy.copy(self)
        other.frames, other.source_frames, other._running = [self.frames[n] for n in numbers], [], None
        return other

    @property
    def lost(self) -> int:
        """Count the frames of the clip that could not be read; meaningful after the iteration."""
        return len(self.frames) - len(self.source_frames)

    def _report_losses(self) -> None:
        if not self.source_frames:
            raise UserError(
                f"{self.source.path}: none of the frames {self.frames[0]} to {self.frames[-1]} can be decoded: "
                "the file is damaged or incomplete, record or copy it again"
            )
        if self.lost:
            log.warning(
                "%s: %d of %d frames could not be read (damaged or incomplete file); the last good one is %d",
                self.source.path, self.lost, len(self.frames), self.source_frames[-1],
            )  # fmt: skip

    def close(self) -> None:
        """Stop decoding; the reader can be iterated again afterwards."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def __enter__(self) -> "CropReader":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
