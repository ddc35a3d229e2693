"""Measure sharpness: how much of the truth's gradient an image has; 1 is the truth's, less is blur, more is noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from selfieavatar.evaluation.regions import mean_over

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Mean gradient below which the truth itself is flat (a tenth of a grey level a pixel) and the ratio says nothing.
_FLAT = 0.1 / 255


def gradient_magnitude(images: np.ndarray) -> np.ndarray:
    """Compute |gradient of the luma| by forward differences: (N,H,W,3) -> (N,H,W), 0 in the last row and column."""
    luma = images @ _LUMA
    magnitude = np.zeros_like(luma)
    dx = luma[:, :-1, 1:] - luma[:, :-1, :-1]
    dy = luma[:, 1:, :-1] - luma[:, :-1, :-1]
    magnitude[:, :-1, :-1] = np.sqrt(dx * dx + dy * dy)
    return magnitude


def sharpness(predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Divide the mean gradient magnitude of the image by that of the truth, per image and region.

    predicted, truth: (N,H,W,3) float in [0,1]. masks: region -> (N,H,W) bool. Returns region -> (N,) float64, NaN where
    the region is empty or the truth is flat in it.
    """
    mine, true = gradient_magnitude(predicted), gradient_magnitude(truth)
    scores = {}
    for region, mask in masks.items():
        above, below = mean_over(mine, mask), mean_over(true, mask)
        scores[region] = np.divide(above, below, out=np.full(len(above), np.nan), where=below > _FLAT)
    return scores
