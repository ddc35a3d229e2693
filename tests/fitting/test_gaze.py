"""Gaze and eyeballs from irises whose truth is known."""

import numpy as np
import pytest

from selfieavatar.fitting import gaze as gz
from selfieavatar.fitting.landmark_measures import lid_opening
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers


def made_up(frames=40):
    subject = makers.model()
    rotation, translation, _ = makers.movement(frames)
    time = np.arange(frames) / 25
    look = np.stack([0.3 * np.sin(2 * time), 0.15 * np.cos(3 * time)], 1)
    points, _ = makers.landmarks(subject, rotation, translation, np.zeros((frames, 4)), look)
    return subject, rotation, translation, look, points


def said(subject, points, rotation, translation):
    """Angles and weights of `gaze_angles`."""
    eyes = subject.eye_center, subject.eye_radius, subject.iris_radius
    return gz.gaze_angles(points, rotation, translation, makers.camera(), *eyes)


def held(frames, yaw=0.0, look=(0.0, 0.0)):
    """A made-up person with the head turned by `yaw` (rad) who looks in the direction `look` against the head."""
    subject = makers.model()
    rotation, translation = np.tile([0, yaw, 0.0], (frames, 1)), np.tile([0, 0, 90.0], (frames, 1))
    points, _ = makers.landmarks(subject, rotation, translation, np.zeros((frames, 4)), np.tile(look, (frames, 1)))
    return subject, rotation, translation, points


def test_angles_of_a_turning_head_are_found():
    subject, rotation, translation, look, points = made_up()
    found, weight = said(subject, points, rotation, translation)
    assert np.abs(found - np.tile(look, 2)).max() < np.radians(2)
    assert np.abs(gz.conjugate(found, weight) - np.tile(look, 2)).max() < np.radians(2.5)


def test_signs_yaw_right_and_pitch_down_in_the_image():
    subject, rotation, translation, points = held(2)
    points[1, 468:] += [1.0, 0.7]  # both irises move right and down
    angles, _ = said(subject, points, rotation, translation)
    assert (angles[1] > angles[0] + 0.02).all()


def test_closed_eyes_have_no_gaze():
    subject = makers.model()
    still, place, expression = np.zeros((5, 3)), np.tile([0, 0, 90.0], (5, 1)), np.zeros((5, 4))
    expression[2, 0] = 1.0
    points, _ = makers.landmarks(subject, still, place, expression)
    found, weight = said(subject, points, still, place)
    opening = lid_opening(points)
    assert opening[2].max() < opening[0].min()
    closed = opening[2] <= gz.CLOSED_SHARE * np.median(opening, axis=0)
    assert np.isnan(found[2].reshape(2, 2)).all(1).tolist() == closed.tolist()
    assert (weight[2].reshape(2, 2)[closed] == 0).all() and weight[[0, 1, 3, 4]].min() > 0.9
    assert np.isfinite(found[[0, 1, 3, 4]]).all()


def test_a_weight_tells_what_a_pixel_of_the_iris_is_worth():
    """An error of the iris' place makes an error of the angle that is larger by one over the root of the weight."""
    noise_px = 0.05
    errors, weights = [], []
    for yaw in (0.0, -0.35, -0.7):
        subject, rotation, translation, points = held(400, yaw, (0.35, 0.0))
        points[:, 468:] += np.random.default_rng(0).normal(0, noise_px, (400, 2))[:, None]
        found, weight = said(subject, points, rotation, translation)
        errors.append((found[:, 0] - 0.35).std())
        weights.append(np.median(weight[:, 0]))
    assert weights[0] > 2 * weights[2]
    np.testing.assert_allclose(np.array(errors) / errors[0], np.sqrt(weights[0] / np.array(weights)), rtol=0.1)


@pytest.mark.parametrize("yaw", [-0.6, 0.6])
def test_eyes_that_look_aside_in_a_turned_head_stay_believable(yaw):
    look = np.array([-0.7 * yaw, 0.0])  # further to the side to which the head is turned
    subject, rotation, translation, points = held(300, yaw, look)
    points[:, 468:] += np.random.default_rng(0).normal(0, 0.6, (300, 2, 1, 2)).repeat(5, 2).reshape(300, 10, 2)
    found, weight = said(subject, points, rotation, translation)
    better = gz.conjugate(found, weight)
    errors = [np.abs(v - np.tile(look, 2)) for v in (found, better)]
    assert np.abs(found).max() > np.radians(40), "the irises alone say what no eye does"
    seen = np.isfinite(better).all(1)
    assert seen.mean() > 0.8 and (np.abs(better[seen].reshape(-1, 2)) <= gz.RANGE + 1e-9).all()
    assert np.percentile(errors[1][seen], 90) < 0.7 * np.percentile(errors[0][seen], 90)


def test_half_closed_lids_count_less():
    subject = makers.model()
    still, place, expression = np.zeros((40, 3)), np.tile([0, 0, 90.0], (40, 1)), np.zeros((40, 4))
    expression[20, 0] = 0.4
    points, _ = makers.landmarks(subject, still, place, expression)
    points[20, 473:478] += [0, 3.0]  # the detector guesses the left iris behind the lids
    found, weight = said(subject, points, still, place)
    assert (0 < weight[20]).all() and weight[20].max() < 0.8 * weight[19].min()
    assert np.abs(gz.conjugate(found, weight)[20]).max() < 0.8 * np.abs(found[20]).max()


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
    common, squint = rng.normal(0, 0.15, (400, 2)), np.array([0.08, -0.02])
    true = np.concatenate([common + squint / 2, common - squint / 2], axis=1)
    noisy = true + rng.normal(0, 0.06, true.shape)
    better = gz.conjugate(noisy, np.ones((400, 4)))
    assert np.abs(better - true).mean() < 0.8 * np.abs(noisy - true).mean()
    np.testing.assert_allclose(np.median(better[:, :2] - better[:, 2:], axis=0), squint, atol=0.01)


def test_eyes_seen_badly_have_no_squint():
    apart = np.tile([0.2, 0.0, -0.4, 0.0], (50, 1))
    together = gz.conjugate(apart, np.tile([0.5, 0.5, 0.02, 0.5], (50, 1)))
    np.testing.assert_allclose(together[:, [0, 2]], 0.2, atol=0.06)


def test_a_hidden_eye_follows_the_other():
    angles = np.tile([0.1, 0.0, 0.06, 0.0], (200, 1))
    angles[1], angles[2] = [0.3, 0.1, np.nan, np.nan], np.nan
    turned = gz.conjugate(angles, np.ones((200, 4)))
    np.testing.assert_allclose(turned[1], [0.3, 0.1, 0.26, 0.1], atol=0.015)
    assert np.isnan(turned[2]).all()
    np.testing.assert_allclose(turned[[0, 3]], angles[[0, 3]], atol=0.003)
    assert np.isnan(gz.conjugate(np.full((3, 4), np.nan), np.ones((3, 4)))).all()


def test_no_eye_turns_further_than_eyes_do():
    angles = np.radians(np.tile([60.0, -45.0, 50.0, -50.0], (5, 1)))
    np.testing.assert_allclose(np.degrees(gz.conjugate(angles, np.ones((5, 4)))), np.tile([35.0, -28.0], (5, 2)))


def test_what_tells_less_than_a_guess_is_left_to_the_neighbours():
    weight = np.ones((3, 4))
    weight[1] = 0.01
    found = gz.conjugate(np.full((3, 4), 0.2), weight)
    assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()
