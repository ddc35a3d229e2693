"""Figures about the tracking: angles against OpenCV and by hand, blinks counted, advice where something is wrong."""

import cv2
import numpy as np
import pytest

from selfieavatar.footage.tracking_quality import advice, count_blinks, head_angles, summary


@pytest.mark.parametrize(("axis", "column", "sign"), [(1, 0, -1), (0, 1, 1), (2, 2, 1)])
def test_angles_of_single_turns(axis, column, sign):
    """x right, y down, z away: turning about y by a negative angle moves the nose to the image's right."""
    rotation = np.zeros((3, 3))
    rotation[:, axis] = np.radians([-30, 0, 20])
    expected = np.zeros((3, 3))
    expected[:, column] = sign * np.array([-30, 0, 20])
    found = head_angles(rotation)
    np.testing.assert_allclose(found[:, column], expected[:, column], atol=1e-9)


def test_the_nose_is_where_opencv_puts_it():
    rotation = np.array([0.2, -0.5, 0.1])
    nose = cv2.Rodrigues(rotation)[0] @ [0, 0, -1]
    yaw, pitch, _ = np.radians(head_angles(rotation[None])[0])
    np.testing.assert_allclose(
        [np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], nose, atol=1e-9
    )


def test_blinks_are_runs_of_closed_lids():
    level = np.full(200, 0.3)
    level[[20, 21, 22, 90, 150, 151]] = 0.03
    level[23] = 0.18  # half way up: not yet open
    level[24] = 0.1
    assert count_blinks(level) == 3
    level[60] = np.nan
    assert count_blinks(level) == 3
    assert count_blinks(np.full(5, np.nan)) == 0


def columns(count=50, **changes):
    zero = np.zeros(count)
    rotation = np.zeros((count, 3))
    rotation[:, 1] = np.linspace(-0.3, 0.3, count)
    decode = {"time_s": np.arange(count) / 25, "face": zero == 0, "duplicate": zero > 0}
    fit = {"quality": np.full(count, "ok", object), "landmark_error": zero + 0.004, "rotation": rotation}
    return decode | {k: v for k, v in changes.items() if k in decode}, fit | {
        k: v for k, v in changes.items() if k in fit
    }


STILL = {"static_camera": True, "faces_per_frame_max": 1}


def test_a_good_clip_needs_no_advice():
    decode, fit = columns()
    measures = summary(decode, STILL, fit, np.full(50, 0.3))
    assert measures["frames"] == 50 and measures["lost"] == 0 and measures["error_median"] == pytest.approx(0.004)
    assert measures["yaw"][1] == pytest.approx(-measures["yaw"][0]) and 14 < measures["yaw"][1] < 17.2
    assert advice(measures) == []


def test_what_is_wrong_is_said():
    quality = np.full(50, "ok", object)
    quality[:10] = "lost"
    error = np.where(quality == "lost", np.nan, 0.03)
    still, repeated = np.zeros((50, 3)), np.ones(50, bool)
    decode, fit = columns(quality=quality, landmark_error=error, rotation=still, duplicate=repeated)
    said = " ".join(advice(summary(decode, {"static_camera": False, "faces_per_frame_max": 2}, fit, None)))
    for words in ("10 frames (20 %)", "3.0 % of the eye distance", "background moves", "More than one face", "repeat"):
        assert words in said, words
    assert "hardly turns" in said


def test_frames_left_out_are_counted_apart_and_it_is_said_who_is_followed():
    quality, face = np.full(50, "ok", object), np.ones(50, bool)
    quality[:15], quality[20:22], face[:15] = "lost", "bridged", False
    decode, fit = columns(quality=quality, face=face)
    two = STILL | {"faces_per_frame_max": 2}
    ranges = [[0, 8, "somebody else"], [8, 10, "the person in another place or size"], [20, 22, "somebody else"]]
    measures = summary(decode, two | {"left_out": ranges}, fit, None)
    assert [measures[name] for name in ("without_face", "lost", "bridged")] == [5, 5, 0]
    said = " ".join(advice(measures))
    assert (
        "5 frames (10 %) have no fit" in said
        and "24 % of the frames are left out: 10 that show somebody else, " in said
    )
    assert "2 that show the person in another place or size" in said
    assert "the person seen most, told by face recognition, is followed" in said
    assert "largest" in advice(summary(*_swap(columns(), two), None))[0]
    assert "seen most" in advice(summary(*_swap(columns(), two | {"person_chosen": True}), None))[0]


def _swap(clip, facts):
    return clip[0], facts, clip[1]


def test_a_clip_without_any_fit_has_no_error():
    quality = np.full(50, "lost", object)
    decode, fit = columns(quality=quality, landmark_error=np.full(50, np.nan), rotation=np.full((50, 3), np.nan))
    measures = summary(decode, STILL, fit, None)
    assert measures["error_median"] is None and measures["blinks"] is None and measures["lost"] == 50
