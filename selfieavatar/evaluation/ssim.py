"""Compute structural similarity (Wang et al. 2004): K1 0.01, K2 0.03, range 1, mean of R, G, B.

`ssim`: Gaussian window of 11 x 11, sigma 1.5, as the original. `ssim_uniform7`: flat window of 7 x 7 with unbiased
variances, the default of scikit-image, which papers that name no form (this one, too) mostly print. Windows that reach
over the border are left out ("valid"), also of the regions.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from selfieavatar.evaluation.regions import mean_over

WINDOW = 11
UNIFORM = 7
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2


def _window(image: np.ndarray, size: int) -> np.ndarray:
    """Filter by the window, whole windows alone: (H,W,3) float32 -> (H-size+1,W-size+1,3)."""
    border = size // 2
    if size == UNIFORM:
        blurred = cv2.blur(image, (size, size))
    else:
        kernel = cv2.getGaussianKernel(size, _SIGMA, cv2.CV_32F)
        blurred = cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel)
    return blurred[border:-border, border:-border]


def ssim_map(predicted: np.ndarray, truth: np.ndarray, size: int = WINDOW) -> np.ndarray:
    """Compute SSIM of each whole window of (H,W,3) in [0,1]: (H-size+1,W-size+1), mean over the colours.

    size: 11 for the Gaussian window, 7 for the flat one. Raises ValueError for images smaller than the window.
    """
    if min(truth.shape[:2]) < size:
        raise ValueError(f"SSIM needs images of at least {size} px, not {truth.shape[:2]}")
    x, y = (np.asarray(p, np.float32) for p in (predicted, truth))
    mean_x, mean_y = _window(x, size), _window(y, size)
    xx, yy, xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    unbiased = size**2 / (size**2 - 1) if size == UNIFORM else 1.0
    # The sum of the variances is all that the formula needs: four filters instead of five.
    variances = unbiased * (_window(x * x + y * y, size) - xx - yy)
    covariance = unbiased * (_window(x * y, size) - xy)
    ratio = (2 * xy + _C1) * (2 * covariance + _C2)
    ratio /= (xx + yy + _C1) * (variances + _C2)
    return ratio.mean(axis=2)


def ssim(
    predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray], size: int = WINDOW
) -> dict[str, np.ndarray]:
    """Average the SSIM map per image and region.

    predicted, truth: (N,H,W,3) float in [0,1]. masks: region -> (N,H,W) bool; a window belongs to the region of its
    centre. size: see `ssim_map`. Returns region -> (N,) float64, NaN where the region is empty.
    """
    maps = np.stack([ssim_map(p, t, size) for p, t in zip(predicted, truth, strict=True)])
    inner = (slice(None), slice(size // 2, -(size // 2)), slice(size // 2, -(size // 2)))
    return {region: mean_over(maps, mask[inner]) for region, mask in masks.items()}


def ssim_uniform7(predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute `ssim` with the flat window of 7 x 7."""
    return ssim(predicted, truth, masks, UNIFORM)
