"""What the head tells of the torso: a known linear map is found again, and where there is none it is the median."""

import numpy as np
import pytest

from selfieavatar.fitting.torso_motion import PENALTIES, _ridge, learn_torso_motion

FRAMES = 400


def head(seed=0, count=FRAMES):
    """A head that moves slowly: rotations (N, 3) rad, translations (N, 3) cm."""
    rng, time = np.random.default_rng(seed), np.arange(count)
    waves = np.sin(time[:, None] / rng.uniform(8, 40, 6) + rng.uniform(0, 6, 6))
    return 0.2 * waves[:, :3], [0, -5, 90] + waves[:, 3:] * [3, 2, 4]


def test_a_linear_map_is_found_and_unknown_shifts_are_passed_over():
    rotation, translation = head()
    slopes = np.random.default_rng(1).normal(size=(6, 2)) * np.repeat([0.05, 0.004], 3)[:, None]
    shift = np.concatenate([rotation, translation - [0, -5, 90]], 1) @ slopes + [0.01, -0.02]
    shift[50:80] = np.nan
    motion = learn_torso_motion(rotation, translation, shift + np.random.default_rng(2).normal(0, 1e-4, shift.shape))
    known = np.isfinite(shift).all(1)
    found = motion.shift(rotation, translation)
    assert np.abs(found - shift)[known].mean() < 1e-3 and np.isfinite(found).all()


def test_without_a_relation_it_is_the_median():
    rotation, translation = head()
    shift = np.cumsum(np.random.default_rng(3).normal(0, 1e-3, (FRAMES, 2)), axis=0)  # wanders for itself
    motion = learn_torso_motion(rotation[:, [0, 1, 2]], translation, shift)
    errors = np.square(motion.shift(*head(seed=9)) - np.median(shift, axis=0)).mean()
    assert errors < 1.01 * np.square(shift - np.median(shift, axis=0)).mean()
    noise = np.random.default_rng(4).normal(0.03, 0.01, (FRAMES, 2))
    flat = learn_torso_motion(rotation, translation, noise)
    np.testing.assert_allclose(flat.shift(*head(seed=9)), np.tile(np.median(noise, axis=0), (FRAMES, 1)), atol=1e-6)


def test_a_prediction_stays_within_what_was_seen():
    rotation, translation = head()
    motion = learn_torso_motion(rotation, translation, translation[:, :2] / 100)
    far = motion.shift(rotation[:1], translation[:1] + [500, -500, 0])
    np.testing.assert_allclose(far[0], [motion.high[0], motion.low[1]])


def test_few_frames_give_the_median_and_none_nothing():
    rotation, translation = head(count=9)
    shift = translation[:, :2] / 100
    np.testing.assert_allclose(
        learn_torso_motion(rotation, translation, shift).shift(rotation, translation),
        np.tile(np.median(shift, axis=0), (9, 1)), atol=1e-6,
    )  # fmt: skip
    assert learn_torso_motion(rotation, translation, np.full((9, 2), np.nan)) is None


@pytest.mark.parametrize("penalty", PENALTIES)
def test_ridge_is_that_of_augmented_least_squares(penalty):
    rng = np.random.default_rng(5)
    inputs, values = rng.normal(size=(60, 6)), rng.normal(size=60)
    constant, slopes = _ridge(inputs, values, penalty)
    rows = np.concatenate([inputs - inputs.mean(0), np.sqrt(penalty * 60) * np.eye(6)])
    wanted = np.linalg.lstsq(rows, np.concatenate([values - values.mean(), np.zeros(6)]), rcond=None)[0]
    np.testing.assert_allclose(slopes, wanted, atol=1e-10)
    assert constant == pytest.approx(values.mean() - inputs.mean(0) @ wanted)
