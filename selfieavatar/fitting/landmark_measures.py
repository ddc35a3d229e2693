"""Measures of a face read off its landmarks: distance of the eyes, opening of lids and lips, width of the mouth.

Those of images take points in px, and divide by the distance of the eyes; those of models take points in cm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfieavatar.morphable.landmark_sets import (
    LEFT_LIDS,
    LOWER_LIP,
    MEDIAPIPE,
    RIGHT_LIDS,
    UPPER_LIP,
    LandmarkSet,
    landmark_set,
)
from selfieavatar.morphable.model import MorphableModel

BLINK_SHARE = 0.5  # of the usual opening of the lids, below which they count as closed
_BRIDGE, _NOSE_BASE = 168, 2  # of MediaPipe's mesh


def inter_ocular_distance(points: np.ndarray, set_name: str = MEDIAPIPE) -> np.ndarray:
    """Measure the distance of the outer eye corners, evened out over yaw: (N,) px.

    The corners' distance shrinks with the cosine of the yaw; the nose's height does not. Their usual ratio links both,
    as far as twice the distance that is seen.

    Args:
        points: (N, L, 2) px. set_name: their landmark set.
    """
    eyes = outer_eye_distance(points, set_name)
    nose = points[:, list(landmark_set(set_name).regions["nose"])]
    height = np.ptp(nose[..., 1], axis=1)
    ratio = eyes / np.maximum(height, 1e-6)
    usual = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else 1.0
    return np.maximum(eyes, np.minimum(height * usual, 2 * eyes))


def mesh_inter_ocular_distance(points: np.ndarray) -> np.ndarray:
    """Measure the same of MediaPipe's mesh, by the bridge of its nose: roll changes nothing, and no limit is needed."""
    eyes = outer_eye_distance(points)
    height = np.linalg.norm(points[:, _BRIDGE] - points[:, _NOSE_BASE], axis=1)
    return np.maximum(eyes, height * float(np.nanmedian(eyes / height)) if len(points) else 0.0)


def outer_eye_distance(points: np.ndarray, set_name: str = MEDIAPIPE) -> np.ndarray:
    """Measure the distance of the outer eye corners as it is seen: (N,) px of points (N, L, 2) px."""
    right, left = landmark_set(set_name).outer_eyes
    return np.linalg.norm(points[:, right] - points[:, left], axis=1)


def lid_opening(points: np.ndarray) -> np.ndarray:
    """Measure the mean distance between the lids of the left and right eye over that of the outer corners: (N, 2).

    Args:
        points: (N, 478, 2) px of MediaPipe.
    """
    openings = [
        np.mean([np.linalg.norm(points[:, up] - points[:, low], axis=1) for up, low in lids], axis=0)
        for lids in (LEFT_LIDS, RIGHT_LIDS)
    ]
    return np.stack(openings, 1) / outer_eye_distance(points)[:, None]


def openings(points: np.ndarray, landmark_set: str) -> np.ndarray | None:
    """Measure the opening of left lids, right lids and lips, (N, 3) over the inter-ocular distance (outer corners).

    points: (N, L, 2) px of the detector, NaN where no face was found. None for landmark sets but MediaPipe's.
    """
    if landmark_set != MEDIAPIPE:
        return None
    lips = np.linalg.norm(points[:, UPPER_LIP] - points[:, LOWER_LIP], axis=1) / outer_eye_distance(points)
    return np.concatenate([lid_opening(points), lips[:, None]], axis=1)


def usual_opening(opening: np.ndarray) -> float:
    """Take the 75th percentile of openings (N,), which blinks hardly move; NaN where none is known."""
    known = opening[np.isfinite(opening)]
    return float(np.percentile(known, 75)) if len(known) else float("nan")


def lid_area(points: np.ndarray, eye_distance: np.ndarray, set_name: str = MEDIAPIPE) -> np.ndarray:
    """Measure the area within the lids of the left and right eye over the squared distance of the eyes: (N, 2)."""
    rings = [points[:, list(ring)].astype(float) for ring in landmark_set(set_name).eyes]
    areas = [0.5 * np.abs(np.cross(ring, np.roll(ring, -1, axis=1)).sum(1)) for ring in rings]
    return np.stack(areas, 1) / eye_distance[:, None] ** 2


def landmark_positions(model: MorphableModel, shape: np.ndarray) -> np.ndarray:
    """Pick the landmarks (..., L, 3) of vertices (..., V, 3); NaN for landmarks without a vertex."""
    points = np.asarray(shape, float)[..., model.landmark_vertices, :]
    points[..., model.landmark_vertices < 0, :] = np.nan
    return points


def lid_and_lip_pairs(kind: LandmarkSet) -> list[np.ndarray]:
    """Pair the opposite landmarks of the left lids, the right lids and the lips: (k, 2) each."""
    return [opposite(ring) for ring in (*kind.eyes, kind.lips_inner)]


def opposite(ring: Sequence[int]) -> np.ndarray:
    """Pair the opposite landmarks of a ring that starts at a corner: (k, 2)."""
    return np.array([(ring[i], ring[-i]) for i in range(1, len(ring) // 2)])


def vertical_gaps(points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Measure vertical distances (..., k), down is positive, of pairs (k, 2) of points (..., L, 3)."""
    return points[..., pairs[:, 0], 1] - points[..., pairs[:, 1], 1]


def mouth_width(points: np.ndarray, kind: LandmarkSet) -> np.ndarray:
    """Measure the width of the mouth, (...) cm, of points (..., L, 3); 0 where the model has no lips."""
    lips = points[..., list(kind.regions["lips_outer"]), 0]
    known = np.isfinite(lips)
    low, high = np.min(lips, -1, where=known, initial=np.inf), np.max(lips, -1, where=known, initial=-np.inf)
    return np.where(known.any(-1), high - low, 0.0)


def brow_height(points: np.ndarray, kind: LandmarkSet) -> np.ndarray:
    """Measure how far the brows are above the lids, (...) cm, of points (..., L, 3); 0 where the model lacks either."""
    brows, eyes = ([*kind.regions[f"left_{part}"], *kind.regions[f"right_{part}"]] for part in ("brow", "eye"))
    heights = [mean_known(points[..., part, 1]) for part in (eyes, brows)]
    return np.nan_to_num(heights[0] - heights[1])


def mean_known(values: np.ndarray) -> np.ndarray:
    """Average what is finite along the last axis; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
