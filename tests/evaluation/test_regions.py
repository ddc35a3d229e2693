"""Regions and means over them."""

import numpy as np
import pytest

from selfieavatar.evaluation.regions import box_masks, mean_or_none, mean_over, region_masks
from selfieavatar.morphable import landmark_sets as ls


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


def test_a_box_holds_the_pixels_whose_centres_it_covers():
    points = np.array([[[2.0, 3.0], [6.0, 4.9], [4.0, 4.0]], [[1.0, 1.0], [np.nan, np.nan], [2.0, 2.0]]])
    mask = box_masks(points, 0.25, (8, 10))  # 4 px wide, so 1 px of room: x 1..7, y 2..5.9
    wanted = np.zeros((8, 10), bool)
    wanted[2:6, 1:7] = True
    np.testing.assert_array_equal(mask[0], wanted)
    assert not mask[1].any()


def test_mouth_and_eyes_have_boxes_in_every_landmark_set():
    for kind in ls.LANDMARK_SETS.values():
        points = np.full((1, kind.count, 2), 20.0)
        for name, (x, y) in (("lips_outer", (20, 30)), ("left_eye", (28, 10)), ("right_eye", (12, 10))):
            ring = list(kind.regions[name])
            points[0, ring] = (x, y) + np.linspace(-3, 3, len(ring))[:, None] * [1, 0.3]
        masks = region_masks(np.zeros((1, 40, 40)), np.zeros((1, 40, 40), bool), points, kind)
        assert masks["mouth"][0, 30, 20] and not masks["mouth"][0, :20].any()
        assert masks["eyes"][0, 10, [12, 28]].all() and not masks["eyes"][0, 10, 20] and not masks["eyes"][0, 20:].any()
    assert "mouth" not in region_masks(np.zeros((1, 4, 4)), np.zeros((1, 4, 4), bool))
