"""Images of a clip as the fit reads them, and the torso followed on them while the face is being fitted."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, RLock

import numpy as np

from selfieavatar.fitting.registration import shrink
from selfieavatar.fitting.torso import follow_torso, small
from selfieavatar.identity import Torso
from selfieavatar.io.clips import ClipStore

KEPT_ROWS = 1000  # whose small images stay in memory: 128 MB at most


@dataclass
class ClipImages:
    """Images of a clip of size_px, and its frames' numbers and times by row.

    cores: held by what keeps all granted cores busy; what runs beside it waits meanwhile.
    """

    clip: ClipStore
    size_px: int
    number: np.ndarray
    time_s: np.ndarray
    cores: RLock = field(default_factory=RLock)
    kept: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read images (n, S, S, 3) and mattes (n, S, S), uint8, of rows (n,)."""
        return self.clip.images("frames", self.number[rows]), self.clip.images("alpha", self.number[rows])

    def small(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the small grey image and matte of a row for the registration."""
        return self._small("frames", row), self._small("alpha", row)

    def grey(self, row: int) -> np.ndarray:
        """Read the grey image of `small` alone."""
        return self._small("frames", row)

    def _small(self, kind: str, row: int) -> np.ndarray:
        image = self.kept.get((kind, row))
        if image is None:  # threads may both read one: the same
            image = shrink(self.clip.image(kind, self.number[row]))
            if row < KEPT_ROWS:
                self.kept[kind, row] = image
        return image


@contextmanager
def torso_beside(torso: Torso, images: ClipImages) -> Iterator[Future[np.ndarray]]:
    """Track the torso's shift (N, 2) on a thread that ends with the block.

    No frame is begun while `images.cores` is held.
    """
    over = Event()

    def greys() -> Iterator[np.ndarray]:
        for row in range(len(images.number)):
            with images.cores:
                grey = images.grey(row)
            if over.is_set():
                return
            yield small(grey)

    with ThreadPoolExecutor(1, thread_name_prefix="torso") as pool:
        try:
            yield pool.submit(follow_torso, torso, greys())
        finally:
            over.set()
