"""Compute what an avatar must beat: the mean training frame, and the training frame with the nearest landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

Place = tuple[str, int]  # clip, frame


def mean_image(images: Iterable[np.ndarray]) -> np.ndarray:
    """Average (H,W,3) images, read one at a time; float32. Raises ValueError for none."""
    total, count = None, 0
    for image in images:
        total = image.astype(np.float64) if total is None else total + image
        count += 1
    if total is None:
        raise ValueError("the mean of no images")
    return (total / count).astype(np.float32)


def nearest_frames(points: np.ndarray, known: np.ndarray, chunk: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Find for each row of landmarks (N,K,2) the nearest of ``known`` (M,K,2), both in frame pixels.

    The distance is the root mean square over the points, in units of the face's own size (root mean square distance of
    its points from their centroid, as Procrustes analysis normalises). Faces are not aligned: frames are compared pixel
    by pixel, so that the right face in another place is no near frame. Returns (index (N,) int64, distance (N,)
    float64).
    """
    count = points.shape[1]
    # about the mean shape, so that the expanded square below does not lose its digits to the offset
    origin = known.mean(axis=(0, 1))
    a = (points - origin).reshape(len(points), -1).astype(np.float64)
    b = (known - origin).reshape(len(known), -1).astype(np.float64)
    square_b = np.square(b).sum(axis=1)
    index = np.empty(len(a), np.int64)
    distance = np.empty(len(a))
    for start in range(0, len(a), chunk):
        part = a[start : start + chunk]
        square = np.square(part).sum(axis=1)[:, None] + square_b[None] - 2.0 * part @ b.T
        index[start : start + chunk] = square.argmin(axis=1)
        distance[start : start + chunk] = np.sqrt(np.maximum(square.min(axis=1), 0.0) / count)
    centred = points - points.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(centred).sum(axis=(1, 2)) / count)
    return index, distance / np.maximum(size, 1e-9)


def fill_missing(points: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Fill missing rows of landmarks (N,P) of one clip from the frame nearest in time that has some.

    Raises ValueError where no frame has landmarks.
    """
    have = np.flatnonzero(found)
    if not len(have):
        raise ValueError("no frame of the clip has landmarks")
    rows = np.arange(len(points))
    after = np.clip(np.searchsorted(have, rows), 0, len(have) - 1)
    before = np.clip(after - 1, 0, len(have) - 1)
    closer = np.where(np.abs(have[before] - rows) <= np.abs(have[after] - rows), have[before], have[after])
    return points[closer]


class Baselines:
    """The two images of each test frame that an avatar must beat.

    train, test: clip -> frame numbers (N,); at least one training frame. points: (clip, frames) -> landmarks (N,K,2)
    px. read: places -> images (N,S,S,3) float in [0,1]. mean_frames: most frames that the mean is made of.
    """

    def __init__(
        self,
        train: Mapping[str, np.ndarray],
        test: Mapping[str, np.ndarray],
        points: Callable[[str, np.ndarray], np.ndarray],
        read: Callable[[list[Place]], np.ndarray],
        mean_frames: int,
    ) -> None:
        self._read = read
        places = [(clip, int(number)) for clip, frames in train.items() for number in frames]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(mean_frames, len(places))).round().astype(int))
        self.mean = mean_image(read([places[i]])[0] for i in chosen)
        known = np.concatenate([points(clip, frames) for clip, frames in train.items()])
        self.nearest: dict[Place, Place] = {}
        for clip, frames in test.items():
            index, _ = nearest_frames(points(clip, frames), known)
            self.nearest |= {(clip, int(f)): places[i] for f, i in zip(frames, index, strict=True)}

    def of(self, clip: str, frames: np.ndarray) -> dict[str, np.ndarray]:
        """Look up the baselines of test frames (N,): name of the baseline -> (N,S,S,3)."""
        nearest = self._read([self.nearest[(clip, int(number))] for number in frames])
        return {"mean_frame": np.broadcast_to(self.mean, nearest.shape), "nearest_frame": nearest}
