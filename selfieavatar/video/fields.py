"""Deinterlace frames that are flagged as two fields, in a stream of frames, by FFmpeg's bwdif."""

from collections import deque
from collections.abc import Callable, Iterator

import av

Numbered = tuple[int, av.VideoFrame]


def deinterlaced(frames: Iterator[Numbered], known: bool, found: Callable[[], None]) -> Iterator[Numbered]:
    """Replace each interlaced frame by its first field with the rows between from its neighbours, one frame for one.

    Progressive frames stay as they are. Where interlaced ones are not `known` to come, all before the first of them
    pass without delay, and `found` is called there.
    """
    bwdif: _Bwdif | None = None
    for number, frame in frames:
        if bwdif is not None and bwdif.kind != _kind(frame):
            yield from bwdif.push(None)
            bwdif = None
        if bwdif is None and not known:
            if not frame.interlaced_frame:
                yield number, frame
                continue
            found()
        bwdif = bwdif or _Bwdif(frame)
        yield from bwdif.push((number, frame))
    if bwdif is not None:
        yield from bwdif.push(None)


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
        self._numbers: deque[int] = deque()

    def push(self, numbered: Numbered | None) -> Iterator[Numbered]:
        """Take the next frame, None after the last, and yield those that are ready."""
        if numbered is not None:
            self._numbers.append(numbered[0])
        self._graph.vpush(None if numbered is None else numbered[1])
        while True:
            try:
                ready = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield self._numbers.popleft(), ready
