"""Compare images of a clip: detect repeated frames and whether the camera is static."""

import cv2
import numpy as np

# Side of the images that are compared; the thresholds hold for it.
COMPARE_PX = 256
_BLOCKS = 16
_BLOCK_LIMIT = 1.5  # largest block difference of a repeated image: codec noise (levels of 255)
_SURE_LIMIT = 0.05  # mean difference below which a frame is a repetition whatever its neighbours do
_RELATIVE_LIMIT = 0.2  # of the difference between neighbouring frames
_CORNER_LEVEL = 2e-4  # smaller eigenvalue above which a corner is more than noise on a flat wall
_CORNERS_NEEDED = 8
_BRIGHTNESS_LIMIT = 6.0  # levels of 255


def image_difference(now: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """Compute the mean and the largest block mean of |now - before|: grey (256, 256) uint8, in levels of 255."""
    blocks = cv2.resize(cv2.absdiff(now, before).astype(np.float32), (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    return float(blocks.mean()), float(blocks.max())


def repeated_frames(mean: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Detect frames that repeat the one before, (N,) bool, as in a 25 fps recording in a 30 fps file.

    mean, largest: (N,) from `image_difference`, entry 0 unused. A repetition differs by codec noise at most in every
    block, and it is all but identical or differs far less than its neighbours do: the latter tells it from a person who
    sits still.
    """
    count = len(mean)
    result = np.zeros(count, dtype=bool)
    for i in range(1, count):
        around = np.r_[mean[max(1, i - 5) : i], mean[i + 1 : i + 6]]
        usual = np.percentile(around, 75) if len(around) else 0.0
        result[i] = largest[i] < _BLOCK_LIMIT and (mean[i] < _SURE_LIMIT or mean[i] < _RELATIVE_LIMIT * usual)
    return result


def is_static(images: list[np.ndarray], backgrounds: list[np.ndarray], limit_px: float = 1.0) -> bool:
    """Detect a static camera by tracking corners of the background.

    The camera is static if the background shift of 4 of 5 images against the first is below `limit_px`. A flat wall has
    no corners to track: there the brightness must stay.

    Args:
        images: grey (256, 256) uint8, spread over the clip.
        backgrounds: (256, 256) bool for each, True on sure background.
        limit_px: how far the median corner may move.
    """
    first = backgrounds[0] if backgrounds else None
    steady = [
        _stays(images[0], image, first & mask, limit_px)
        for image, mask in zip(images[1:], backgrounds[1:], strict=True)
    ]
    return bool(np.mean(steady) >= 0.8) if steady else True


def background_shift(first: np.ndarray, other: np.ndarray, common: np.ndarray) -> float:
    """Measure the background's motion between two grey images (256, 256) uint8 by Lucas-Kanade optical flow.

    common: (256, 256) bool, True where both images show sure background. Returns the median motion in px of the corners
    that forward-backward tracking confirms. It is infinite where most corners are lost, since they have left the image,
    and NaN where there are too few, as on a flat wall.
    """
    corners = cv2.goodFeaturesToTrack(first, 200, 0.01, 5, mask=common.astype(np.uint8))
    if corners is not None:
        columns, rows = corners[:, 0].astype(int).T
        corners = corners[cv2.cornerMinEigenVal(first, 3)[rows, columns] > _CORNER_LEVEL]
    if corners is None or len(corners) < _CORNERS_NEEDED:
        return float("nan")
    there, good = _track(first, other, corners)
    back, good_back = _track(other, first, there)
    sure = (good[:, 0] > 0) & (good_back[:, 0] > 0) & (np.linalg.norm((back - corners)[:, 0], axis=1) < 0.5)
    return float(np.median(np.linalg.norm((there - corners)[sure, 0], axis=1))) if sure.mean() > 0.5 else float("inf")


def _track(first: np.ndarray, other: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Track corners (N, 1, 2) by Lucas-Kanade without a pyramid, whose coarse windows would reach into the person."""
    there = np.zeros_like(corners)
    there, good, _ = cv2.calcOpticalFlowPyrLK(first, other, corners, there, winSize=(21, 21), maxLevel=0)
    return there, good


def _stays(first: np.ndarray, other: np.ndarray, common: np.ndarray, limit_px: float) -> bool:
    if common.mean() < 0.01:
        return False  # too little background to judge
    shift = background_shift(first, other, common)
    if np.isnan(shift):
        return float(np.median(cv2.absdiff(first, other)[common])) < _BRIGHTNESS_LIMIT
    return shift < limit_px
