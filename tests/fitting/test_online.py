"""The live fit against the offline fit and the truth."""

import numpy as np
import pytest

from selfieavatar.fitting.landmark_solver import SolverSettings, fit_landmarks
from selfieavatar.fitting.online import OnlineFit
from selfieavatar.fitting.smoothing import OneEuro
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers

COUNT = 60


@pytest.fixture(scope="module")
def clip():
    subject = makers.model()
    rotation, translation, expression = makers.movement(COUNT)
    look = np.stack([0.2 * np.sin(np.arange(COUNT) / 10), 0.1 * np.cos(np.arange(COUNT) / 8)], 1)
    points, _ = makers.landmarks(subject, rotation, translation, expression, look, noise_px=0.1)
    return subject, rotation, translation, expression, look, points


def follow(fit, points):
    return [fit.update(frame, number / 25) for number, frame in enumerate(points)]


def test_agrees_with_the_offline_fit(clip):
    subject, *_, points = clip
    span = makers.camera().focal_px * 9.0 / 90
    offline = fit_landmarks(
        subject, makers.camera(), points, ls.landmark_weights(), np.full(COUNT, span),
        settings=SolverSettings(temporal=0.0),
    )  # fmt: skip
    online = follow(OnlineFit(subject, makers.camera(), smooth=False), points)
    assert np.abs([o.rotation for o in online] - offline.rotation).max() < np.radians(0.2)
    assert np.abs([o.expression for o in online] - offline.expression).max() < 0.03


def test_smoothing_is_light_and_calms_a_still_face(clip):
    subject, rotation, translation, expression, look, points = clip
    moving = follow(OnlineFit(subject, makers.camera()), points)
    assert np.abs([o.rotation for o in moving] - rotation).max() < np.radians(3)
    assert np.median(np.abs([o.gaze for o in moving] - np.tile(look, 2))) < np.radians(2)
    still, _ = makers.landmarks(subject, *(np.repeat(v[:1], COUNT, 0) for v in (rotation, translation, expression)),
                                noise_px=0.3)  # fmt: skip
    wobble = [
        np.diff([o.rotation for o in follow(OnlineFit(subject, makers.camera(), smooth=s), still)], axis=0).std()
        for s in (True, False)
    ]
    assert wobble[0] < 0.5 * wobble[1]


def test_recovers_after_frames_without_a_face(clip):
    subject, rotation, *_, points = clip
    fit = OnlineFit(subject, makers.camera(), smooth=False)
    assert fit.update(points[0], 0.0) is not None
    assert fit.update(None, 0.1) is None
    assert fit.update(np.full_like(points[0], np.nan), 0.2) is None
    assert fit.update(np.random.default_rng(0).permutation(points[0]), 0.3) is None
    for number in (20, 21):
        found = fit.update(points[number], number / 25)
        assert np.abs(found.rotation - rotation[number]).max() < np.radians(1)


def test_a_jump_of_the_head_is_followed_at_once(clip):
    subject, rotation, translation, expression, *_ = clip
    turned = rotation[:2].copy()
    turned[1] += [0.2, 0.8, 0]
    points, _ = makers.landmarks(subject, turned, translation[:2] + [[0, 0, 0], [8, -4, 20]], expression[:2])
    found = follow(OnlineFit(subject, makers.camera(), smooth=False), points)
    assert np.abs(found[1].rotation - turned[1]).max() < np.radians(0.5)


def test_calibration_gives_the_drivers_neutral(clip):
    subject, rotation, translation, expression, *_ = clip
    rest = np.tile([0.2, 0.3, 0.4, -0.2], (30, 1))
    rest[10:13, 0] = 1.0  # a blink
    points, _ = makers.landmarks(subject, rotation[:30], translation[:30], rest, noise_px=0.1)
    fit = OnlineFit(subject, makers.camera(), smooth=False)
    neutral = fit.calibrate(points)
    np.testing.assert_allclose(neutral, rest[0], atol=0.05)
    np.testing.assert_allclose(fit.update(points[0], 0.0).expression, 0, atol=0.08)
    with pytest.raises(ValueError, match="no frame"):
        fit.calibrate(np.full_like(points[:3], np.nan))


def test_points_of_another_set_are_refused(clip):
    subject, *_ = clip
    with pytest.raises(ValueError, match="shape"):
        OnlineFit(subject, makers.camera()).update(np.zeros((68, 2)), 0.0)


def test_one_euro_follows_a_constant_and_calms_noise():
    filter_, rng = OneEuro(1.0, 0.0), np.random.default_rng(0)
    noisy = rng.normal(0, 1, 400)
    found = np.array([filter_.update(np.array([5 + v]), n / 25)[0] for n, v in enumerate(noisy)])
    assert found[100:].std() < 0.5 * noisy[100:].std() and abs(found[100:].mean() - 5) < 0.2
    filter_.reset()
    assert filter_.update(np.array([7.0]), 0.0)[0] == 7.0


def test_points_on_one_spot_and_a_mirrored_face_are_nobody(clip):
    subject, *_, points = clip
    fit = OnlineFit(subject, makers.camera(), smooth=False)
    assert fit.update(np.full_like(points[0], 30.0), 0.0) is None
    mirrored = points[0].copy()
    mirrored[:, 0] = 2 * makers.camera().principal[0] - mirrored[:, 0]
    assert fit.update(mirrored, 0.1) is None
