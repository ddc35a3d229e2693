"""Structural similarity (Wang et al. 2004): Gaussian window of 11 x 11, sigma 1.5, K1 0.01, K2 0.03, range 1, mean of
R, G, B.

Windows that reach over the border are left out ("valid"), also of the regions, as the original does.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from stages.metrics.regions import mean_over

WINDOW = 11
BORDER = WINDOW // 2
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2


def ssim_map(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """SSIM of each whole window: (H,W,3) float32 pictures in [0,1] -> (H-10,W-10), mean over the colours.

    Raises ValueError for pictures smaller than the window.
    """
    if min(truth.shape[:2]) < WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {WINDOW} px, not {truth.shape[:2]}")
    kernel = cv2.getGaussianKernel(WINDOW, _SIGMA, cv2.CV_32F)

    def blur(picture: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(picture, cv2.CV_32F, kernel, kernel)[BORDER:-BORDER, BORDER:-BORDER]

    x, y = (np.asarray(p, np.float32) for p in (predicted, truth))
    mean_x, mean_y = blur(x), blur(y)
    xx, yy, xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    # The sum of the variances is all that the formula needs: four filters instead of five.
    variances = blur(x * x + y * y) - xx - yy
    covariance = blur(x * y) - xy
    ratio = (2 * xy + _C1) * (2 * covariance + _C2)
    ratio /= (xx + yy + _C1) * (variances + _C2)
    return ratio.mean(axis=2)


def ssim(predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean of the SSIM map per picture and region.

    predicted, truth: (N,H,W,3) float in [0,1]. masks: region -> (N,H,W) bool; a window belongs to the region of its
    centre. Returns region -> (N,) float64, NaN where the region is empty.
    """
    maps = np.stack([ssim_map(p, t) for p, t in zip(predicted, truth, strict=True)])
    inner = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    return {region: mean_over(maps, mask[inner]) for region, mask in masks.items()}
