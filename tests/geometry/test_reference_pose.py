"""Means and ranges of head poses: against SciPy, known poses and autoregressive noise of known correlation."""

import numpy as np
import pytest

from selfieavatar.geometry.camera import rotation_matrix, rotation_vector
from selfieavatar.geometry.reference_pose import (
    PoseRange,
    independent_count,
    mean_rotation,
    posed,
    reference_pose,
    relative_pose,
)


def test_mean_rotation_is_scipy_s():
    from scipy.spatial.transform import Rotation

    vectors = np.random.default_rng(0).normal(0, 0.5, (30, 3))
    np.testing.assert_allclose(mean_rotation(vectors), Rotation.from_rotvec(vectors).mean().as_rotvec(), atol=1e-9)


def test_poses_about_a_rest():
    rng = np.random.default_rng(2)
    rest = np.array([0.2, -0.1, 0.05, 1.0, -2.0, 90.0])
    rotation = rotation_vector(rotation_matrix(rng.normal(0, 0.1, (101, 3))) @ rotation_matrix(rest[:3]))
    translation = rest[3:] + rng.normal(0, 1, (101, 3))
    for found, wanted in zip(posed(relative_pose(rotation, translation, rest), rest), (rotation, translation),
                             strict=True):  # fmt: skip
        np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_allclose(reference_pose(rotation, translation)[:3], rest[:3], atol=0.05)
    seen = PoseRange.of(rotation, translation)
    assert (seen.low < 0).all() and (seen.high > 0).all() and seen.reference.shape == (6,)


def test_a_short_lively_clip_rests_facing_the_camera_a_steady_one_where_it_is():
    time = np.arange(200) / 25
    lively = np.stack([0.1 + 0 * time, 0.35 * np.sin(0.4 * time - 0.9), 0 * time], 1)
    steady = np.stack([0.1 + 0 * time, 0.7 + 0.01 * np.sin(9 * time), 0 * time], 1)
    place = np.tile([1.0, 2.0, 80.0], (200, 1))
    assert abs(reference_pose(lively, place)[1]) < 0.5 * abs(np.median(lively[:, 1]))
    np.testing.assert_allclose(reference_pose(steady, place), [0.1, 0.7, 0, 1, 2, 80], atol=0.01)


def test_independent_values_are_counted():
    noise = np.random.default_rng(0).normal(size=(4000, 1))
    slow = np.repeat(noise[:400], 10, axis=0)
    assert independent_count(noise)[0] == pytest.approx(4000, rel=0.2)
    assert independent_count(slow)[0] == pytest.approx(400, rel=0.3)
    assert independent_count(np.ones((5, 1)))[0] > 0
