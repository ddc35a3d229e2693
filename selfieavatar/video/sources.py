"""Stream images from a video by PyAV; folders of images are read by folder_source."""

import copy
import logging
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.video import colour, timing
from selfieavatar.video.container import open_container, video_tracks
from selfieavatar.video.fields import deinterlaced

log = logging.getLogger(__name__)

_LONGER_SOUND_S = 0.5  # by which the sound may be longer than the video
_ASPECT = 4.0  # of pixels, either way: no video has more, and a hostile file would fill the memory
_WRAPPED_S = 2**32 / 90_000  # half of what MPEG's clock of 33 bits counts, 13 hours
_FIELD_S = 1 / 45  # interlaced frames come 25 or 30 times a second, their fields twice as often


class VideoSource(ABC):
    """Define a source of images, numbered from 0 in presentation order, with their times.

    Attributes:
        path: of the file or folder.
        reader: "pyav" or "folder".
        size: (width, height) as displayed: upright, with square pixels.
        fps: average frames per second, without pauses of the recording.
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
        beyond = number + 1 - len(self.times_s)
        return float(self.times_s[number]) if beyond <= 0 else float(self.times_s[-1]) + beyond / self.fps


class PyavSource(VideoSource):
    """Read a video file by PyAV. Opening it demuxes all packets once for an exact frame index."""

    reader = "pyav"

    def __init__(self, path: Path):
        self.path = path
        with self._open() as container:
            stream = self._stream(container)
            self._index(container, stream)
            announced = [float(rate) for rate in (stream.average_rate, stream.base_rate) if rate]
            others = len(video_tracks(container, path)) - 1
            self._fields_alone = stream.codec_context.name == "hevc"
            self._any_alpha = stream.codec_context.name == "gif"
        self._interlaced, self._aspect = False, 1.0
        self._probe()
        if self._interlaced and self._holds_fields():
            self._index_decoded()
        if self._pts is not None:
            ticks, repeated = timing.spread(self._pts)
            self.times_s = (ticks - ticks[0]) * self._time_base
            if len(repeated):
                self._say(
                    f"frames that repeat the time of the frame before: {len(repeated)} (the first is frame "
                    f"{repeated[0]}); they are shown between their neighbours"
                )
        else:
            self.times_s = np.arange(self.count) / (announced or [25.0])[0]
            lack = "many of its frames have no times of their own" if self._some_times else "its frames have no times"
            self._say(f"{lack}: {(announced or [25.0])[0]:g} frames a second are taken")
        self.fps = timing.frame_rate(self.times_s, announced)
        if others:
            self._say(f"it has {others + 1} video tracks: the first is used, {self.size[0]}x{self.size[1]}")
        pauses = timing.pause_remark(self.times_s)
        if pauses:
            self._say(pauses)

    def _say(self, remark: str, *, level: int = logging.WARNING) -> None:
        log.log(level, "%s: %s", self.path, remark)

    def _open(self):
        return open_container(self.path)

    def _stream(self, container):
        stream = video_tracks(container, self.path)[0]
        stream.thread_type = "AUTO"
        return stream

    def _index(self, container, stream) -> None:
        """Index the presentation times of all frames and the key frames from the packets alone."""
        pts: list[int] = []
        keys, discarded, known, latest = [], 0, True, None
        self._time_base = float(stream.time_base) if stream.time_base else 0.0
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.is_discard:
                    discarded += 1  # trimmed by the file's edit list
                    continue
                if packet.dts is not None:
                    self._refuse_joined(packet, latest, len(pts), "mpeg" in container.format.name)
                    latest = packet.dts if latest is None else max(latest, packet.dts)
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
        self._set_times(pts if known else [], keys)
        self._lacking = 0 if self._pts is None else self._truncated(stream, self._pts, discarded)
        self.count = len(pts) + self._lacking

    def _refuse_joined(self, packet, latest: int | None, number: int, clock_wraps: bool) -> None:
        """Refuse a file whose time stamps begin again at a key frame: their order is not that of the images.

        Decoding times never fall within a recording. FFmpeg reads a fall of MPEG's clock as its wrap, a day later.
        """
        step = 0 if latest is None else packet.dts - latest
        if packet.is_keyframe and (step < 0 or (clock_wraps and step * self._time_base > _WRAPPED_S)):
            raise UserError(
                f"{self.path} joins recordings without correcting their times, which begin again at frame {number}: "
                f"give the recordings as clips of their own, or copy it by `ffmpeg -i {self.path.name} -c copy "
                "corrected.mp4`"
            )

    def _set_times(self, pts: list[int], keys: list[tuple[int, int]]) -> None:
        """Take the presentation times of all frames, if they are known and most are different, and the key frames."""
        times = Counter(pts)
        known = 0 < len(pts) <= 2 * len(times) and self._time_base > 0
        self._some_times = len(times) > 1
        self._pts = np.sort(np.array(pts, dtype=np.int64)) if known else None
        # A key frame that shares its time with another one is no place to count from.
        self._keys = sorted(key for key in keys if times[key[0]] == 1) if known else []
        self._key_numbers = [] if self._pts is None else [int(np.searchsorted(self._pts, key)) for key, _ in self._keys]

    def _holds_fields(self) -> bool:
        """Tell whether packets of an interlaced video may hold one field each, as H.264 of camcorders does (PAFF)."""
        return self._pts is None or bool((np.diff(self._pts) * self._time_base < _FIELD_S).any())

    def _index_decoded(self) -> None:
        """Index the frames by decoding all of them."""
        with self._open() as container:
            pts = [frame.pts for frame in self._frames(container, self._stream(container))]
        packets, keys = self.count - self._lacking, self._keys
        known = [time for time in pts if time is not None]
        self._set_times(known if len(known) == len(pts) else [], keys)
        self.count = len(pts) + round(self._lacking * len(pts) / packets)

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
        if not 1 / _ASPECT < self._aspect < _ASPECT:
            self._say(f"its pixels are to be {self._aspect:g} times as wide as high: square ones are taken")
            self._aspect = 1.0
        self._square = colour.square_pixels(frame.width, frame.height, self._aspect)
        self.size = self._square[::-1] if self._orientation[0] else self._square
        if self._hdr:
            log.info("%s is HDR (%s): tone mapped to sRGB", self.path, "PQ" if self._hdr[0] == colour.PQ else "HLG")
        # FFmpeg gives GIF and palettes an alpha channel in any case: the first frame tells whether it is used.
        self.transparent = colour.has_alpha(frame) and (
            not (self._any_alpha or frame.format.has_palette) or colour.shows_transparency(frame)
        )
        if self.transparent:
            log.info("%s has an alpha channel: laid over white", self.path)
        for remark in colour.remarks(frame):
            self._say(remark, level=logging.INFO)
        if frame.interlaced_frame:
            self._found_interlaced()

    def _found_interlaced(self) -> None:
        """Say once that frames are interlaced."""
        if self._fields_alone:
            self._say("interlaced HEVC, whose fields are images of their own: each is shown as one, at half the height")
        elif not self._interlaced:
            self._say("interlaced: deinterlaced by bwdif, one image a frame", level=logging.INFO)
        self._interlaced = not self._fields_alone

    def _shown(self, first: int) -> Iterator[tuple[int, "av.VideoFrame"]]:
        """Yield (number, frame) as `_decode`, deinterlaced; that looks at the frame before, too."""
        frames = self._decode(max(first - self._interlaced, 0))
        return frames if self._fields_alone else deinterlaced(frames, self._interlaced, self._found_interlaced)

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
            self._aspect = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
            if timestamp is not None:
                container.seek(timestamp, stream=stream, backward=True)
            for frame in self._frames(container, stream):
                if self._pts is not None and frame.pts is not None:
                    number = int(np.searchsorted(self._pts, frame.pts))
                    if number < following < len(self._pts) and self._pts[following] == frame.pts:
                        number = following  # the next of several of one time
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
                frames, at = self._shown(number), -1
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
