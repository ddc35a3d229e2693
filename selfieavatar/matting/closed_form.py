"""Matte images by closed-form matting, in pymatting's implementation.

Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting, TPAMI 2008. It takes seconds a frame: for
stills, a small number of frames, and as reference for the fast refinement.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.matting.guided import square
from selfieavatar.matting.refine import RefineOptions, tidy


def closed_form(rgb: np.ndarray, mask: np.ndarray, options: RefineOptions) -> np.ndarray:
    """Compute the alpha of one image by closed-form matting in the unknown band around the mask's edge.

    Args:
        rgb: (H,W,3) uint8.
        mask: (h,w) float32 coarse person mask of the same field of view.
        options: `band_px` inside and `hair_px` outside the edge are unknown.

    Returns:
        (H,W) float32 in [0,1]; all zero for a mask without a person.
    """
    estimate_alpha_cf = _pymatting()
    height, width = rgb.shape[:2]
    side = max(height, width)
    coarse = tidy(mask, options.hole_share, options.scaled(options.hair_px, max(mask.shape)))
    if not coarse.any():
        return np.zeros((height, width), np.float32)
    solid = (cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5).astype(np.uint8)
    band, hair = options.scaled(options.band_px, side), options.scaled(options.hair_px, side)
    inner, outer = cv2.erode(solid, square(band)), cv2.dilate(solid, square(hair))
    trimap = np.where(inner > 0, 1.0, np.where(outer > 0, 0.5, 0.0))
    return estimate_alpha_cf(rgb.astype(np.float64) / 255.0, trimap).astype(np.float32)


def _pymatting() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    try:
        from pymatting import estimate_alpha_cf  # compiles with numba when imported
    except RuntimeError as error:
        raise UserError(
            f"closed-form matting cannot be compiled ({str(error).splitlines()[0][:200]}); set NUMBA_CACHE_DIR to a "
            "folder that only you can write, or set matting.quality to guided"
        ) from error
    return estimate_alpha_cf
