"""Carry the sound of one video over to another, in time with its images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av

from selfieavatar.video.container import open_container, video_tracks

log = logging.getLogger(__name__)

# Encoder, sample format, rates that it takes (empty: any) of each kind of file.
_ENCODERS = {"mp4": ("aac", "fltp", ()), "mov": ("aac", "fltp", ()), "webm": ("libopus", "flt", (48000,))}
_BITS_PER_S = 160_000
_USUAL_RATES = (48000, 44100, 32000, 24000, 22050, 16000)  # that AAC takes


class Sound:
    """The sound of a video from its first shown image on, decoded as it is needed.

    It is encoded anew: not every file takes every codec, and only so it begins exactly with the images. What is missing
    in it, at its beginning too, becomes silence.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known = False
        if path.is_dir():
            return
        with open_container(path) as container:
            self.known, images = bool(container.streams.audio), video_tracks(container, path)[0]
            if len(container.streams.audio) > 1:
                log.warning("%s: it has %d sound tracks: the first is used", path, len(container.streams.audio))
            try:
                first = next(container.decode(images), None) if self.known else None
            except av.error.FFmpegError:
                first = None  # the source of the images passes over a damaged beginning, too
            self._start_s = float(first.time or 0) if first is not None else 0.0

    def add_to(self, container: av.container.OutputContainer, kind: str) -> SoundTrack:
        """Add a stream for it to a file of a kind of `_ENCODERS`."""
        return SoundTrack(self._path, self._start_s, container, kind)


class SoundTrack:
    """The stream of a file that is being written; `write` it along with the images."""

    def __init__(self, path: Path, start_s: float, container: av.container.OutputContainer, kind: str) -> None:
        codec, self._format, rates = _ENCODERS[kind]
        self._source = open_container(path)
        stream = self._source.streams.audio[0]
        rate = rates[0] if rates else next((r for r in _USUAL_RATES if r <= stream.rate), _USUAL_RATES[-1])
        layout = "mono" if stream.channels == 1 else "stereo"
        self._container, self._start_s = container, start_s
        added: Any = container.add_stream(codec, rate=rate, layout=layout, format=self._format)
        self._stream = added
        self._stream.bit_rate = _BITS_PER_S
        self._frames = self._resampled(stream, rate, layout)
        self._next: av.AudioFrame | None = None

    def _resampled(self, stream: av.AudioStream, rate: int, layout: str) -> Iterator[av.AudioFrame]:
        """Yield frames whose times count from the first image, without gaps."""
        graph = av.filter.Graph()
        source = graph.add_abuffer(template=stream, time_base=Fraction(1, stream.rate))
        steps = [source, graph.add("aresample", "async=1:min_hard_comp=0.01:first_pts=0")]
        steps.append(graph.add("aformat", f"sample_fmts={self._format}:sample_rates={rate}:channel_layouts={layout}"))
        steps.append(graph.add("abuffersink"))
        graph.link_nodes(*steps).configure()

        def pulled() -> Iterator[av.AudioFrame]:
            while True:
                try:
                    yield cast(av.AudioFrame, graph.pull())
                except (av.error.BlockingIOError, av.error.EOFError):
                    return

        try:
            for frame in self._source.decode(stream):
                if frame.time is None:
                    continue
                frame.pts = round((frame.time - self._start_s) * stream.rate)
                frame.time_base = Fraction(1, stream.rate)
                graph.push(frame)
                yield from pulled()
            graph.push(None)
            yield from pulled()
        except av.error.FFmpegError as error:
            log.warning("%s: the rest of its sound cannot be read (%s)", self._source.name, error)

    def write(self, until_s: float) -> None:
        """Write the sound up to a time."""
        while True:
            self._next = self._next or next(self._frames, None)
            if self._next is None or float(self._next.time or 0) >= until_s:
                return
            self._container.mux(self._stream.encode(self._next))
            self._next = None

    def end(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the source."""
        self._source.close()
