"""Compute the peak signal-to-noise ratio over regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from selfieavatar.evaluation.regions import mean_over

# Two equal images have no noise at all; a metric that is a number is more use than infinity.
CEILING_DB = 100.0


def psnr_db(predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute 10 log10(1 / MSE) per image and region, at most 100 dB.

    predicted, truth: (N,H,W,3) float in [0,1]. masks: region -> (N,H,W) bool. The mean square error is taken over the
    pixels of the region alone. Returns region -> (N,) float64, NaN where the region is empty.
    """
    square = np.square(predicted - truth).mean(axis=3)
    scores = {}
    for region, mask in masks.items():
        error = mean_over(square, mask)
        with np.errstate(divide="ignore"):
            scores[region] = np.minimum(-10.0 * np.log10(error), CEILING_DB)
    return scores
