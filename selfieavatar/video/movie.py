"""Write images at their own times, with sound and with alpha where the file takes them: MP4, MOV, WebM, a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_dir, atomic_file
from selfieavatar.io.images import encode_png, image_name
from selfieavatar.video.sound import Sound, SoundTrack

# Ending and alpha -> encoder, pixels, options.
_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}
_CODECS: dict[tuple[str, bool], tuple[str, str, dict[str, str]]] = {
    (".mp4", False): ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"}),
    (".mov", False): ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"}),
    (".mov", True): ("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16"}),
    (".webm", False): ("libvpx-vp9", "yuv420p", _VP9),
    (".webm", True): ("libvpx-vp9", "yuva420p", _VP9 | {"auto-alt-ref": "0"}),
}
ENDINGS = ".mp4, .mov or .webm, or a folder for PNGs (a name without an ending)"
_TICKS = {".webm": 1000}  # a second; Matroska counts milliseconds
_MOST_TICKS = 90_000


class Movie(Protocol):
    """What takes the images, as a context manager."""

    def put(self, image: np.ndarray, time_s: float) -> None:
        """Append an image (H, W, 3) or (H, W, 4) uint8, straight alpha, shown from `time_s` on."""

    def __enter__(self) -> Movie: ...
    def __exit__(self, *error: Any) -> None: ...


def check_movie(path: Path, alpha: bool) -> None:
    """Refuse what cannot be written.

    Raises:
        UserError: an ending that is not known or holds no alpha, or a folder that holds something.
    """
    if not path.suffix:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} is there already and is no empty folder; name another one for the PNGs")
    elif (path.suffix.lower(), False) not in _CODECS and (path.suffix.lower(), True) not in _CODECS:
        raise UserError(f"{path} has no ending that can be written; use {ENDINGS}")
    elif (path.suffix.lower(), alpha) not in _CODECS:
        raise UserError(f"{path}: {path.suffix} holds no alpha; use .webm (VP9), .mov (ProRes 4444) or a folder")
    elif path.is_dir():
        raise UserError(f"{path} is a folder; name a file, or a folder without an ending")


class MovieWriter:
    """Encode images as a video that appears under its name only when it is complete.

    Args:
        path: its ending chooses the format. fps: average, for the header; each image keeps its own time. size: (width,
        height), even. alpha: whether images have a fourth channel to keep. sound: to carry over. tags: of the file.
        finish: called with the complete file before it gets its name.
    """

    def __init__(
        self, path: Path, fps: float, size: tuple[int, int], *, alpha: bool = False, sound: Sound | None = None,
        tags: Mapping[str, str] | None = None, finish: Callable[[Path], None] | None = None,
    ) -> None:  # fmt: skip
        self._path, self._size, self._sound, self._tags, self._finish = path, size, sound, dict(tags or {}), finish
        self._ending, self._alpha = path.suffix.lower(), alpha
        self._rate = Fraction(fps).limit_denominator(1001)
        self._tick = Fraction(1, _TICKS.get(self._ending, _MOST_TICKS))
        self._last, self._end_s = -1, 0.0
        self._track: SoundTrack | None = None

    def __enter__(self) -> MovieWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_file(self._path))
            stack.push(lambda error, *_: self._finished(error, temporary))
            options = {"movflags": "+faststart"} if self._ending in (".mp4", ".mov") else {}
            self._container = av.open(str(temporary), "w", format=self._ending[1:], options=options)
            stack.callback(self._container.close)
            self._container.metadata.update(self._tags)
            self._stream = self._add_stream()
            if self._sound is not None and self._sound.known:
                self._track = self._sound.add_to(self._container, self._ending[1:])
                stack.callback(self._track.close)
            stack.push(self._flush)
            self._stack = stack.pop_all()
        return self

    def _add_stream(self) -> Any:
        codec, pixels, options = _CODECS[self._ending, self._alpha]
        stream: Any = self._container.add_stream(codec, rate=self._rate, options=options)
        stream.width, stream.height = self._size
        stream.pix_fmt = self._pixels = pixels
        context = stream.codec_context
        context.time_base = self._tick
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        context.thread_type = "AUTO"
        return stream

    def put(self, image: np.ndarray, time_s: float) -> None:
        """See `Movie.put`; times must rise."""
        kind = "rgba" if self._alpha else "rgb24"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[..., : 4 if self._alpha else 3]), format=kind)
        frame = frame.reformat(
            format=self._pixels, src_colorspace=1, dst_colorspace=1, src_color_range=2, dst_color_range=1
        )
        self._last = max(round(time_s / self._tick), self._last + 1)
        frame.pts, frame.time_base = self._last, self._tick
        self._end_s = time_s + float(1 / self._rate)
        self._container.mux(self._stream.encode(frame))
        if self._track is not None:
            self._track.write(time_s)

    def _flush(self, error_type: type | None, _error: Any, _trace: Any) -> None:
        if error_type is None:
            self._container.mux(self._stream.encode(None))
            if self._track is not None:
                self._track.write(self._end_s)
                self._track.end()

    def _finished(self, error_type: type | None, temporary: Path) -> None:
        if error_type is None and self._finish is not None:
            self._finish(temporary)

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class FolderWriter:
    """Write images as numbered PNGs into a folder that appears only when it is complete; their times are lost.

    finish: what is done to the bytes of each PNG.
    """

    def __init__(self, path: Path, alpha: bool = False, finish: Callable[[bytes], bytes] | None = None) -> None:
        self._path, self._alpha, self._finish, self._count = path, alpha, finish, 0

    def __enter__(self) -> FolderWriter:
        self._context = atomic_dir(self._path)
        self._folder = self._context.__enter__()
        return self

    def put(self, image: np.ndarray, time_s: float) -> None:
        """See `Movie.put`."""
        data = encode_png(np.ascontiguousarray(image[..., : 4 if self._alpha else 3]))
        data = data if self._finish is None else self._finish(data)
        (self._folder / image_name(self._count)).write_bytes(data)
        self._count += 1

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)
