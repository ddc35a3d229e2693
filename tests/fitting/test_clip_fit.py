"""A whole clip: gaps, a stranger's face, a cut, noise."""

import numpy as np
import pytest

from selfieavatar.fitting.clip_fit import fit_clip
from selfieavatar.fitting.landmark_measures import lid_opening
from selfieavatar.geometry.camera import transform
from selfieavatar.settings.sections import Fit
from tests.fitting import makers


@pytest.fixture(scope="module")
def clip():
    subject = makers.model()
    rotation, translation, expression = makers.movement(120)
    points, _ = makers.landmarks(subject, rotation, translation, expression, noise_px=0.15)
    points[40:43] = np.nan  # a short gap
    points[60:75] = np.nan  # a long one
    points[90] = points[90][np.random.default_rng(0).permutation(478)]  # nothing like this face
    fit = fit_clip(subject, makers.camera(), points, np.arange(120) / 25, Fit())
    return subject, rotation, translation, expression, points, fit


def test_qualities(clip):
    *_, fit = clip
    assert (fit.quality[40:43] == "bridged").all() and fit.fitted[40:43].all()
    assert (fit.quality[60:75] == "lost").all() and not fit.fitted[60:75].any()
    assert fit.quality[90] == "bridged", "a frame that the model cannot explain is not trusted"
    assert (np.delete(fit.quality, [40, 41, 42, *range(60, 75), 90]) == "ok").all()
    assert np.isnan(fit.rotation[60:75]).all() and np.isnan(fit.gaze[60:75]).all() and np.isnan(fit.error[60:75]).all()
    assert np.isfinite(fit.gaze[fit.fitted]).all() and np.isfinite(fit.expression[fit.fitted]).all()


def test_coefficients_follow_the_truth(clip):
    _, rotation, translation, expression, _, fit = clip
    ok = fit.quality == "ok"
    assert np.abs(fit.rotation - rotation)[ok].max() < np.radians(1.5)
    assert np.abs(fit.translation - translation)[ok][:, :2].max() < 0.1
    assert np.median(fit.error[ok]) < 0.007


def test_blinks_keep_95_percent(clip):
    subject, rotation, translation, expression, _, fit = clip

    def opening(values):
        points = makers.camera().project(transform(subject.vertices(values), rotation, translation))
        return lid_opening(np.concatenate([points, np.zeros((len(points), 10, 2))], 1)).mean(1)

    peaks = np.flatnonzero((expression[:, 0] == 1) & (fit.quality == "ok"))
    zero = expression.copy()
    zero[:, 0] = 0
    mixed = expression.copy()
    mixed[:, 0] = np.nan_to_num(fit.expression[:, 0])
    kept = (opening(zero) - opening(mixed))[peaks] / (opening(zero) - opening(expression))[peaks]
    assert kept.mean() >= 0.95


def test_a_cut_is_not_smoothed_over():
    subject = makers.model()
    rotation, translation, expression = makers.movement(60)
    rotation, translation, expression = (np.array(v) for v in (rotation, translation, expression))
    translation[30:, 0] += 6
    points, _ = makers.landmarks(subject, rotation, translation, expression, noise_px=0.1)
    fit = fit_clip(subject, makers.camera(), points, np.arange(60) / 25, Fit())
    assert np.flatnonzero(fit.cuts).tolist() == [29]
    assert np.abs(fit.translation - translation)[28:32, 0].max() < 0.1


def test_a_still_face_is_at_least_twice_as_calm_as_the_detector():
    subject = makers.model()
    still = [np.repeat(values[:1], 80, axis=0) for values in makers.movement(1)]
    points, _ = makers.landmarks(subject, *still, noise_px=0.3)
    fit = fit_clip(subject, makers.camera(), points, np.arange(80) / 25, Fit())
    shown = makers.camera().project(transform(subject.vertices(fit.expression), fit.rotation, fit.translation))
    bends = [np.diff(values, n=2, axis=0).std() for values in (shown, points[:, :468])]
    assert bends[0] < 0.5 * bends[1]


def test_mouth_and_yaw_do_not_lag():
    subject = makers.model()
    rotation, translation, expression = makers.movement(100, seed=3)
    assert np.ptp(expression[:, 1]) > 0.9, "it speaks"
    points, _ = makers.landmarks(subject, rotation, translation, expression, noise_px=0.15)
    fit = fit_clip(subject, makers.camera(), points, np.arange(100) / 25, Fit())
    shown = makers.camera().project(transform(subject.vertices(fit.expression), fit.rotation, fit.translation))
    for value in (lambda p: np.linalg.norm(p[:, 13] - p[:, 14], axis=1), lambda p: p[:, 4, 0] - p[:, 33, 0]):
        before, after = np.diff(value(points)), np.diff(value(shown))
        agreement = [np.sum(before[5:-5] * after[5 + k : len(after) - 5 + k]) for k in range(-4, 5)]
        assert np.argmax(agreement) == 4
