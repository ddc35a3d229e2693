"""Gaze and eyeballs from irises whose truth is known."""

import numpy as np

from stages.face import gaze as gz
from stages.face import landmark_sets as ls
from tests.face import makers


def made_up(frames=40):
    subject = makers.model()
    rotation, translation, _ = makers.movement(frames)
    time = np.arange(frames) / 25
    look = np.stack([0.3 * np.sin(2 * time), 0.15 * np.cos(3 * time)], 1)
    points, _ = makers.landmarks(subject, rotation, translation, np.zeros((frames, 4)), look)
    return subject, rotation, translation, look, points


def test_angles_of_a_turning_head_are_found():
    subject, rotation, translation, look, points = made_up()
    found = gz.gaze_angles(
        points, rotation, translation, makers.camera(), subject.eye_center, subject.eye_radius, subject.iris_radius
    )
    assert np.abs(found - np.tile(look, 2)).max() < np.radians(2)


def test_signs_yaw_right_and_pitch_down_in_the_picture():
    subject = makers.model()
    still, place = np.zeros((2, 3)), np.tile([0, 0, 90.0], (2, 1))
    points, _ = makers.landmarks(subject, still, place, np.zeros((2, 4)))
    points[1, 468:] += [1.0, 0.7]  # both irises move right and down
    angles = gz.gaze_angles(
        points, still, place, makers.camera(), subject.eye_center, subject.eye_radius, subject.iris_radius
    )
    assert (angles[1] > angles[0] + 0.02).all()


def test_closed_eyes_have_no_gaze():
    subject = makers.model()
    still, place, expression = np.zeros((5, 3)), np.tile([0, 0, 90.0], (5, 1)), np.zeros((5, 4))
    expression[2, 0] = 1.0
    points, _ = makers.landmarks(subject, still, place, expression)
    found = gz.gaze_angles(
        points, still, place, makers.camera(), subject.eye_center, subject.eye_radius, subject.iris_radius
    )
    opening = gz.eye_opening(points)
    assert opening[2].max() < opening[0].min()
    closed = opening[2] <= gz.CLOSED_SHARE * np.median(opening, axis=0)
    assert np.isnan(found[2].reshape(2, 2)).all(1).tolist() == closed.tolist()
    assert np.isfinite(found[[0, 1, 3, 4]]).all()


def test_eyeballs_lie_behind_the_usual_place_of_the_iris():
    subject, rotation, translation, _, points = made_up(80)
    corner = subject.template
    corners = corner[[[ls.LEFT_OUTER_CORNER, ls.LEFT_INNER_CORNER], [ls.RIGHT_OUTER_CORNER, ls.RIGHT_INNER_CORNER]]]
    centre, radius, iris = gz.estimate_eyes(points, rotation, translation, makers.camera(), corners)
    assert abs(iris / subject.iris_radius - 1) < 0.1
    assert np.abs(radius / 1.2 - 1).max() < 0.1
    assert np.abs(centre - subject.eye_center)[:, :2].max() < 0.25
    assert centre[0, 0] > 0 > centre[1, 0]


def test_both_eyes_share_their_noise_and_keep_their_usual_difference():
    rng = np.random.default_rng(0)
    common, squint = rng.normal(0, 0.2, (400, 2)), np.array([0.08, -0.02])
    true = np.concatenate([common + squint / 2, common - squint / 2], axis=1)
    noisy = true + rng.normal(0, 0.06, true.shape)
    better = gz.conjugate(noisy)
    assert np.abs(better - true).mean() < 0.8 * np.abs(noisy - true).mean()
    np.testing.assert_allclose(np.median(better[:, :2] - better[:, 2:], axis=0), squint, atol=0.01)


def test_a_hidden_eye_follows_the_other():
    angles = np.array([[0.1, 0.0, 0.06, 0.0], [0.3, 0.1, np.nan, np.nan], [np.nan] * 4, [0.2, 0.0, 0.16, 0.0]])
    turned = gz.conjugate(angles)
    np.testing.assert_allclose(turned[1], [0.3, 0.1, 0.26, 0.1], atol=1e-9)
    assert np.isnan(turned[2]).all()
    np.testing.assert_allclose(turned[[0, 3]], angles[[0, 3]], atol=1e-9)
    assert np.isnan(gz.conjugate(np.full((3, 4), np.nan))).all()
