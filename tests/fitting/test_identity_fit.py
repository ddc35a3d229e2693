"""Identity, focal length and bounded expressions against a made-up person whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from selfieavatar.fitting.identity_fit import fit_identity
from selfieavatar.fitting.landmark_solver import SolverSettings, fit_landmarks
from selfieavatar.geometry.camera import Camera, transform
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers

TRUE = np.array([1.2, -0.8, 0.9, -1.1])


def published():
    """The made-up face as a blendshape model with four ways to differ: width, length, a long nose, wide eyes."""
    subject = makers.model()
    shape = subject.template
    nose = np.exp(-((shape - shape[ls.NOSE_TIP]) ** 2).sum(1) / 4)
    eyes = np.exp(-((np.abs(shape[:, 0]) - 3.2) ** 2 + shape[:, 1] ** 2) / 2) * np.sign(shape[:, 0])
    basis = np.zeros((4, *shape.shape))
    basis[0, :, 0], basis[1, :, 1], basis[2, :, 2], basis[3, :, 0] = shape[:, 0] * 0.06, shape[:, 1] * 0.06, -nose, eyes
    basis[3] *= 0.3
    return replace(
        subject, identity_basis=basis, identity_scale=np.ones(4), expression_low=np.zeros(4), expression_high=np.ones(4)
    )


def video(model, count=60, focal=1.6, depth=45.0):
    """Points of a person close to the camera, and their truth."""
    camera = Camera.default(makers.SIZE, focal)
    rotation, translation, expression = makers.movement(count)
    translation = translation * [1, 1, 0] + [0, 0, depth] + 0.12 * (translation - [0, 0, 90]) * [0, 0, depth]
    expression = np.clip(expression, 0, 1)
    person = model.with_identity(TRUE)
    pixels = camera.project(transform(person.vertices(expression), rotation, translation))
    pixels = pixels + np.random.default_rng(0).normal(0, 0.1, pixels.shape)
    points = np.concatenate([pixels, np.zeros((count, 10, 2))], 1)
    return camera, person, points, rotation, expression


def span_of(points):
    return np.full(len(points), np.median(np.linalg.norm(points[:, 33] - points[:, 263], axis=1)))


def test_identity_pose_and_expression_are_found():
    model = published()
    camera, person, points, rotation, expression = video(model)
    settings = SolverSettings(prior=1e-3)
    found = fit_identity(model, camera, points, np.ones(478), span_of(points), settings)
    np.testing.assert_allclose(found.identity, TRUE, atol=0.15)
    np.testing.assert_allclose(found.model.template, person.template, atol=0.1)
    assert found.model.identity_basis is None and found.camera == camera
    assert np.abs(found.fit.rotation - rotation).max() < np.radians(1.5)
    assert np.abs(found.fit.expression - expression).max() < 0.15
    assert found.fit.expression.min() >= 0 and found.fit.expression.max() <= 1


def test_perspective_of_a_close_head_gives_the_focal_length():
    model = published()
    camera, *_, points, _, _ = video(model)
    wrong = Camera.default(makers.SIZE, 2.5)
    settings = SolverSettings(prior=1e-3)
    estimated, fixed = (
        fit_identity(model, wrong, points, np.ones(478), span_of(points), settings, spread) for spread in (1.0, 0.0)
    )
    assert abs(estimated.camera.focal_px / camera.focal_px - 1) < 0.05
    assert fixed.camera.focal_px == wrong.focal_px
    assert np.median(estimated.fit.error) < np.median(fixed.fit.error)


def test_bounded_expressions_stay_within_their_limits_in_a_clip():
    model = published().with_identity(TRUE)
    rotation, translation, expression = makers.movement(40)
    expression = expression * 1.5 - 0.25  # partly beyond the limits
    points, _ = makers.landmarks(model, rotation, translation, expression, noise_px=0.2)
    fit = fit_landmarks(model, makers.camera(), points, ls.landmark_weights(), span_of(points))
    assert fit.expression.min() >= 0 and fit.expression.max() <= 1
    within = (expression > 0.1) & (expression < 0.9)
    assert np.median(np.abs(fit.expression - expression)[within]) < 0.05


def test_what_cannot_be_fitted_is_said():
    model = published()
    camera, _, points, *_ = video(model, 3)
    with pytest.raises(ValueError, match="identity space"):
        fit_identity(makers.model(), camera, points, np.ones(478), span_of(points))
    with pytest.raises(ValueError, match="landmarks"):
        fit_identity(model, camera, points * np.nan, np.ones(478), span_of(points))
