"""Regions and means over them."""

import numpy as np
import pytest

from stages.metrics.regions import mean_or_none, mean_over, region_masks


def test_regions_follow_matte_and_fit():
    alpha = np.array([[[0.0, 0.49, 0.5, 1.0]]])
    face = np.array([[[False, False, False, True]]])
    masks = region_masks(alpha, face)
    assert masks["full"].all()
    assert masks["person"].tolist() == [[[False, False, True, True]]]
    assert masks["face"].tolist() == face.tolist()


def test_mean_over_a_mask():
    values = np.arange(8, dtype=float).reshape(2, 2, 2)
    mask = np.array([[[True, False], [False, True]], [[False, False], [False, False]]])
    means = mean_over(values, mask)
    assert means[0] == pytest.approx(1.5)
    assert np.isnan(means[1])


def test_mean_or_none():
    assert mean_or_none(np.array([1.0, np.nan, 3.0])) == 2.0
    assert mean_or_none(np.array([np.nan])) is None
    assert mean_or_none(np.zeros(0)) is None
