"""Stream images from a video by PyAV, or by OpenCV; folders of images are read by folder_source."""

import copy
import logging
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition

from selfieavatar.errors import UserError
from selfieavatar.video import colour

log = logging.getLogger(__name__)

_TEXT_CODECS = {"ansi", "bintext", "xbin", "idf"}  # FFmpeg takes a text file for a "video" of its letters
_LONGER_SOUND_S = 0.5  # by which the sound may be longer than the video


class VideoSource(ABC):
    """Define a source of images, numbered from 0 in presentation order, with their times.

    Attributes:
        path: of the file or folder.
        reader: "pyav", "opencv" or "folder".
        size: (width, height) as displayed: upright, with square pixels.
        fps: average frames per second.
        count: frames that the file announces or has.
        times_s: (count,) seconds since the first frame.
        transparent: whether frames have an alpha channel; images are then laid over white.
        shows_alpha: whether the images are that alpha channel instead, see `alpha_channel`.
    """

    path: Path
    reader: str
    size: tuple[int, int]
    fps: float
    count: int
    times_s: np.ndarray
    transparent: bool = False
    shows_alpha: bool = False

    @abstractmethod
    def raw(self, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (source frame, upright image) of rising frame numbers, less unreadable ones; see `finish`."""

    def finish(self, image: np.ndarray) -> np.ndarray:
        """Convert an image of `raw`, or a crop of it, to uint8 sRGB: HDR is tone mapped here, after cropping."""
        return image

    def read(self, wanted: Iterable[int]) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield (source frame, time in s, image (H, W, 3) uint8 sRGB) of rising frame numbers."""
        for number, image in self.raw(wanted):
            yield number, self.time(number), self.finish(image)

    def alpha_channel(self) -> "VideoSource":
        """Make a source of the alpha channel of the same frames: grey images, white where they are opaque.

        Raises:
            UserError: there is no alpha channel.
        """
        if not self.transparent:
            raise UserError(f"{self.path} has no alpha channel: choose another matting.method")
        other = copy.copy(self)
        other.shows_alpha = True
        return other

    def time(self, number: int) -> float:
        """Look up the time of a frame in s, extrapolated beyond the table."""
        return float(self.times_s[number]) if number < len(self.times_s) else number / self.fps


def _average_rate(times_s: np.ndarray, announced: float | None) -> float:
    """Compute the average frame rate of a file; the announced rate if it agrees to 0.5 % (times are rounded)."""
    span = float(times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0
    measured = (len(times_s) - 1) / span if span > 0 else None
    if announced and (measured is None or abs(announced / measured - 1) < 0.005):
        return announced
    return measured or announced or 25.0


class PyavSource(VideoSource):
    """Read a video file by PyAV. Opening it demuxes all packets once for an exact frame index."""

    reader = "pyav"

    def __init__(self, path: Path):
        self.path = path
        with self._open() as container:
            stream = self._stream(container)
            self._index(container, stream)
            announced = float(stream.average_rate) if stream.average_rate else None
        self._probe()
        if self._pts is not None:
            self.times_s = (self._pts - self._pts[0]) * self._time_base
        else:
            self.times_s = np.arange(self.count) / (announced or 25.0)
        self.fps = _average_rate(self.times_s, announced)

    def _open(self):
        return av.open(str(self.path), options={"fflags": "+discardcorrupt"})

    def _stream(self, container):
        # A cover image in a sound file also counts as a video stream.
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise UserError(f"{self.path} has no video stream (only sound?): give a video file or a folder of images")
        stream = streams[0]
        if stream.codec_context is None or stream.codec_context.name in _TEXT_CODECS:
            raise UserError(f"{self.path} is not a video: give a video file or a folder of images")
        stream.thread_type = "AUTO"
        return stream

    def _index(self, container, stream) -> None:
        """Index the presentation times of all frames and the key frames from the packets alone."""
        pts: list[int] = []
        keys, discarded, known = [], 0, True
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.is_discard:
                    discarded += 1  # trimmed by the file's edit list
                    continue
                if packet.pts is None:
                    known = False
                    pts.append(len(pts))
                    continue
                pts.append(packet.pts)
                if packet.is_keyframe:
                    start = packet.pts if packet.dts is None else min(packet.dts, packet.pts)
                    keys.append((packet.pts, start))
        except av.error.FFmpegError as error:
            log.warning("%s: reading stopped after %d frames: %s", self.path, len(pts), error)
        self._time_base = float(stream.time_base) if stream.time_base else 0.0
        known = known and len(set(pts)) == len(pts) and self._time_base > 0
        self._pts = np.sort(np.array(pts, dtype=np.int64)) if known and pts else None
        keys.sort()
        self._keys = keys if known else []
        self._key_numbers = [] if self._pts is None else [int(np.searchsorted(self._pts, key)) for key, _ in keys]
        self.count = len(pts) + (0 if self._pts is None else self._truncated(stream, self._pts, discarded))

    def _truncated(self, stream, pts: np.ndarray, discarded: int) -> int:
        """Count the frames that the header announces and the file lacks.

        The number of samples alone is no proof: phones trim a clip by an edit list and leave the samples in the file.
        The frames of a trimmed clip reach its announced duration, those of a truncated file end before.
        """
        rate, duration = float(stream.average_rate or 0), int(pts[-1] - pts[0])
        if not stream.frames and not stream.duration and rate and stream.container.duration:
            # Matroska and WebM count no frames; the announced length is that of the sound, too, which may be longer.
            uncovered = stream.container.duration / av.time_base - duration * self._time_base - 1 / rate
            return round(uncovered * rate) if uncovered > _LONGER_SOUND_S else 0
        absent = stream.frames - len(pts) - discarded
        if absent <= 0 or not stream.duration or not rate:
            return 0
        uncovered = (stream.duration - duration) * self._time_base - 1 / rate
        return min(absent, max(0, round(uncovered * rate)))

    def _probe(self) -> None:
        """Read size, rotation, pixel aspect and transfer of the first frame that decodes."""
        _, frame = next(self._decode(0), (0, None))
        if frame is None:
            raise UserError(f"{self.path} has no frame that can be decoded: it is empty or damaged, record it again")
        self._coded_size = (frame.width, frame.height)
        self._orientation = colour.orientation(frame)
        self._hdr = (int(frame.color_trc), int(frame.color_primaries)) if colour.is_hdr(frame) else None
        self._square = colour.square_pixels(frame.width, frame.height, self._aspect)
        self.size = self._square[::-1] if self._orientation[0] else self._square
        if self._hdr:
            log.info("%s is HDR (%s): tone mapped to sRGB", self.path, "PQ" if self._hdr[0] == colour.PQ else "HLG")
        self.transparent = colour.has_alpha(frame)
        if self.transparent:
            log.info("%s has an alpha channel: laid over white", self.path)

    def _decode(self, first: int) -> Iterator[tuple[int, "av.VideoFrame"]]:
        """Yield (number, frame) from frame `first` on, or from a little before where seeking is inexact."""
        key = bisect_right(self._key_numbers, first) - 1
        while key > 0:
            frames = self._decode_from(self._keys[key][1])
            head = next(frames, None)
            if head is not None and head[0] <= first:
                yield head
                yield from frames
                return
            key -= 1  # the container sought too late: start a key frame earlier
        yield from self._decode_from(None)

    def _decode_from(self, timestamp: int | None) -> Iterator[tuple[int, "av.VideoFrame"]]:
        following = 0
        with self._open() as container:
            stream = self._stream(container)
            aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
            self._aspect = float(aspect) if aspect else 1.0
            if timestamp is not None:
                container.seek(timestamp, stream=stream, backward=True)
            for frame in self._frames(container, stream):
                if self._pts is not None and frame.pts is not None:
                    number = int(np.searchsorted(self._pts, frame.pts))
                    if number >= len(self._pts) or self._pts[number] != frame.pts:
                        continue  # outside the edit list
                else:
                    number = following
                following = number + 1
                yield number, frame

    def _frames(self, container, stream) -> Iterator["av.VideoFrame"]:
        """Yield decoded frames; damaged packets are skipped, a damaged end ends the iteration."""
        packets, decoder = container.demux(stream), colour.decoder(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                log.debug("%s: %s", self.path, error)
                packet = None
            try:
                frames = decoder.decode(packet)
            except av.error.FFmpegError as error:
                log.debug("%s: frame skipped: %s", self.path, error)
                continue
            yield from (frame for frame in frames if not frame.is_corrupt)
            if packet is None:
                return

    def raw(self, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `VideoSource.raw`."""
        frames, at = None, -1
        for number in wanted:
            # Seek only where a key frame between here and there makes it cheaper than reading on.
            skips = number > at + 1 and bisect_right(self._key_numbers, number) > bisect_right(self._key_numbers, at)
            if frames is None or skips:
                frames, at = self._decode(number), -1
            while at < number:
                at, frame = next(frames, (-1, None))
                if frame is None:
                    return
            if at == number:
                yield number, self._upright(frame, number)

    def _upright(self, frame, number: int) -> np.ndarray:
        if (frame.width, frame.height) != self._coded_size:
            raise UserError(
                f"{self.path} changes its image size at frame {number}: cut the file there and use the parts"
            )
        image = colour.frame_to_alpha(frame) if self.shows_alpha else colour.frame_to_rgb(frame)
        if self._square != self._coded_size:
            image = cv2.resize(image, self._square, interpolation=cv2.INTER_CUBIC)
        return colour.orient(image, self._orientation)

    def finish(self, image: np.ndarray) -> np.ndarray:
        """See `VideoSource.finish`."""
        return image if self._hdr is None or self.shows_alpha else colour.tone_map(image, *self._hdr)


class OpencvSource(VideoSource):
    """Read a video file by OpenCV, for files that PyAV rejects. Counting its frames decodes the whole file."""

    reader = "opencv"

    def __init__(self, path: Path):
        self.path = path
        capture = cv2.VideoCapture(str(path))
        times = []
        try:
            while capture.grab():
                times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                if len(times) == 1:
                    _, image = capture.retrieve()
            announced = capture.get(cv2.CAP_PROP_FPS) or None
        finally:
            capture.release()
        if not times or image is None:
            raise UserError(
                f"{path} cannot be read as a video: it is another file, or its recording ended before the index was "
                "written; give a video file or a folder of images"
            )
        self.size, self.count = (image.shape[1], image.shape[0]), len(times)
        rising = len(times) > 1 and bool(np.all(np.diff(times) > 0))
        self.times_s = np.array(times) - times[0] if rising else np.arange(len(times)) / (announced or 25.0)
        self.fps = _average_rate(self.times_s, announced)

    def raw(self, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `VideoSource.raw`."""
        capture, at = cv2.VideoCapture(str(self.path)), -1
        try:
            for number in wanted:
                while at < number:
                    if not capture.grab():
                        return
                    at += 1
                good, image = capture.retrieve()
                if good:
                    yield number, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
