"""What an avatar must beat: the mean training frame, and the training frame whose landmarks are nearest."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def mean_picture(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Mean of (H,W,3) pictures, read one at a time; float32. Raises ValueError for none."""
    total, count = None, 0
    for picture in pictures:
        total = picture.astype(np.float64) if total is None else total + picture
        count += 1
    if total is None:
        raise ValueError("the mean of no pictures")
    return (total / count).astype(np.float32)


def nearest_frames(points: np.ndarray, known: np.ndarray, chunk: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """For each row of landmarks (N,K,2), the nearest of ``known`` (M,K,2), both in frame pixels.

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
    """Rows of landmarks (N,P) of one clip, each missing one replaced by that of the frame next to it in time that has
    some.

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
