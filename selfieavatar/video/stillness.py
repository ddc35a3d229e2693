"""What can be told from comparing images of a clip: repeated frames, and whether the camera stood still."""

import cv2
import numpy as np

# Side of the images that are compared; the thresholds hold for it.
COMPARE_PX = 256
_BLOCKS = 16
_BLOCK_LIMIT = 1.5  # no part of a repeated image may differ more than codec noise (levels of 255)
_SURE_LIMIT = 0.05  # mean difference of a frame that says "as before"
_RELATIVE_LIMIT = 0.2  # of what neighbouring frames differ by
_CORNER_LEVEL = 2e-4  # smaller eigenvalue of a corner that is no noise on a flat wall
_CORNERS_NEEDED = 8
# No pyramid: at its coarse levels the windows reach into the person, who moves. What moves far is lost.
_FLOW = {"winSize": (21, 21), "maxLevel": 0}
_BRIGHTNESS_LIMIT = 6.0  # levels of 255


def image_difference(now: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """(mean, largest block mean) of absolute differences of two grey images (256, 256) uint8, in levels of 255."""
    blocks = cv2.resize(cv2.absdiff(now, before).astype(np.float32), (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    return float(blocks.mean()), float(blocks.max())


def repeated_frames(mean: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """(N,) bool: the frame repeats the one before, as in a 25 fps recording in a 30 fps file.

    mean, largest: (N,) from `image_difference`, entry 0 unused. A frame is a repetition if nowhere it differs by more
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


def is_static(images: list[np.ndarray], backgrounds: list[np.ndarray], limit_px: float = 1.0) -> bool:
    """True if the background stays put.

    Args:
        images: grey (256, 256) uint8, spread over the clip.
        backgrounds: (256, 256) bool for each, True where surely no person is.
        limit_px: how far a corner may wander.

    The camera is static if 4 of 5 images agree with the first one: the median corner of the background, followed by
    Lucas-Kanade and back, moves less than `limit_px`. A flat wall has no corners to follow: there the
    brightness must stay, since nobody could tell such a wall from a static one.
    """
    first = backgrounds[0] if backgrounds else None
    steady = [
        _stays(images[0], image, first & mask, limit_px)
        for image, mask in zip(images[1:], backgrounds[1:], strict=True)
    ]
    return bool(np.mean(steady) >= 0.8) if steady else True


def background_shift(first: np.ndarray, other: np.ndarray, common: np.ndarray) -> float:
    """How far the background moved between two grey images (256, 256) uint8, px: the median of its corners, followed
    by Lucas-Kanade and back.

    common: (256, 256) bool, True where surely nobody is in either image. Infinite where most corners are nowhere to
    be found again, since they have left the image; NaN where there are too few to follow, as on a flat wall.
    """
    corners = cv2.goodFeaturesToTrack(first, 200, 0.01, 5, mask=common.astype(np.uint8))
    if corners is not None:
        columns, rows = corners[:, 0].astype(int).T
        corners = corners[cv2.cornerMinEigenVal(first, 3)[rows, columns] > _CORNER_LEVEL]
    if corners is None or len(corners) < _CORNERS_NEEDED:
        return float("nan")
    there, good, _ = cv2.calcOpticalFlowPyrLK(first, other, corners, None, **_FLOW)
    back, good_back, _ = cv2.calcOpticalFlowPyrLK(other, first, there, None, **_FLOW)
    sure = (good[:, 0] > 0) & (good_back[:, 0] > 0) & (np.linalg.norm((back - corners)[:, 0], axis=1) < 0.5)
    return float(np.median(np.linalg.norm((there - corners)[sure, 0], axis=1))) if sure.mean() > 0.5 else float("inf")


def _stays(first: np.ndarray, other: np.ndarray, common: np.ndarray, limit_px: float) -> bool:
    if common.mean() < 0.01:
        return False  # no background to be seen, so nothing can be promised
    shift = background_shift(first, other, common)
    if np.isnan(shift):
        return float(np.median(cv2.absdiff(first, other)[common])) < _BRIGHTNESS_LIMIT
    return shift < limit_px
