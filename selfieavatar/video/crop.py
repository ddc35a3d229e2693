"""Choose one fixed square crop for all frames of a source from face boxes in sampled frames.

A face box is (x0, y0, x1, y1) in source pixels as MediaPipe's detector gives it: its height equals the height of the
face mesh (hairline to chin) within 6 % on real clips. The constants below are in such face heights.
"""

from collections.abc import Sequence

import numpy as np

# Around the face box: hair above, ears and hair at the sides, chin and a little neck below.
HAIR, SIDE, CHIN = 0.35, 0.15, 0.15
# The crop's centre lies below the face's, since shoulders need more room than hair.
DROP = 0.15
_LOW, _HIGH = 5.0, 95.0


def choose_crop(boxes: np.ndarray, size: tuple[int, int], scale: float) -> tuple[int, int, int]:
    """Compute the square crop (x0, y0, side) in whole source pixels, `side` even.

    The crop covers the head with its hair over the 5th to 95th percentile of its motion. It is limited to the image's
    shorter side, and reaches outside the image only where the head's motion needs it.

    Args:
        boxes: (N, 4) boxes of the tracked face; rows with NaN are ignored.
        size: (width, height) of the image.
        scale: wanted side in face heights (median over the boxes).

    Raises:
        ValueError: every box is NaN, or there is none.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    if not len(boxes):
        raise ValueError("no face box to crop around")
    width, height = size
    face = float(np.median(boxes[:, 3] - boxes[:, 1]))
    low = np.percentile(boxes[:, :2], _LOW, axis=0) - face * np.array([SIDE, HAIR])
    high = np.percentile(boxes[:, 2:], _HIGH, axis=0) + face * np.array([SIDE, CHIN])
    # What lies outside the image cannot be shown, so the window need not cover it.
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    needed = float((high - low).max())
    side = max(needed, min(scale * face, width, height))
    side = 2 * int(np.ceil(side / 2 - 1e-9))
    if side > min(width, height) and needed <= min(width, height):
        side = 2 * (min(width, height) // 2)  # rounding up to even must not lead outside
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    middle = np.percentile(centers, [_LOW, _HIGH], axis=0).mean(axis=0) + np.array([0.0, DROP * face])
    start = [_place(middle[i], low[i], high[i], side, size[i]) for i in range(2)]
    return start[0], start[1], side


def _place(middle: float, low: float, high: float, side: int, extent: int) -> int:
    """Place the crop on one axis: near `middle`, covering [low, high], inside [0, extent] if it fits."""
    start = middle - side / 2
    start = min(max(start, high - side), low)
    start = min(max(start, min(0, extent - side)), max(0, extent - side))
    return int(round(start))


def follow_face(candidates: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Track one face through sampled frames by the Viterbi algorithm.

    The path maximises the sum of size and centrality minus the jumps between frames, so that it keeps to one person
    while others come and go or are larger for a moment.

    Args:
        candidates: boxes (K, 4) of each frame, in time order.
        size: (width, height) of the image.

    Returns:
        (N,) int, the index of the tracked face in each frame, -1 where there is none.
    """
    chosen = np.full(len(candidates), -1)
    frames = [i for i, boxes in enumerate(candidates) if len(boxes)]
    if not frames:
        return chosen
    best, back = _merit(candidates[frames[0]], size), []
    for before, now in zip(frames, frames[1:], strict=False):
        jump = box_jumps(candidates[before], candidates[now])
        total = best[:, None] - jump
        back.append(total.argmax(axis=0))
        best = total.max(axis=0) + _merit(candidates[now], size)
    index = int(best.argmax())
    for position in range(len(frames) - 1, -1, -1):
        chosen[frames[position]] = index
        if position:
            index = int(back[position - 1][index])
    return chosen


def _merit(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Score boxes by size and centrality, (K,): larger is better."""
    boxes = np.asarray(boxes, dtype=np.float64)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    off = np.linalg.norm(center - np.array(size) / 2, axis=1) / (0.5 * np.hypot(*size))
    return 2 * np.log(np.maximum(boxes[:, 3] - boxes[:, 1], 1e-3)) - off


def box_jumps(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Compute the bounded transition costs (K, L) between boxes: distance in face heights plus change of size."""
    before, now = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    middle = [(b[:, :2] + b[:, 2:]) / 2 for b in (before, now)]
    tall = [np.maximum(b[:, 3] - b[:, 1], 1e-3) for b in (before, now)]
    far = np.linalg.norm(middle[0][:, None] - middle[1][None], axis=2) / np.minimum(tall[0][:, None], tall[1][None])
    grown = np.abs(np.log(tall[0][:, None] / tall[1][None]))
    return np.minimum(far + grown, 4.0)
