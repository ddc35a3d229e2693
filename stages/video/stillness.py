"""What can be told from comparing pictures of a clip: repeated frames, and whether the camera stood still."""

import cv2
import numpy as np

# Side of the pictures that are compared; the thresholds hold for it.
COMPARE_PX = 256
_BLOCKS = 16
_BLOCK_LIMIT = 1.5  # no part of a repeated picture may differ more than codec noise (levels of 255)
_SURE_LIMIT = 0.05  # mean difference of a frame that says "as before"
_RELATIVE_LIMIT = 0.2  # of what neighbouring frames differ by


def picture_difference(now: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """(mean, largest block mean) of absolute differences of two grey pictures (256, 256) uint8, in levels of 255."""
    blocks = cv2.resize(cv2.absdiff(now, before).astype(np.float32), (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    return float(blocks.mean()), float(blocks.max())


def repeated_frames(mean: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """(N,) bool: the frame shows the same picture as the one before (25 fps recordings in 30 fps files, dropped frames).

    mean, largest: (N,) from `picture_difference`, entry 0 unused. A frame is a repetition if nowhere it differs by more
    than codec noise, and it is all but identical or differs far less than its neighbours do: a person who sits still is
    not a repetition.
    """
    count = len(mean)
    result = np.zeros(count, dtype=bool)
    for i in range(1, count):
        around = np.r_[mean[max(1, i - 5) : i], mean[i + 1 : i + 6]]
        usual = np.percentile(around, 75) if len(around) else 0.0
        result[i] = largest[i] < _BLOCK_LIMIT and (mean[i] < _SURE_LIMIT or mean[i] < _RELATIVE_LIMIT * usual)
    return result


def background_mask(box: np.ndarray | None, size: int) -> np.ndarray:
    """(size, size) uint8, 255 where a person with this face box (pixels) surely is not: beside and above head and torso."""
    mask = np.full((size, size), 255, dtype=np.uint8)
    if box is None or not np.isfinite(box).all():
        return mask
    tall = box[3] - box[1]
    middle = (box[0] + box[2]) / 2
    head = (middle - 0.8 * tall, middle + 0.8 * tall, box[1] - 0.45 * tall)
    torso = (middle - 1.6 * tall, middle + 1.6 * tall, box[3] - 0.1 * tall)
    for left, right, top in (head, torso):
        mask[max(0, int(top)) :, max(0, int(left)) : max(0, int(np.ceil(right)))] = 0
    return mask


def is_static(pictures: list[np.ndarray], masks: list[np.ndarray], limit_px: float = 1.0) -> bool:
    """True if the background stays put over the pictures (256, 256) uint8 grey; masks 255 on background.

    Corners of the first picture's background are followed into the others (pyramidal Lucas-Kanade, checked backwards);
    the camera is static if in 4 of 5 pictures the median corner moves less than `limit_px`. A background without
    corners is judged by its brightness: a flat wall is as good as a static one.
    """
    common = masks[0].copy()
    for mask in masks[1:]:
        common = cv2.bitwise_and(common, mask)
    corners = cv2.goodFeaturesToTrack(pictures[0], 200, 0.02, 5, mask=common)
    steady = [_stays(pictures[0], other, corners, common, limit_px) for other in pictures[1:]]
    return bool(np.mean(steady) >= 0.8) if steady else True


def _stays(first: np.ndarray, other: np.ndarray, corners, common: np.ndarray, limit_px: float) -> bool:
    if corners is not None and len(corners) >= 12:
        there, good, _ = cv2.calcOpticalFlowPyrLK(first, other, corners, None, winSize=(21, 21), maxLevel=3)
        back, good_back, _ = cv2.calcOpticalFlowPyrLK(other, first, there, None, winSize=(21, 21), maxLevel=3)
        sure = (good[:, 0] > 0) & (good_back[:, 0] > 0) & (np.linalg.norm((back - corners)[:, 0], axis=1) < 0.5)
        if sure.sum() >= 8:
            return bool(np.median(np.linalg.norm((there - corners)[sure, 0], axis=1)) < limit_px)
    if not common.any():
        return False  # nothing of the background is ever seen, so nothing can be promised
    return float(np.median(cv2.absdiff(first, other)[common > 0])) < 6.0
