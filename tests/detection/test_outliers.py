"""Test the outlier detections of a clip by size and shape."""

import numpy as np

from selfieavatar.detection.outliers import outlier_detections
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers


def clip():
    subject = makers.model()
    points, depth = makers.landmarks(subject, *makers.movement(60), noise_px=0.2)
    return points, np.concatenate([depth], 1)


def test_a_moving_speaking_face_has_no_outliers():
    points, depth = clip()
    assert not outlier_detections(points, depth, ls.RIGID).any()


def test_small_and_distorted_faces_are_outliers_and_missing_ones_are_not():
    points, depth = clip()
    middle = points[20].mean(0)
    points[20], depth[20] = middle + 0.3 * (points[20] - middle), depth[20] * 0.3
    rng = np.random.default_rng(0)
    points[30] += rng.normal(0, 12, (478, 2))
    points[40], depth[40] = np.nan, np.nan
    found = outlier_detections(points, np.nan_to_num(depth), ls.RIGID)
    assert np.flatnonzero(found).tolist() == [20, 30]


def test_2d_landmark_sets_are_judged_by_size_alone():
    points, _ = clip()
    points[5] *= 3
    assert np.flatnonzero(outlier_detections(points, np.zeros((60, 478)))).tolist() == [5]


def test_too_few_detections_have_no_outliers():
    points, depth = clip()
    assert not outlier_detections(points[:2], depth[:2]).any()
