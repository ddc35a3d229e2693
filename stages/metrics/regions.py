"""The regions over which every figure is taken: the full picture, the person, and the face that the fit covers."""

from __future__ import annotations

import numpy as np

REGIONS = ("full", "person", "face")


def region_masks(alpha: np.ndarray, face: np.ndarray) -> dict[str, np.ndarray]:
    """Boolean masks (N,H,W) of the regions.

    alpha: (N,H,W) matte of the true frames, in [0,1], 1 on the person. face: (N,H,W) bool, where I_UV has B > 0.
    """
    return {"full": np.ones(face.shape, dtype=bool), "person": alpha >= 0.5, "face": face.astype(bool)}


def mean_over(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of values (N,H,W) over mask (N,H,W), per picture: (N,) float64, NaN where the mask is empty."""
    count = mask.sum(axis=(1, 2))
    total = np.where(mask, values, 0).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def mean_or_none(values: np.ndarray) -> float | None:
    """Mean of what is not NaN, or None where nothing is left."""
    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    return float(kept.mean()) if len(kept) else None
