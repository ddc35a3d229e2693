"""Figures of made-up signals whose answer is known."""

import numpy as np
import pytest

from selfieavatar.footage import signals
from selfieavatar.morphable.landmark_sets import IBUG, MEDIAPIPE, landmark_set
from tests.fitting import makers
from tests.footage.makers import good_table

FPS = 25


def test_reached_is_what_was_held_long_enough():
    values, seconds = np.zeros(100), np.full(100, 1 / FPS)
    values[10:15], values[50:54], values[60] = 20.0, -30.0, 90.0  # 0.2 s, 0.16 s, one frame
    low, high = signals.reached(values, seconds)
    assert (low, high) == (0.0, 20.0)
    values[70] = -10.0
    assert signals.reached(values, seconds) == (-10.0, 20.0)


def test_reached_does_not_depend_on_the_frame_rate():
    for fps in (15, 30, 60):
        time_s = np.arange(20 * fps) / fps
        low, high = signals.reached(30 * np.sin(time_s), signals.frame_seconds(time_s))
        # Near the top the sine stays above cos(t/2) for t seconds; it comes there three times.
        assert high == pytest.approx(30 * np.cos(0.2 / 3 / 2), abs=0.1) and low == pytest.approx(-high, abs=0.1)


def test_reached_of_too_little_is_not_known():
    assert np.isnan(signals.reached(np.full(50, np.nan), np.full(50, 0.04))).all()
    assert np.isnan(signals.reached(np.ones(4), np.full(4, 0.04))).all()


def test_seconds_of_frames_do_not_trust_a_gap():
    time_s = np.array([0, 0.04, 0.08, 5.08, 5.12])
    np.testing.assert_allclose(signals.frame_seconds(time_s), [0.04, 0.04, 0.12, 0.04, 0.04])
    assert signals.frame_seconds(np.array([3.0])).tolist() == [0.0]


def test_advised_poses_are_the_cells_in_an_ellipse():
    yaw, pitch, advised = signals.advised_poses(30, 15, 10)
    assert yaw.tolist() == [-45, -35, -25, -15, -5, 5, 15, 25, 35, 45] and pitch.tolist() == [-25, -15, -5, 5, 15, 25]
    # yaw -30, -20, -10, 0, 10, 20, 30 straight ahead, and -20 to 20 with the chin raised or lowered by 10
    assert advised.sum() == 7 + 5 + 5 and advised[:, 2].sum() == 7 and not advised[0].any()


def test_a_map_holds_the_seconds_of_each_cell():
    yaw, pitch, _ = signals.advised_poses(30, 15, 10)
    angles = np.array([0, 0, 21, -60, np.nan]), np.array([0, 4, 9, 0, 0])
    seconds = signals.map_of(*angles, np.full(5, 0.5), (yaw, pitch))
    assert seconds[4, 2] == 1.0 and seconds[6, 3] == 0.5 and seconds.sum() == 1.5


def test_lip_shapes_are_those_that_were_held():
    counts = [50, 50, 50, 1]
    width, opening = np.repeat([0.52, 0.52, 0.61, 0.72], counts), np.repeat([0.01, 0.11, 0.11, 0.31], counts)
    seconds = np.full(151, 0.04)
    assert signals.lip_shapes(width, opening, seconds) == 3
    assert signals.lip_shapes(np.full(9, np.nan), np.full(9, np.nan), np.ones(9)) == 0


def test_the_shape_of_the_face_is_that_of_its_coefficients():
    model = makers.model()
    coefficients = np.array([[0, 0, 0, 0], [0, 9, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1], [np.nan] * 4])
    shape = signals.face_shape(model, coefficients, landmark_set(MEDIAPIPE))
    opened, widened, raised = (shape[name] - shape[name][0] for name in ("mouth_open", "mouth_width", "brows"))
    lips = model.template[[13, 14]], model.template[[13, 14]] + 9 * model.expression_basis[1, [13, 14]]
    rest, wide = (np.linalg.norm(upper - lower) / 9 for upper, lower in lips)
    assert opened[1] == pytest.approx(wide - rest, abs=1e-5) and opened[1] > 0.1
    wider = 2 * (model.expression_basis[2][308, 0] - model.expression_basis[2][78, 0]) / 9
    assert widened[2] == pytest.approx(wider, abs=1e-3) and wider > 0.01
    np.testing.assert_allclose(raised[[1, 2, 3]], [0, 0, 0.6 / 9], atol=2e-2)
    assert np.isnan([values[4] for values in shape.values()]).all()


def test_a_model_without_the_points_tells_nothing():
    model = makers.model()
    model.landmark_vertices[13] = -1
    shape = signals.face_shape(model, np.zeros((3, 4)), landmark_set(MEDIAPIPE))
    assert all(np.isnan(values).all() and len(values) == 3 for values in shape.values())


@pytest.mark.parametrize("name", [MEDIAPIPE, IBUG])
def test_corners_and_middles_of_the_lips_are_quarters_of_the_ring(name):
    """MediaPipe's inner lips: corners 78 and 308, middles 13 and 14; iBUG's: 60 and 64, 62 and 66."""
    ring = landmark_set(name).lips_inner
    quarters = [ring[k * len(ring) // 4] for k in range(4)]
    assert set(quarters[::2]) == ({78, 308} if name == MEDIAPIPE else {60, 64})
    assert set(quarters[1::2]) == ({13, 14} if name == MEDIAPIPE else {62, 66})


def test_eyes_are_closed_below_half_of_the_usual():
    lids = np.array([0.1, 0.1, 0.1, 0.06, 0.04, 0.0, np.nan, 0.1, 0.1, 0.1])
    assert np.flatnonzero(signals.eyes_closed(lids)).tolist() == [4, 5]
    assert not signals.eyes_closed(np.full(3, np.nan)).any()


def test_drift_is_slow_and_flicker_is_fast():
    rng = np.random.default_rng(0)
    time_s, clip = np.arange(1500) / FPS, np.zeros(1500, int)
    noisy = 0.5 * (1 + 0.02 * rng.standard_normal(1500))
    slow = 0.5 * (1 + 0.1 * np.sin(2 * np.pi * time_s / 30))
    assert signals.flicker(noisy, clip) == pytest.approx(0.02, rel=0.1)
    assert signals.drift(noisy, time_s, clip) < 0.02
    assert signals.flicker(slow, clip) < 1e-3
    assert signals.drift(slow, time_s, clip) == pytest.approx(0.2, abs=0.01)


def test_a_cut_between_clips_is_drift_but_no_flicker():
    brightness, clip = np.repeat([0.4, 0.6], 250), np.repeat([0, 1], 250)
    time_s = np.tile(np.arange(250) / FPS, 2)
    assert signals.flicker(brightness, clip) == 0
    assert signals.drift(brightness, time_s, clip) == pytest.approx(0.4)
    assert np.isnan(signals.drift(np.full(5, np.nan), np.arange(5), np.zeros(5, int)))


def test_the_front_is_where_the_head_usually_is():
    yaw, pitch = np.array([20, 21, 19, 20, 45, np.nan]), np.array([5, 5, 6, 30, 5, 5])
    assert signals.near_front(yaw, pitch).tolist() == [True, True, True, False, False, False]


def test_unevenness_has_a_side():
    assert signals.unevenness(np.full(5, 0.4), np.full(5, 0.6)) == pytest.approx(0.4)
    assert signals.unevenness(np.full(5, 0.6), np.full(5, 0.4)) == pytest.approx(-0.4)


def test_the_border_of_the_video_cuts_before_that_of_the_crop():
    inside, right_of_video, above = [50.0, 50.0], [85.0, 50.0], [50.0, -1.0]
    points = np.array([[inside, inside], [inside, right_of_video], [above, inside], [[np.nan] * 2] * 2])
    # The crop reaches 40 px beyond the right border of a video of 200 x 300 px: 80 of its 100 px show something.
    cut = signals.cut_by_border(points, (40.0, 20.0, 200.0), (200, 300), 100)
    assert cut.tolist() == [False, True, True, False]


def test_examples_show_the_extremes_of_frames_with_a_fit():
    table = good_table(0.2)
    table["fitted"][100] = False
    for name in ("mouth_open", "yaw"):
        table[name][100] = 99.0
    table["softness"][7], table["mouth_open"][9], table["yaw"][11] = 5.0, 1.0, -80.0
    table["brows"][:] = np.nan
    rows = signals.examples(table)
    assert (rows["most blurred"], rows["mouth widest"], rows["turned left"]) == (7, 9, 11)
    assert rows["turned right"] != 100 and "brows highest" not in rows
