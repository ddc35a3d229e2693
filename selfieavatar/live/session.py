"""One page's avatar: two threads that overlap, of which one tracks the next frame while the other paints this one."""

from __future__ import annotations

import json
import logging
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.live.expressions import Sliders
from selfieavatar.live.live_driver import LiveDriver, draw_motion, paint_motion, timed
from selfieavatar.live.look import QUALITIES, Look, decode_image, dress, encode_jpeg, fill_square
from selfieavatar.live.newest import Newest, Outbox
from selfieavatar.live.recorder import Recorder
from selfieavatar.retargeting.retarget import Motion

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.runtime.exported_avatar import ExportedAvatar

log = logging.getLogger(__name__)

FRAME, IMAGE = 0, 1  # kinds of binary messages
HEADER = struct.Struct("<B3xId")  # kind, number of the frame, when it was taken in ms
_DEFAULTS: dict[str, Any] = {"mirror": False, "background": "own", "colour": "#206050", "quality": "balanced"}


class Sink(Protocol):
    """What also wants the images, such as a virtual camera."""

    def send(self, image: np.ndarray) -> None:
        """Take an image (S, S, 3) uint8 RGB."""


@dataclass(frozen=True)
class _Job:
    """What is to be painted, for frame `number` of the page, which came at `came_s`."""

    number: int
    motion: Motion
    state: str
    came_s: float
    timings: dict[str, float] = field(default_factory=dict)
    drawn: Any = None  # I_R and I_UV, where the tracking thread has drawn them


class Session:
    """Answer the messages of one page; the answers go into the outbox.

    Args:
        avatar, sliders: shared by all pages. recorder: this page's own. outbox: for the answers. keep: is told of a
        finished recording. drivers: take one when the first image of the camera comes, and give it back at the end.
        sink: also gets the images.
    """

    def __init__(
        self, avatar: Avatar | ExportedAvatar, sliders: Sliders, recorder: Recorder, outbox: Outbox,
        keep: Callable[[Path], None], drivers: tuple[Callable[[], LiveDriver], Callable[[LiveDriver], None]],
        sink: Sink | None = None,
    ) -> None:  # fmt: skip
        self.avatar, self.sliders, self.recorder, self.outbox = avatar, sliders, recorder, outbox
        self._keep, self._sink = keep, sink
        self._take, self._give_back = drivers
        self._look, self._is_person, self._anew = Look(), False, False
        self._frames: Newest[tuple[int, float, float, bytes]] = Newest()
        self._jobs: Newest[_Job] = Newest()
        self._threads = [
            threading.Thread(target=self._loop, args=(work, place), name=f"live-{work.__name__}", daemon=True)
            for work, place in ((self._track, self._frames), (self._paint, self._jobs))
        ]
        self._driver: LiveDriver | None = None
        self._last_s = 0.0
        for thread in self._threads:
            thread.start()

    @property
    def dropped(self) -> int:
        """Frames that newer ones have overtaken."""
        return self._frames.dropped + self._jobs.dropped

    def put_binary(self, message: bytes) -> None:
        """Take a frame of the camera, or a image for the background.

        Raises:
            UserError: it is neither.
        """
        if len(message) <= HEADER.size or message[0] not in (FRAME, IMAGE):
            raise UserError("a message was sent that is no frame; reload the page")
        kind, number, taken_ms = HEADER.unpack_from(message)
        if kind == IMAGE:
            behind = decode_image(message[HEADER.size :], ("JPEG", "PNG", "WEBP"))
            self._look = replace(self._look, image=fill_square(behind, self.avatar.size_px))
            return
        self._frames.put((number, taken_ms / 1e3, time.perf_counter(), message[HEADER.size :]))

    def put_text(self, message: str) -> None:
        """Take settings, values of sliders, or a command; a recording that begins or ends takes a moment.

        Raises:
            UserError: it cannot be understood.
        """
        try:
            content = json.loads(message)
            kind = content["type"]
            if kind == "settings":
                self._set(content)
            elif kind == "pose":
                motion = self.sliders.motion(dict(content["values"]))
                self._jobs.put(_Job(int(content["number"]), motion, "sliders", time.perf_counter()))
            elif kind == "recalibrate":
                self._anew = True
            elif kind == "record":
                self._record(bool(content["on"]))
            else:
                raise ValueError(f"there is no message '{kind}'")
        except UserError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise UserError(f"a message was sent that cannot be understood ({str(error)[:100]}); reload") from error

    def _set(self, content: Mapping[str, Any]) -> None:
        asked = {key: content.get(key, default) for key, default in _DEFAULTS.items()}
        if asked["background"] not in ("own", "colour", "image") or asked["quality"] not in QUALITIES:
            raise ValueError("unknown background or quality")
        red, green, blue = bytes.fromhex(asked["colour"].removeprefix("#"))
        self._look = replace(self._look, **asked | {"colour": (red, green, blue), "mirror": bool(asked["mirror"])})
        if bool(content.get("is_person")) != self._is_person:
            self._is_person, self._anew = not self._is_person, True

    def _record(self, on: bool) -> None:
        if on:
            self.recorder.start()
            self._tell("recording")
        else:
            self._stop_recording()

    def _stop_recording(self) -> None:
        kept = self.recorder.stop()
        if kept is None:
            self._tell("recorded", file=None)
        else:
            log.info("recorded %s, %.1f s", *kept)
            self._keep(kept[0])
            self._tell("recorded", file=kept[0].name, seconds=round(kept[1], 2))

    def _tell(self, kind: str, **content: Any) -> None:
        self.outbox.put(kind, json.dumps({"type": kind} | content))

    def _loop(self, work: Callable[[Any], None], place: Newest[Any]) -> None:
        while (item := place.take()) is not None:
            try:
                work(item)
            except UserError as error:
                self._tell("problem", text=str(error))
            except Exception:  # one frame must not end the page
                log.exception("a frame has failed")
                self._tell("problem", text="a frame has failed; the log of the server says why")
        if place is self._frames and self._driver is not None:
            self._give_back(self._driver)

    def _track(self, frame: tuple[int, float, float, bytes]) -> None:
        number, taken_s, came_s, data = frame
        timings = {"wait": 1e3 * (time.perf_counter() - came_s)}
        with timed(timings, "decode"):
            image = decode_image(data)
        if self._driver is None:
            self._driver, self._anew = self._take(), True
        if self._anew:
            self._anew, self._driver.is_person = False, self._is_person
            self._driver.recalibrate()
        in_order = self._last_s < taken_s < self._last_s + 1e6
        self._last_s = taken_s if in_order else self._last_s + 1e-3
        tracked = self._driver.track(image, self._last_s)
        timings |= tracked.timings_ms
        drawn = draw_motion(self.avatar, tracked.motion, timings)  # here, since painting is the longer half
        self._jobs.put(_Job(number, tracked.motion, tracked.state, came_s, timings, drawn))

    def _paint(self, job: _Job) -> None:
        look = self._look
        image, alpha, timings = paint_motion(self.avatar, job.motion, job.drawn)
        with timed(timings, "dress"):
            shown = dress(image, alpha, look)
        kept = shown  # of a mirror only the driver is to know
        if look.mirror and (self._sink is not None or self.recorder.running):
            kept = dress(image, alpha, replace(look, mirror=False))
        if self._sink is not None:
            self._sink.send(self.recorder.marks.paint(kept))
        with timed(timings, "encode"):
            data = encode_jpeg(shown, look.quality)
        if self.recorder.running:
            with timed(timings, "record"):
                full = self.recorder.put(kept)
            if full:
                self._stop_recording()
        timings = job.timings | timings | {"server": 1e3 * (time.perf_counter() - job.came_s)}
        head = {"number": job.number, "state": job.state, "dropped": self.dropped, "recording": self.recorder.running}
        head["timings"] = {step: round(value, 2) for step, value in timings.items()}
        text = json.dumps(head).encode()
        self.outbox.put("frame", struct.pack("<I", len(text)) + text + data)

    def close(self) -> None:
        """End the threads, keep what was recorded, free the detector."""
        for place in (self._frames, self._jobs):
            place.close()
        for thread in self._threads:
            thread.join(timeout=5)
        try:
            self._stop_recording()
        except UserError as error:
            log.warning("%s", error)
