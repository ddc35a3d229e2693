"""Steadiness in time: pairs of neighbours only, no cuts, no repeated images."""

import numpy as np
import pytest

from selfieavatar.evaluation.temporal import TemporalSheet, temporal_scores


def frames(*levels, size=4):
    return np.stack([np.full((size, size, 3), level, np.float32) for level in levels])


def test_avatar_that_moves_as_the_truth_has_no_error_whatever_its_offset():
    truth, predicted = frames(0.1, 0.3), frames(0.4, 0.6)
    scores = temporal_scores((predicted[:1], predicted[1:]), (truth[:1], truth[1:]), np.ones((1, 4, 4), bool))
    assert scores["difference_error"][0] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(scores["flicker_static"][0])  # nothing stood still


def test_flicker_is_the_avatar_s_change_where_the_truth_stood_still():
    first = np.zeros((1, 4, 4, 3), np.float32)
    truth = first.copy()
    truth[:, :, 2:] = 0.5  # the right half moves
    predicted = first.copy()
    predicted[:, :, :2] = 0.1
    scores = temporal_scores((first, predicted), (first, truth), np.ones((1, 4, 4), bool))
    assert scores["flicker_static"][0] == pytest.approx(0.1)
    assert scores["flicker_static_truth"][0] == pytest.approx(0.0)
    assert scores["difference_error"][0] == pytest.approx(0.3)


def test_sheet_pairs_neighbours_over_batches_but_not_over_gaps_and_cuts():
    sheet = TemporalSheet()
    face = np.ones((2, 4, 4), bool)
    still = frames(0.5, 0.5)
    sheet.start_clip()
    sheet.add(np.array([1, 2]), frames(0.5, 0.6), still, face)
    sheet.add(np.array([3, 5]), frames(0.6, 0.9), still, face)  # 4 is missing: no pair with 5
    sheet.start_clip()
    sheet.add(np.array([6, 7]), frames(0.1, 0.1), still, face)
    summary = sheet.summary()
    assert summary["pairs"] == 3
    assert summary["flicker_static"] == pytest.approx(0.1 / 3, abs=1e-6)
    alone = np.isnan(sheet.per_frame()["flicker_static"])
    assert alone.tolist() == [True, False, False, True, True, False]
    assert sheet.notes() == []


def test_repeated_images_of_the_recording_are_passed_over():
    sheet = TemporalSheet()
    order = np.cumsum(~np.array([False, True, False, True]))
    sheet.add(order, frames(0.1, 0.1, 0.3, 0.3), frames(0.2, 0.2, 0.2, 0.2), np.ones((4, 4, 4), bool))
    summary = sheet.summary()
    assert summary["pairs"] == 1
    assert summary["difference_error"] == pytest.approx(0.2)


def test_nothing_measured_is_none():
    summary = TemporalSheet().summary()
    assert summary["pairs"] == 0 and summary["difference_error"] is None


def test_what_is_unknown_is_said():
    sheet = TemporalSheet()
    sheet.add(np.array([0]), frames(0.5), frames(0.5), np.ones((1, 4, 4), bool))
    assert sheet.notes()[0] == "difference_error: no two of the frames follow each other" and len(sheet.notes()) == 4
    sheet.add(np.array([1]), frames(0.5), frames(0.9), np.zeros((1, 4, 4), bool))
    assert sheet.notes() == [
        "difference_error_face: no two frames that follow each other show the face",
        "flicker_static: nothing stands still between two frames of the truth",
        "flicker_static_truth: nothing stands still between two frames of the truth",
    ]
