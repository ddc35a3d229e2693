"""Encode a video that every player opens: H.264, yuv420p, index in front."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from selfieavatar.io.files import atomic_file

log = logging.getLogger(__name__)

_ENCODERS = ("libx264", "libopenh264", "h264", "mpeg4")


def _encoder() -> str:
    """Choose the best encoder of this PyAV; its wheels carry libx264."""
    for name in _ENCODERS:
        try:
            av.Codec(name, "w")
        except (ValueError, av.error.FFmpegError):
            continue
        if name != _ENCODERS[0]:
            log.warning("this PyAV has no libx264: videos are written by %s", name)
        return name
    raise RuntimeError(f"PyAV has none of the video encoders {_ENCODERS}: install PyAV from its wheel")


class VideoWriter:
    """Encode images (H, W, 3) uint8 RGB as an MP4 that appears under its name only when it is complete.

        with VideoWriter(path, 25.0, (width, height), crf=18) as video:
            video.put(image)

    Odd sizes are rounded up by repeating the last row or column, since yuv420p halves the chroma. `crf` is x264's
    quality, 0 lossless .. 51; about 18 looks like the original. Colours are tagged as BT.709, limited range. `finish`
    is called with the complete file before it gets its name.

    Raises:
        ValueError: fps or size are not positive.
    """

    def __init__(
        self, path: Path | str, fps: float, size: tuple[int, int], crf: float = 18, preset: str = "veryfast",
        finish: Callable[[Path], None] | None = None,
    ):  # fmt: skip
        if not (fps > 0 and min(size) > 0):
            raise ValueError(f"fps {fps} and size {size} must be positive")
        self.size, self.count = (int(size[0]), int(size[1])), 0
        self._rate = Fraction(fps).limit_denominator(1001)
        self._options = {"crf": str(crf), "preset": preset}
        self._path, self._finish = path, finish

    def __enter__(self) -> "VideoWriter":
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_file(self._path))
            stack.push(lambda error, *_: self._finished(error, temporary))
            container = av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"})
            stack.callback(container.close)  # an error in here, such as a full disk, also removes the temporary file
            self._container, self._stream = container, self._add_stream(container)
            stack.push(self._flush)
            self._stack = stack.pop_all()
        return self

    def _add_stream(self, container):
        name = _encoder()
        stream = container.add_stream(name, rate=self._rate)
        stream.width, stream.height = (side + side % 2 for side in self.size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        context.thread_type = "AUTO"
        if name == "libx264":
            stream.options = self._options
        return stream

    def put(self, image: np.ndarray) -> None:
        """Append one image of the announced size (H, W, 3) uint8; ValueError for any other."""
        if image.shape != (self.size[1], self.size[0], 3) or image.dtype != np.uint8:
            raise ValueError(f"image {image.shape} {image.dtype} does not fit {self.size} uint8")
        odd_y, odd_x = self.size[1] % 2, self.size[0] % 2
        if odd_x or odd_y:
            image = np.pad(image, ((0, odd_y), (0, odd_x), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(
            format="yuv420p", src_colorspace=1, dst_colorspace=1, src_color_range=2, dst_color_range=1
        )
        frame.pts, frame.time_base = self.count, 1 / self._rate
        self.count += 1
        self._mux(frame)

    def _mux(self, frame) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _finished(self, error_type: type | None, temporary: Path) -> None:
        if error_type is None and self._finish is not None:
            self._finish(temporary)

    def _flush(self, error_type, _error, _trace) -> None:
        if error_type is None:
            self._mux(None)

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)
