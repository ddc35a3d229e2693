"""What the avatar is compared with."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from selfieavatar.evaluation.baseline import fill_missing, mean_image, nearest_frames


def test_mean_of_images():
    images = [np.full((2, 2, 3), level, np.float32) for level in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(mean_image(iter(images)), 0.5)
    with pytest.raises(ValueError, match="no images"):
        mean_image([])


def test_nearest_equals_brute_force():
    rng = np.random.default_rng(0)
    shape = rng.normal(100, 20, (30, 2))
    points, known = shape + rng.normal(0, 3, (17, 30, 2)), shape + rng.normal(0, 3, (40, 30, 2))
    index, distance = nearest_frames(points, known, chunk=5)
    table = cdist(points.reshape(17, -1), known.reshape(40, -1))
    np.testing.assert_array_equal(index, table.argmin(axis=1))
    size = np.sqrt(np.square(points - points.mean(axis=1, keepdims=True)).sum(axis=(1, 2)) / 30)
    np.testing.assert_allclose(distance, table.min(axis=1) / np.sqrt(30) / size, rtol=1e-6)


def test_the_same_face_elsewhere_is_farther_than_another_face_in_place():
    rng = np.random.default_rng(1)
    face = rng.normal(64, 10, (1, 20, 2))
    known = np.concatenate([face + 30, face + rng.normal(0, 1, face.shape)])
    assert nearest_frames(face, known)[0].tolist() == [1]


def test_missing_landmarks_come_from_the_frame_next_in_time():
    points = np.array([[np.nan], [1.0], [np.nan], [np.nan], [4.0], [np.nan]])
    filled = fill_missing(points, ~np.isnan(points[:, 0]))
    assert filled[:, 0].tolist() == [1.0, 1.0, 1.0, 4.0, 4.0, 4.0]
    with pytest.raises(ValueError, match="no frame"):
        fill_missing(points, np.zeros(6, bool))
