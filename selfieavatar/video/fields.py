"""Deinterlace frames that are flagged as two fields, in a stream of frames, by FFmpeg's bwdif."""

from collections import deque
from collections.abc import Callable, Iterator

import av

Numbered = tuple[int, av.VideoFrame]


def deinterlaced(frames: Iterator[Numbered], found: Callable[[], None]) -> Iterator[Numbered]:
    """Replace each interlaced frame by its first field with the rows between from its neighbours, one frame for one.

    Frames before the first interlaced one pass untouched and without delay, later progressive ones unchanged.
    `found` is called at the first interlaced one.
    """
    bwdif: _Bwdif | None = None
    before: av.VideoFrame | None = None
    for number, frame in frames:
        if bwdif is not None and bwdif.kind != _kind(frame):
            yield from bwdif.push(None, None)
            bwdif = before = None
        if bwdif is None and not frame.interlaced_frame:
            before = frame
            yield number, frame
            continue
        if bwdif is None:
            found()
            bwdif = _Bwdif(frame)
            if before is not None and _kind(before) == bwdif.kind:
                yield from bwdif.push(None, before)
        yield from bwdif.push(number, frame)
    if bwdif is not None:
        yield from bwdif.push(None, None)


def _kind(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


class _Bwdif:
    """The filter for frames of one kind: it looks one frame ahead, and gives one frame for each."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self.kind = _kind(frame)
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()
        self._numbers: deque[int | None] = deque()

    def push(self, number: int | None, frame: av.VideoFrame | None) -> Iterator[Numbered]:
        """Take the next frame, None after the last, and yield those that are ready and have a number."""
        if frame is not None:
            self._numbers.append(number)
        self._graph.vpush(frame)
        while True:
            try:
                ready = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            numbered = self._numbers.popleft()
            if numbered is not None:
                yield numbered, ready
