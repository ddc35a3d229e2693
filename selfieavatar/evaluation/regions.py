"""Mark the regions over which every metric is taken.

The full image, the person, the face that the fit covers, and boxes around mouth and eyes, where people look first.
"""

from __future__ import annotations

import numpy as np

from selfieavatar.morphable.landmark_sets import LandmarkSet

REGIONS = ("full", "person", "face", "mouth", "eyes")
# How far a box reaches beyond its landmarks, as a share of its width.
_MARGIN = {"mouth": 0.15, "eyes": 0.35}


def region_masks(
    alpha: np.ndarray, face: np.ndarray, points: np.ndarray | None = None, kind: LandmarkSet | None = None
) -> dict[str, np.ndarray]:
    """Mark the regions' pixels in boolean masks (N,H,W).

    alpha: (N,H,W) matte of the true frames, in [0,1], 1 on the person. face: (N,H,W) bool, where I_UV has B > 0.
    points: (N,L,2) px landmarks of the true frames of the set `kind`, NaN where none were found: no boxes there.
    """
    masks = {"full": np.ones(face.shape, dtype=bool), "person": alpha >= 0.5, "face": face.astype(bool)}
    if points is None or kind is None:
        return masks
    named = kind.regions
    size = face.shape[1], face.shape[2]
    masks["mouth"] = box_masks(points[:, list(named["lips_outer"])], _MARGIN["mouth"], size)
    left, right = (box_masks(points[:, list(named[eye])], _MARGIN["eyes"], size) for eye in ("left_eye", "right_eye"))
    masks["eyes"] = left | right
    return masks


def box_masks(points: np.ndarray, margin: float, shape: tuple[int, int]) -> np.ndarray:
    """Mark the pixels (N,H,W) whose centres lie in the bounding box of points (N,K,2) px.

    The box is widened all around by `margin` of its width; it is empty where a point is NaN.
    """
    low, high = points.min(axis=1), points.max(axis=1)
    room = margin * (high - low)[:, :1]
    low, high = low - room, high + room
    inside = []
    for axis, count in ((1, shape[0]), (0, shape[1])):
        centres = np.arange(count) + 0.5
        inside.append((centres >= low[:, axis, None]) & (centres <= high[:, axis, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]


def mean_over(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Average values (N,H,W) over mask (N,H,W), per image: (N,) float64, NaN where the mask is empty."""
    count = mask.sum(axis=(1, 2))
    total = np.where(mask, values, 0).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def mean_or_none(values: np.ndarray) -> float | None:
    """Average what is not NaN; None where nothing is left."""
    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    return float(kept.mean()) if len(kept) else None
