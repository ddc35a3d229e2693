"""The fit against synthetic truth, OpenCV's pose and finite differences."""

import time
import tracemalloc

import cv2
import numpy as np
import pytest

from selfieavatar.fitting import landmark_energy, landmark_solver
from selfieavatar.fitting.landmark_energy import LandmarkEnergy
from selfieavatar.fitting.landmark_solver import SolverSettings, fit_landmarks, initial_pose
from selfieavatar.geometry.camera import rotation_matrix, transform
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers


@pytest.fixture(scope="module")
def subject():
    return makers.model()


def span_of(points):
    return np.full(len(points), np.linalg.norm(points[0, 33] - points[0, 263]))


def turned(first, second):
    """(N,) angle in degrees between rotations."""
    relative = np.swapaxes(rotation_matrix(first), 1, 2) @ rotation_matrix(second)
    return np.degrees(np.arccos(np.clip((np.trace(relative, axis1=1, axis2=2) - 1) / 2, -1, 1)))


def test_recovers_pose_and_expression_of_clean_landmarks(subject):
    rotation, translation, expression = makers.movement(60)
    points, _ = makers.landmarks(subject, rotation, translation, expression)
    settings = SolverSettings(temporal=0, prior=1e-4, iterations=25, tolerance=1e-6)
    fit = fit_landmarks(subject, makers.camera(), points, ls.landmark_weights(), span_of(points), settings=settings)
    assert turned(fit.rotation, rotation).max() < 0.05
    assert np.abs(fit.translation - translation).max() < 0.05
    assert np.abs(fit.expression - expression).max() < 0.02
    assert np.nanmax(fit.error) < 1e-4


def test_pose_agrees_with_solvepnp_on_a_stiff_face(subject):
    rotation, translation, _ = makers.movement(12)
    still = np.zeros((12, 4))
    points, _ = makers.landmarks(subject, rotation, translation, still, noise_px=0.3)
    settings = SolverSettings(temporal=0, prior=1e6)
    fit = fit_landmarks(subject, makers.camera(), points, np.ones(478), span_of(points), settings=settings)
    view = makers.camera()
    matrix = np.array([[view.focal_px, 0, view.principal[0]], [0, view.focal_px, view.principal[1]], [0, 0, 1]])
    theirs = np.array([np.ravel(cv2.solvePnP(subject.template, frame[:468], matrix, None)[1]) for frame in points])
    assert turned(fit.rotation, theirs).max() < 0.2


def energy_of(subject, points, **more):
    points, weights = points[:, :468], ls.landmark_weights()[:468] / 468
    return LandmarkEnergy(
        subject.template, subject.expression_basis, makers.camera(), points, weights, span_of(points), 0.006, 60.0,
        **more,
    )  # fmt: skip


def test_gradient_is_that_of_the_cost(subject):
    rotation, translation, expression = makers.movement(4)
    points, _ = makers.landmarks(subject, rotation, translation, expression, noise_px=0.1)
    energy, rows = energy_of(subject, points, dtype=np.float64), np.arange(4)
    energy.robust_scale = 1e6  # least squares: the turning point of the robust cost depends on the residuals themselves
    parameters = np.concatenate([rotation, translation, expression], 1) + 0.01
    _, gradient = energy.normal_equations(parameters, rows)
    for column in range(parameters.shape[1]):
        step = np.zeros_like(parameters)
        step[:, column] = 1e-5
        numeric = (energy.cost(parameters + step, rows) - energy.cost(parameters - step, rows)) / 2e-5
        np.testing.assert_allclose(2 * gradient[:, column], numeric, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("packed", [True, False])
def test_hessian_is_that_of_the_numeric_jacobian(subject, packed, monkeypatch):
    monkeypatch.setattr(landmark_energy, "_FEW", 0 if packed else 10)
    rotation, translation, expression = makers.movement(3)
    points, _ = makers.landmarks(subject, rotation, translation, expression)
    energy, rows = energy_of(subject, points), np.arange(3)
    energy.robust_scale = 1e6
    parameters = np.concatenate([rotation, translation, expression], 1)
    hessian, _ = energy.normal_equations(parameters, rows)
    columns = []
    for column in range(parameters.shape[1]):
        step = np.zeros_like(parameters)
        step[:, column] = 1e-4
        ahead, behind = (
            makers.camera().project(transform(subject.vertices(p[:, 6:]), p[:, :3], p[:, 3:6]))
            for p in (parameters + step, parameters - step)
        )
        columns.append((ahead - behind) / 2e-4)
    weights = 60 * energy.weights / (0.006 * span_of(points)[:, None]) ** 2
    expected = np.einsum("anmc,bnmc,nm->nab", columns, columns, weights)
    np.testing.assert_allclose(hessian, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_start_is_near_enough_even_for_turned_heads(subject):
    rotation, translation, _ = makers.movement(50)
    points, _ = makers.landmarks(subject, rotation, translation, np.zeros((50, 4)))
    first, place = initial_pose(subject.template, points[:, :468], np.ones(468), makers.camera())
    assert turned(first, rotation).max() < 8
    assert np.abs(place[:, 2] / translation[:, 2] - 1).max() < 0.08


def test_outliers_do_not_pull_the_pose(subject):
    rotation, translation, expression = makers.movement(10)
    points, _ = makers.landmarks(subject, rotation, translation, expression)
    points[:, 200:230] += 40  # a hand in front of a cheek
    settings = SolverSettings(temporal=0, iterations=25)
    fit = fit_landmarks(subject, makers.camera(), points, ls.landmark_weights(), span_of(points), settings=settings)
    assert turned(fit.rotation, rotation).max() < 0.5


def test_temporal_term_calms_noise_but_not_across_a_cut(subject):
    rotation, translation, expression = makers.movement(60)
    rotation[30:, 1] += 0.5
    points, _ = makers.landmarks(subject, rotation, translation, expression, noise_px=1.0)
    linked = np.ones(59, bool)
    linked[29] = False
    weights, span = ls.landmark_weights(), span_of(points)
    free, tied = (
        fit_landmarks(subject, makers.camera(), points, weights, span, linked, SolverSettings(temporal=t))
        for t in (0.0, 1.0)
    )
    wobble = [np.diff(fit.rotation, n=2, axis=0)[:27].std() for fit in (free, tied)]
    assert wobble[1] < 0.8 * wobble[0]
    assert turned(tied.rotation, rotation)[29:31].max() < 1.0


def test_frames_without_landmarks_stay_empty(subject):
    rotation, translation, expression = makers.movement(8)
    points, _ = makers.landmarks(subject, rotation, translation, expression)
    span = span_of(points)
    points[3] = np.nan
    fit = fit_landmarks(subject, makers.camera(), points, ls.landmark_weights(), span)
    assert np.isnan(fit.rotation[3]).all() and np.isnan(fit.error[3])
    assert np.isfinite(np.delete(fit.rotation, 3, axis=0)).all()
    nothing = fit_landmarks(subject, makers.camera(), np.full_like(points, np.nan), ls.landmark_weights(), span)
    assert np.isnan(nothing.rotation).all()


@pytest.mark.slow
def test_cost_is_linear_in_the_frames(subject):
    used = []
    for count in (100, 400):
        rotation, translation, expression = makers.movement(count)
        points, _ = makers.landmarks(subject, rotation, translation, expression, noise_px=0.5)
        begin = time.process_time()
        fit_landmarks(subject, makers.camera(), points, ls.landmark_weights(), span_of(points))
        used.append(time.process_time() - begin)
    assert used[1] < 8 * used[0]


def test_frames_solved_in_blocks_give_what_all_together_give(subject, monkeypatch):
    rotation, translation, expression = makers.movement(200)
    points, _ = makers.landmarks(subject, rotation, translation, expression)
    points = points + np.random.default_rng(0).normal(size=points.shape) * 0.3
    points[50:53] = np.nan
    fits = []
    for block in (1000, 40):
        monkeypatch.setattr(landmark_solver, "BLOCK", block)
        monkeypatch.setattr(landmark_solver, "_FRAMES_IN_VIEW", block)
        fits.append(fit_landmarks(subject, makers.camera(), points, ls.landmark_weights(), span_of(points)))
    for name in ("rotation", "translation", "expression", "error"):
        np.testing.assert_allclose(getattr(fits[1], name), getattr(fits[0], name), atol=1e-6)


def test_memory_hardly_grows_with_the_clip(subject):
    peaks = []
    for count in (600, 1600):
        points, _ = makers.landmarks(subject, *makers.movement(count))
        points = points.astype(np.float32)
        tracemalloc.start()
        fit_landmarks(subject, makers.camera(), points, ls.landmark_weights(), span_of(points))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A frame's landmarks themselves are 4 kB.
    assert (peaks[1] - peaks[0]) / 1000 < 20_000
