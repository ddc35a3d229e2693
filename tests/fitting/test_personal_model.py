"""The personal model learnt from made-up clips whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from selfieavatar.fitting import eyelids, personal_model
from selfieavatar.fitting.landmark_measures import mesh_inter_ocular_distance
from selfieavatar.fitting.landmark_solver import SolverSettings, fit_landmarks
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable import uv_layout
from selfieavatar.morphable.model import MorphableModel
from tests.fitting import makers


@pytest.fixture(scope="module")
def learnt():
    subject = makers.model()
    rotation, translation, expression = makers.movement(150)
    points, depth = makers.landmarks(subject, rotation, translation, expression, noise_px=0.15)
    model, fit, used = personal_model.learn(points[:120], depth[:120], makers.camera(), components=8)
    return subject, model, fit, used, points


def test_template_has_the_subjects_shape(learnt):
    subject, model, _, _, _ = learnt
    assert abs(np.linalg.norm(model.template[33] - model.template[263]) - 9.0) < 1e-4
    apart = model.template - subject.template
    apart -= np.median(apart, axis=0)
    assert np.abs(apart[:, :2]).mean() < 0.15
    assert np.corrcoef(model.template[:, 2], subject.template[:, 2])[0, 1] > 0.97


def test_template_is_neutral(learnt):
    _, model, _, _, _ = learnt
    lips = np.linalg.norm(model.template[ls.UPPER_LIP] - model.template[ls.LOWER_LIP])
    widest = np.linalg.norm(
        model.vertices(np.eye(model.expression_count) * model.expression_high)[:, ls.UPPER_LIP]
        - model.vertices(np.eye(model.expression_count) * model.expression_high)[:, ls.LOWER_LIP],
        axis=1,
    ).max()
    assert lips < widest
    assert (model.expression_low <= 0.5).all() and (model.expression_high >= -0.5).all()


def test_new_frames_are_explained(learnt):
    _, model, _, _, points = learnt
    span = mesh_inter_ocular_distance(points)
    fit = fit_landmarks(model, makers.camera(), points, ls.landmark_weights(), span, settings=SolverSettings())
    assert np.median(fit.error[120:]) < 0.006
    assert np.median(np.linalg.norm(points[:, 33] - points[:, 263], axis=1)) * 0.006 < 0.5  # that is sub-pixel


def test_all_of_the_contract_is_there(learnt):
    _, model, fit, used, _ = learnt
    assert model.template.shape == (468, 3) and model.expression_count <= 8
    assert (uv_layout.signed_areas(model.uv, model.tri) < 0).all() or (
        uv_layout.signed_areas(model.uv, model.tri) > 0
    ).all()
    assert len(fit.error) == len(used)
    assert (model.expression_scale > 0).all() and (model.expression_low <= model.expression_high).all()
    assert model.eye_center[0, 0] > 0 > model.eye_center[1, 0]
    arrays = model.to_arrays()
    assert all(value.dtype != np.float64 for value in arrays.values())
    again = MorphableModel.from_arrays(arrays)
    np.testing.assert_array_equal(again.template, model.template)
    assert again.name == "facemesh"


@pytest.mark.parametrize("frames", [1, 5])
def test_tiny_clips_give_a_small_but_sane_model(frames):
    subject = makers.model()
    rotation, translation, expression = makers.movement(frames)
    points, depth = makers.landmarks(subject, rotation, translation, expression, noise_px=0.1)
    model, fit, _ = personal_model.learn(points, depth, makers.camera())
    assert 1 <= model.expression_count <= frames
    assert all(np.isfinite(value).all() for key, value in model.to_arrays().items() if key != "model")
    assert np.median(fit.error) < 0.02
    assert np.abs(model.template[ls.CHIN] - subject.template[ls.CHIN]).max() < 3


def blinking():
    """The made-up subject, whose coefficient 0 lays the upper lids on the lower ones; the skin fades out above."""
    subject = makers.model()
    basis, shape = subject.expression_basis.copy(), subject.template
    basis[0] = 0
    for ring in (ls.LEFT_EYE, ls.RIGHT_EYE):
        lower, upper = list(ring[1:8]), list(ring[:8:-1])
        apart = np.linalg.norm(shape[:, None] - shape[upper], axis=2)
        nearest, above = apart.argmin(1), shape[:, 1] <= shape[upper, 1].max()
        share = np.where(above, np.exp(-((apart.min(1) / 0.35) ** 2)), 0.0)
        share[list(ring)] = np.isin(ring, upper)
        basis[0] += 0.95 * share[:, None] * (shape[lower] - shape[upper])[nearest]
    return replace(subject, expression_basis=basis)


def lids_learnt(expression):
    """The model of 120 frames of the blinking subject with these coefficients, and how far from the truth its lids are
    where they are shut in other frames, as a share of their usual opening."""
    subject = blinking()
    rotation, translation, all_of_them = makers.movement(120)
    points, depth = makers.landmarks(subject, rotation, translation, expression, noise_px=0.15)
    model, _, _ = personal_model.learn(points, depth, makers.camera())
    shown, _ = makers.landmarks(subject, rotation, translation, all_of_them, noise_px=0.15)
    fit = fit_landmarks(model, makers.camera(), shown, ls.landmark_weights(), mesh_inter_ocular_distance(shown))
    shape, shut, errors = model.vertices(fit.expression), all_of_them[:, 0] == 1, []
    for lids in (ls.LEFT_LIDS, ls.RIGHT_LIDS):
        opening = np.mean([np.linalg.norm(shape[:, up] - shape[:, low], axis=1) for up, low in lids], axis=0)
        true = np.mean([np.linalg.norm(shown[:, up] - shown[:, low], axis=1) for up, low in lids], axis=0)
        opening, true = (values / np.median(values) for values in (opening, true))
        assert true[shut].max() < 0.5
        errors.append(np.abs(opening - true)[shut].max())
    return model, max(errors)


def general_lids(model):
    """Components that are the general closing lid of one eye."""
    left = eyelids.closing_lid(model.template)
    rows = np.stack([left, left[ls.mirror_pairs()] * [-1, 1, 1]]).reshape(2, -1)
    basis = model.expression_basis.reshape(model.expression_count, -1)
    alike = basis @ rows.T / np.linalg.norm(basis, axis=1)[:, None] / np.linalg.norm(rows, axis=1)
    return np.flatnonzero(np.abs(alike).max(1) > 0.99).tolist()


def test_lids_close_in_a_model_that_never_saw_a_blink():
    model, error = lids_learnt(makers.movement(120)[2] * [0, 1, 1, 1])
    assert error < 0.25 and general_lids(model) == [model.expression_count - 2, model.expression_count - 1]


def test_a_closing_lid_moves_nothing_but_itself_and_the_skin_above():
    shape = makers.template()
    offsets = eyelids.closing_lid(shape)
    closed = shape + offsets
    for up, low in ls.LEFT_LIDS:
        np.testing.assert_allclose(closed[up], closed[low], atol=1e-12)
    still = [*ls.RIGHT_EYE, *ls.RIGHT_BROW, *ls.LEFT_EYE[:9], *ls.OVAL, *ls.NOSE, *ls.LIPS_OUTER, *ls.RIGID]
    assert np.abs(offsets[still]).max() == 0
    longest = np.linalg.norm(offsets, axis=1)
    assert longest.argmax() in ls.LEFT_EYE and 20 < (longest > 0).sum() < 60


def test_people_who_blink_close_their_eyes_in_their_own_way():
    model, error = lids_learnt(makers.movement(120)[2])
    assert model.expression_count >= 8, "two components could have been spared"
    assert error < 0.25 and general_lids(model) == []


def test_alignment_undoes_similarities():
    rng, shape = np.random.default_rng(0), makers.template()
    rotation, _, _ = makers.movement(20)
    from selfieavatar.geometry.camera import rotation_matrix

    moved = rng.uniform(5, 20, (20, 1, 1)) * (shape @ np.swapaxes(rotation_matrix(rotation), 1, 2)) + rng.normal(
        0, 50, (20, 1, 3)
    )
    aligned, centre = personal_model.align_shapes(moved)
    assert np.abs(aligned - centre).max() < 1e-6
    assert abs(np.linalg.norm(centre[33] - centre[263]) - 9) < 1e-9
    assert np.abs(centre[ls.mirror_pairs()] * [-1, 1, 1] - centre).mean() < 0.1  # upright: its own mirror image


def test_diverse_frames_keep_the_odd_one():
    features = np.zeros((1000, 3))
    features[777] = 5
    chosen = personal_model.diverse_frames(features, 50)
    assert 777 in chosen and len(chosen) == 50 and len(np.unique(chosen)) <= 50
    np.testing.assert_array_equal(personal_model.diverse_frames(features[:10], 50), np.arange(10))
