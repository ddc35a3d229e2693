"""Test that the actor's motion is varied, bounded, and decided by the seed."""

import numpy as np
import pytest

from selfieavatar.demo_actor.head import EXPRESSIONS
from selfieavatar.demo_actor.motion import make_motion


@pytest.fixture(scope="module")
def takes():
    return make_motion(0, "train", 600, 25.0), make_motion(0, "test", 200, 25.0)


def test_motion_is_reproducible_and_differs_by_seed_and_take(takes):
    again = make_motion(0, "train", 600, 25.0)
    for name in ("expression", "gaze", "head_angles", "sway"):
        assert getattr(again, name).tobytes() == getattr(takes[0], name).tobytes()
    other = make_motion(1, "train", 600, 25.0)
    assert np.abs(other.head_angles - takes[0].head_angles).mean() > 0.05
    assert np.abs(takes[1].head_angles - takes[0].head_angles[:200]).mean() > 0.05
    assert np.abs(takes[1].expression - takes[0].expression[:200]).mean() > 0.02


@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_the_train_take_covers_all_expressions_and_poses(seed):
    motion = make_motion(seed, "train", 600, 25.0)
    column = {name: motion.expression[:, k] for k, name in enumerate(EXPRESSIONS)}
    assert motion.expression.min() >= 0 and motion.expression.max() <= 1
    for name in ("smile", "brow_raise", "brow_lower", "pucker", "jaw_open"):
        assert column[name].max() > 0.4, name
    assert (column["blink_left"] > 0.95).sum() >= 10
    assert (column["jaw_open"] < 0.02).mean() > 0.1
    yaw = np.degrees(motion.head_angles[:, 0])
    assert yaw.min() < -18 and yaw.max() > 18 and np.abs(yaw).max() <= 26
    assert np.degrees(np.abs(motion.head_angles[:, 1:])).max() < 15


def test_motion_is_continuous(takes):
    for motion in takes:
        assert np.degrees(np.abs(np.diff(motion.head_angles, axis=0))).max() < 6
        assert np.abs(np.diff(motion.sway, axis=0)).max() < 0.8


def test_one_frame_is_enough():
    motion = make_motion(3, "test", 1, 25.0)
    assert motion.expression.shape == (1, len(EXPRESSIONS)) and np.isfinite(motion.head_angles).all()


def test_rotations_are_rotations(takes):
    rotations = takes[0].rotations()
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(rotations), 1)
