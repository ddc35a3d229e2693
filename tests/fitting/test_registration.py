"""Registration on the skin: a made-up head with a known texture, filmed under changing light, whose detector slides."""

import cv2
import numpy as np
import pytest

from selfieavatar.fitting import personal_model, registration
from selfieavatar.fitting.landmark_measures import mesh_inter_ocular_distance
from selfieavatar.fitting.landmark_solver import SolverSettings, fit_landmarks
from selfieavatar.fitting.online import OnlineFit
from selfieavatar.fitting.registration import Registration, SkinRegistration, register, shrink
from selfieavatar.geometry.camera import rotation_matrix, transform
from selfieavatar.morphable.landmark_sets import LEFT_EYE, RIGHT_EYE, landmark_weights
from tests.fitting import makers
from tests.fitting.filmed import video

FRAMES = 40


@pytest.fixture(scope="module")
def subject():
    """Model, motion, images, true points, and those of a detector that slides over the skin as the head turns."""
    model = makers.model()
    rotation, translation, expression = makers.movement(FRAMES)
    true, depth = makers.landmarks(model, rotation, translation, expression)
    turn = rotation_matrix(rotation)[:, 0, 2]
    detected = true.copy()
    side = np.sin(3 * np.pi * np.arange(468) / 468)
    detected[:, :468, 0] += 12.0 * turn[:, None] * (0.6 + 0.4 * side)
    pose = rotation, translation, expression
    return model, pose, video(model, *pose), true, detected, depth


def fitted(model, points):
    fit = fit_landmarks(
        model, makers.camera(), points, landmark_weights(), mesh_inter_ocular_distance(points), None,
        SolverSettings(temporal=0.0),
    )  # fmt: skip
    return fit, transform(model.vertices(fit.expression), fit.rotation, fit.translation)


def off(points: np.ndarray, true: np.ndarray) -> float:
    """Median distance, px, of the points of the skin, without what is the same in all frames."""
    offset = points[:, :468] - true[:, :468]
    return float(np.median(np.linalg.norm(offset - np.median(offset, axis=0), axis=2)))


def test_landmarks_go_back_to_their_skin(subject):
    model, pose, observations, true, detected, _ = subject
    reader = Registration(model, makers.camera(), makers.SIZE)
    surface = transform(model.vertices(pose[2]), *pose[:2])
    reference = reader.reference(reader.read(s, *p) for s, p in zip(surface, observations, strict=True))
    points = detected
    for _ in range(2):
        _, surface = fitted(model, points)
        points = register(model, makers.camera(), reference, surface, detected, observations.__getitem__)
    assert off(detected, true) > 0.5
    assert off(points, true) < 0.35 * off(detected, true)


def test_a_live_fit_is_corrected_frame_by_frame(subject):
    """Without a matte, and with no frame to come, pose and expression come nearer to the truth."""
    model, pose, observations, _, detected, _ = subject
    reader = Registration(model, makers.camera(), makers.SIZE)
    surface = transform(model.vertices(pose[2]), *pose[:2])
    reference = reader.reference(reader.read(s, *p) for s, p in zip(surface, observations, strict=True))
    skin = SkinRegistration(model, reference, makers.camera(), len(observations[0][0]))
    error = {}
    for name in ("detector", "skin"):
        fit, found = OnlineFit(model, makers.camera(), smooth=False), []
        for number, points in enumerate(detected):

            def correct(parameters, points=points, grey=observations[number][0]):
                return skin(points, parameters, grey)

            found.append(fit.update(points, number / 30, correct if name == "skin" else None))
        rotation, translation, expression = (
            np.stack([getattr(one, part) for one in found]) for part in ("rotation", "translation", "expression")
        )
        there = transform(model.vertices(expression), rotation, translation)
        away = makers.camera().project(there) - makers.camera().project(surface)
        error[name] = np.median(np.linalg.norm(away, axis=2))
    assert error["skin"] < 0.5 * error["detector"], error


def test_threads_do_not_change_the_points(subject):
    model, _, observations, _, detected, _ = subject
    _, surface = fitted(model, detected)
    reader = Registration(model, makers.camera(), makers.SIZE)
    reference = reader.reference(reader.read(s, *p) for s, p in zip(surface, observations, strict=True))
    alone, together = (
        register(model, makers.camera(), reference, surface, detected, observations.__getitem__, threads=n)
        for n in (1, 3)
    )
    np.testing.assert_array_equal(alone, together)


def test_eyes_move_as_a_whole_and_irises_not_at_all(subject):
    model, _, observations, _, detected, _ = subject
    _, surface = fitted(model, detected)
    reader = Registration(model, makers.camera(), makers.SIZE)
    reference = reader.reference(reader.read(s, *p) for s, p in zip(surface, observations, strict=True))
    points = register(model, makers.camera(), reference, surface, detected, observations.__getitem__)
    for ring in (list(LEFT_EYE), list(RIGHT_EYE)):
        change = points[:, ring] - detected[:, ring]
        np.testing.assert_allclose(change, np.broadcast_to(change.mean(1, keepdims=True), change.shape), atol=1e-9)
    np.testing.assert_array_equal(points[:, 468:], detected[:, 468:])


def test_what_shows_no_skin_stays_where_the_fit_has_it(subject):
    model, _, observations, _, detected, _ = subject
    _, surface = fitted(model, detected)
    empty = [(np.full_like(grey, 120), matte) for grey, matte in observations[:3]]
    hidden = [(grey, np.zeros_like(matte)) for grey, matte in observations[:3]]
    reader = Registration(model, makers.camera(), makers.SIZE)
    reference = reader.reference(reader.read(s, *p) for s, p in zip(surface, observations, strict=True))
    eyes = list(LEFT_EYE + RIGHT_EYE)
    skin_points = np.setdiff1d(np.arange(468), eyes)
    shown = makers.camera().project(surface[:3])
    covered = register(model, makers.camera(), reference, surface[:3], detected[:3], hidden.__getitem__)
    np.testing.assert_allclose(covered[:, skin_points], shown[:, skin_points], atol=1e-6)
    flat = register(model, makers.camera(), reference, surface[:3], detected[:3], empty.__getitem__)
    assert np.abs(flat[:, skin_points] - shown[:, skin_points]).max() < 0.03 * makers.SIZE
    assert np.isfinite(flat).all()


def test_lost_frames_stay_as_they_are(subject):
    model, _, observations, _, detected, _ = subject
    _, surface = fitted(model, detected[:4])
    surface[2], points = np.nan, detected[:4].copy()
    points[2] = np.nan
    reader = Registration(model, makers.camera(), makers.SIZE)
    reference = reader.reference([reader.read(surface[0], *observations[0])])
    moved = register(model, makers.camera(), reference, surface, points, observations.__getitem__)
    assert np.isnan(moved[2]).all() and np.isfinite(np.delete(moved, 2, 0)).all()


def test_a_matte_of_another_size_is_refused(subject):
    model, _, observations, _, detected, _ = subject
    _, surface = fitted(model, detected[:2])
    with pytest.raises(ValueError, match="matte"):
        register(model, makers.camera(), np.zeros((96, 96), np.uint8), surface, detected[:2],
                 lambda i: (observations[i][0], observations[i][1][::2, ::2]))  # fmt: skip


def test_what_covers_the_face_leaves_the_detector_its_word(subject):
    model, _, observations, _, detected, _ = subject
    _, surface = fitted(model, detected)
    reader = Registration(model, makers.camera(), makers.SIZE)
    reference = reader.reference(reader.read(s, *p) for s, p in zip(surface, observations, strict=True))
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, grey.shape, np.uint8) for grey, _ in observations[:6]]
    cover = [(cv2.GaussianBlur(n, (0, 0), 3), matte) for n, (_, matte) in zip(noise, observations, strict=False)]
    surely = surface[:6] + 0.3  # as if the fit were off: the points must not stay with it
    points = register(model, makers.camera(), reference, surely, detected[:6], cover.__getitem__)
    shown = makers.camera().project(surely)
    away = [np.linalg.norm(points[:, :468] - other[:, :468], axis=2) for other in (detected[:6], shown)]
    assert np.median(away[0]) < 0.25 * np.median(away[1])


def test_frames_without_landmarks_stay_without(subject):
    model, _, observations, _, detected, _ = subject
    _, surface = fitted(model, detected[:3])
    gone = detected[:3].copy()
    gone[1] = np.nan
    reader = Registration(model, makers.camera(), makers.SIZE)
    reference = reader.reference([reader.read(surface[0], *observations[0])])
    assert np.isnan(register(model, makers.camera(), reference, surface, gone, observations.__getitem__)[1]).all()


def test_derivatives_on_the_mesh_are_exact_for_planes():
    model = makers.model()
    reader = Registration(model, makers.camera(), makers.SIZE)
    u, v = reader.uv[0].T.astype(float)
    plane = 3.0 + 0.7 * u - 0.2 * v
    used = np.unique(model.tri[model.tri_part == 0])
    for derivative, wanted in zip(reader.along, (0.7, -0.2), strict=True):
        np.testing.assert_allclose((derivative @ plane)[used], wanted, atol=1e-3)


def test_model_and_reference_are_learnt_together(subject):
    _, _, observations, true, detected, depth = subject
    view = makers.camera()
    model, fit, used = personal_model.learn(detected, depth, view, 4, settings=SolverSettings())
    before = off(view.project(transform(model.vertices(fit.expression), fit.rotation, fit.translation)), true[used])
    blurred = registered_contrast(model, fit, observations)
    model, fit, reference = registration.learn(
        model, view, fit, detected[used], [observations[i] for i in used], SolverSettings()
    )
    after = off(view.project(transform(model.vertices(fit.expression), fit.rotation, fit.translation)), true[used])
    assert after < 0.6 * before
    assert reference.std() > 1.02 * blurred
    assert reference.dtype == np.uint8 and reference.shape == (registration.texture_side(makers.SIZE),) * 2


def test_frames_that_could_not_be_fitted_have_no_part_in_the_reference(subject):
    _, _, observations, _, detected, depth = subject
    model, fit, used = personal_model.learn(detected, depth, makers.camera(), 4, settings=SolverSettings())
    points, images = detected[used].copy(), [observations[i] for i in used]
    strange = np.arange(0, len(used), 4)
    points[strange] += np.random.default_rng(0).normal(scale=0.1 * makers.SIZE, size=points[strange].shape)
    for i in strange:
        images[i] = 255 - images[i][0], images[i][1]
    taken = (model, makers.camera(), fit, points, images, SolverSettings())
    assert registration.learn(*taken, max_error=0.06)[2].std() > 1.1 * registration.learn(*taken)[2].std()


def registered_contrast(model, fit, observations) -> float:
    reader = Registration(model, makers.camera(), makers.SIZE)
    surface = transform(model.vertices(fit.expression), fit.rotation, fit.translation)
    return reader.reference(reader.read(s, *p) for s, p in zip(surface, observations, strict=True)).std()


@pytest.mark.parametrize("side", [64, 128, 256, 512, 600, 1024])
def test_images_are_shrunk_to_a_bounded_size(side):
    grey = shrink(np.full((side, side, 3), 77, np.uint8))
    assert grey.shape[0] == grey.shape[1] <= registration.MOST_IMAGE_PX
    assert (grey == 77).all()
