"""Record what a page shows as a video of constant frame rate."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.settings.cli import os_problem
from selfieavatar.video.writer import VideoWriter

_CHOOSING, _CHOSEN = threading.Lock(), set[Path]()  # files of this process

FPS = 30.0
LONGEST_S = 600.0


class Marks(Protocol):
    """What marks a recording as synthetic, as `marking.marker.Marker` does."""

    def paint(self, image: np.ndarray) -> np.ndarray:
        """Mark an image (S, S, 3) uint8; returns a copy."""

    def seal(self, path: Path) -> None:
        """Mark a finished MP4 in its place; UserError where that cannot be done."""


class Recorder:
    """Write what is shown to an MP4 that appears when it is stopped, marked as synthetic. Thread-safe.

    Images come when they come: one that stays is repeated, and of two within a thirtieth of a second the later is
    kept, so that a second of the video is a second before the camera.

    Args:
        folder: for the videos. subject: whose name they bear. size_px: side of the images. marks: for them.
        clock: seconds.
    """

    def __init__(
        self, folder: Path, subject: str, size_px: int, marks: Marks, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self.folder, self.size_px, self.marks, self._clock = folder, size_px, marks, clock
        self._name = re.sub(r"[^A-Za-z0-9_-]+", "-", subject).strip("-")[:64] or "avatar"
        self._lock = threading.Lock()
        self._writer: VideoWriter | None = None
        self._path = folder
        self._began_s: float | None = None
        self._last: np.ndarray | None = None

    @property
    def running(self) -> bool:
        """Whether a recording is under way."""
        return self._writer is not None

    def start(self) -> None:
        """Begin a recording; one that runs already goes on.

        Raises:
            UserError: the folder cannot be written.
        """
        with self._lock:
            if self._writer is not None:
                return
            stem = f"{self._name}-{time.strftime('%Y%m%d-%H%M%S')}"
            self._path, number = self.folder / f"{stem}.mp4", 1
            with _CHOOSING:
                while self._path in _CHOSEN or self._path.exists():
                    number += 1
                    self._path = self.folder / f"{stem}-{number}.mp4"
                _CHOSEN.add(self._path)  # two pages may begin in the same second
            writer = VideoWriter(self._path, FPS, (self.size_px, self.size_px))
            try:
                self._writer = writer.__enter__()
            except OSError as error:
                raise UserError(_said(error)) from error
            self._began_s = self._last = None

    def put(self, image: np.ndarray) -> bool:
        """Show an image (S, S, 3) from now on; returns whether the recording is full, and should be stopped.

        Raises:
            UserError: the disk is full; nothing of the recording is left.
        """
        with self._lock:
            if self._writer is None:
                return False
            self._began_s = self._clock() if self._began_s is None else self._began_s
            try:
                return self._fill() >= LONGEST_S * FPS
            except OSError as error:
                self._drop(error)
                raise UserError(_said(error)) from error
            finally:
                self._last = self.marks.paint(image)

    def stop(self) -> tuple[Path, float] | None:
        """End the recording; returns the file and its length in s, or None where nothing was recorded.

        Raises:
            UserError: the file cannot be written.
        """
        with self._lock:
            if self._writer is None or self._last is None:
                self._drop(UserError("nothing was recorded"))
                return None
            try:
                count = self._fill(least=1)
                self._writer.__exit__(None, None, None)
                self._writer = None
                self._seal()
            except OSError as error:
                self._drop(error)
                raise UserError(_said(error)) from error
            return self._path, count / FPS

    def _seal(self) -> None:
        """Mark the finished file; one that cannot be marked does not stay."""
        try:
            self.marks.seal(self._path)
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise

    def _fill(self, least: int = 0) -> int:
        """Repeat the last image up to now; returns the frames of the video."""
        assert self._writer is not None and self._began_s is not None
        due = max(int(min(self._clock() - self._began_s, LONGEST_S) * FPS), least)
        while self._last is not None and self._writer.count < due:
            self._writer.put(self._last)
        return self._writer.count

    def _drop(self, why: Exception) -> None:
        """Give the recording up; nothing of it stays."""
        writer, self._writer, self._last = self._writer, None, None
        if writer is not None:
            writer.__exit__(type(why), why, None)


def _said(error: OSError) -> str:
    return f"the recording cannot be kept: {os_problem(error) or error}"
