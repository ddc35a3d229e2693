"""Distances of re-tracked faces, on made-up faces whose truth is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selfieavatar.detection.landmarks import Detection
from selfieavatar.evaluation.retrack import (
    FOLLOWING,
    METRICS,
    Retracking,
    Tracker,
    expression_distance,
    fit_points,
    following,
    jitter,
    keypoint_distance,
    pose_distance_deg,
)
from selfieavatar.fitting.landmark_measures import inter_ocular_distance
from selfieavatar.morphable.landmark_sets import MEDIAPIPE
from tests.fitting import makers


class Knows:
    """A detector that answers with points prepared for the size of image it is shown; None for black ones."""

    set_name = MEDIAPIPE

    def __init__(self, points, size_px):
        self.points, self.size_px, self.sides = iter(points), size_px, []

    def detect(self, image):
        self.sides.append(image.shape[0])
        points = next(self.points) * image.shape[0] / self.size_px
        return Detection(points.astype(np.float32), np.zeros(len(points)), 1.0) if image.any() else None

    def close(self):
        pass


@pytest.fixture(scope="module")
def face():
    model, (rotation, translation, expression) = makers.model(), makers.movement(30)
    return model, rotation, expression, makers.landmarks(model, rotation, translation, expression)[0]


def test_small_images_are_enlarged_and_points_come_back_in_their_own_pixels(face):
    points = face[3][:3]
    images = np.full((3, 128, 128, 3), 90, np.uint8)
    images[1] = 0
    tracker = Tracker(Knows(points, makers.SIZE), 200)
    assert tracker.points.shape == (0, 478, 2)
    tracker.add(images[:2])
    tracker.add(images[2:])
    assert tracker.detector.sides == [200] * 3
    np.testing.assert_allclose(tracker.points[[0, 2]], points[[0, 2]] / 2, atol=1e-3)
    assert np.isnan(tracker.points[1]).all()
    large = Tracker(Knows(points, makers.SIZE), 64)
    large.add(images[:1])
    assert large.detector.sides == [128]


def test_what_was_asked_is_found_again(face):
    model, rotation, expression, points = face
    points = points.copy()
    points[4] = np.nan
    found = fit_points(model, makers.camera(), points, MEDIAPIPE)
    aed = expression_distance(found.expression, expression, model.expression_scale)
    apd = pose_distance_deg(found.rotation, rotation)
    assert np.isnan(aed[4]) and np.isnan(apd[4])
    assert np.nanmedian(aed) < 0.05 and np.nanmedian(apd) < 0.5
    worse = fit_points(model, makers.camera(), points[::-1], MEDIAPIPE)
    assert np.nanmean(expression_distance(worse.expression, expression, model.expression_scale)) > 5 * np.nanmean(aed)
    assert len(fit_points(model, makers.camera(), points[:0], MEDIAPIPE).error) == 0


def test_pose_distance_is_scipy_s_angle():
    one, other = np.random.default_rng(0).normal(0, 0.7, (2, 20, 3))
    wanted = np.degrees((Rotation.from_rotvec(one).inv() * Rotation.from_rotvec(other)).magnitude())
    np.testing.assert_allclose(pose_distance_deg(other, one), wanted, atol=1e-6)
    np.testing.assert_allclose(pose_distance_deg(one + [1e-6, 0, 0], one), 0, atol=1e-3)
    assert pose_distance_deg(one, one).max() < 1e-6


def test_expression_distance_is_in_standard_deviations():
    wanted = np.array([[0.0, 1.0], [np.nan, 0.0]])
    found = expression_distance(wanted + [0.5, -4.0], wanted, np.array([0.5, 2.0]))
    assert found[0] == pytest.approx(1.5) and np.isnan(found[1])


def test_keypoint_distance_is_in_eye_distances(face):
    points = face[3]
    span = inter_ocular_distance(points)
    moved = points + span[:, None, None] * np.array([0.03, 0.04])
    np.testing.assert_allclose(keypoint_distance(moved, points, MEDIAPIPE), 0.05, atol=1e-9)


def test_jitter_sees_trembling_but_no_steady_motion(face):
    still = np.repeat(face[3][:1], 12, axis=0)
    steady = still + np.arange(12)[:, None, None] * np.array([1.0, 0.5])
    span = inter_ocular_distance(still)[0]
    order = np.arange(12)
    found = jitter(steady, order, MEDIAPIPE)
    assert np.isnan(found).tolist() == [True, *[False] * 10, True] and np.nanmax(found) < 1e-9
    trembling = steady + np.where(order % 2, 0.25, -0.25)[:, None, None] * np.array([1.0, 0.0])
    np.testing.assert_allclose(jitter(trembling, order, MEDIAPIPE)[1:-1], 1.0 / span, rtol=1e-6)
    # no triple reaches over a gap
    assert np.isfinite(jitter(steady, np.where(order < 6, order, order + 3), MEDIAPIPE)).sum() == 8
    assert np.isnan(jitter(steady[:2], order[:2], MEDIAPIPE)).all()


def test_what_cannot_be_tracked_again_is_unknown_and_said(face):
    again = Retracking(face[0], makers.camera(), lambda: Knows(iter(face[3]), makers.SIZE), 64)
    assert set(again.summary().values()) == {0, None} and len(again.notes()) == 10
    again = Retracking(face[0], makers.camera(), lambda: Knows(iter(face[3]), makers.SIZE), 64)
    again.start_clip()
    black = np.zeros((2, 64, 64, 3), np.float32)
    again.add(np.arange(2), black, black)
    assert again.summary() == {"found": 0} | dict.fromkeys([*METRICS, *FOLLOWING])
    assert again.notes()[0] == "akd: no frame shows a face both in the image and in the truth"
    assert {len(values) for values in again.per_frame().values()} == {2}


def test_lids_that_follow_half_way():
    truth = np.tile([0.2, 0.2, 0.2, 0.2, 0.02, 0.2], 10)
    correlation, amplitude, closing = following(0.5 * truth + 0.1, truth)
    assert (correlation, amplitude) == (pytest.approx(1), pytest.approx(0.5))
    # 0.2 to 0.02 closes by nine tenths; 0.2 to 0.11 by 0.45
    assert closing == pytest.approx(0.5)
    still = following(np.full(60, 0.2), truth)
    assert still == (0, pytest.approx(0, abs=1e-9), pytest.approx(0))
    truth[:3] = np.nan
    assert following(truth, truth) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_what_the_truth_does_not_do_is_unknown():
    blink = np.tile([0.2, 0.2, 0.2, 0.2, 0.02, 0.2], 10)
    assert np.isnan(following(blink, np.full(60, 0.2))).all(), "a truth that never moves"
    assert np.isnan(following(blink, np.tile([0.2, 0.195], 30))).all(), "less than the tracker's noise"
    truth = np.tile([0.2, 0.15], 10)
    correlation, amplitude, closing = following(truth, truth)
    assert correlation == pytest.approx(1) and amplitude == pytest.approx(1) and np.isnan(closing), "no blink"
    one = np.where(np.arange(400) == 7, 0.02, 0.2)
    assert np.isnan(following(one, one)[0]) and following(one, one)[2] == pytest.approx(1), "one blink in 400 frames"
    assert np.isnan(following(np.zeros(0), np.zeros(0))).all()
