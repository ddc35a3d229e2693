"""What the page about an avatar shows of its scores."""

import math

import numpy as np
import pytest

from selfieavatar.evaluation.bootstrap import mean_interval
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.reporting import avatar_scores
from selfieavatar.reporting.avatar_scores import Scores, remarkable_frames
from selfieavatar.reporting.plots import Estimate

NAN = float("nan")


def scores(values, clips=None, labels=None):
    """Scores whose PSNR and SSIM of the face are `values`, at 10 frames/s."""
    values = np.asarray(values, float)
    clips = np.array(["a"] * len(values) if clips is None else clips, dtype=object)
    nothing = np.full(len(values), NAN)
    columns = {f"{f}_{r}": values if r == "face" else nothing for f in ("psnr_db", "ssim") for r in REGIONS}
    frames = np.arange(len(values))
    return Scores(columns, clips, frames, frames / 10, labels or dict.fromkeys(clips, {}), 10)


def test_remarkable_frames_are_a_second_apart_and_none_comes_twice():
    value = np.sin(np.arange(1000) / 60)
    found = remarkable_frames(value, np.array(["a"] * 1000), np.arange(1000) / 25, count=2)
    assert found["worst"][0] == value.argmin() and found["best"][0] == value.argmax()
    rows = np.sort(np.concatenate(list(found.values())))
    assert len(rows) == 6 and (np.diff(rows) >= 25).all()
    assert np.abs(value[found["typical"]] - np.median(value)).max() < 0.2


def test_frames_of_other_clips_are_no_neighbours():
    value = np.array([1.0, 1.1, 4.0, 5.0, 5.5, 6.0, 9.0, 9.1])
    found = remarkable_frames(value, np.array(list("abcdefgh")), np.zeros(8), count=2)
    assert found == {"worst": [0, 1], "best": [7, 6], "typical": [3, 4]}


@pytest.mark.parametrize(("frames", "each"), [(2, 1), (5, 1), (8, 2), (11, 2), (16, 4), (100, 4)])
def test_the_worst_are_a_quarter_of_the_frames_at_most(frames, each):
    found = remarkable_frames(np.arange(frames) ** 1.5, np.array(["a"] * frames), np.arange(frames) * 9.0, count=4)
    assert len(found["worst"]) == len(found["best"]) == each and len(found["typical"]) == min(each, frames - 2)


@pytest.mark.parametrize(("value", "worst"), [([5.0], [0]), ([NAN, 5.0], [1]), ([NAN], []), ([], [])])
def test_few_known_frames(value, worst):
    found = remarkable_frames(np.array(value), np.array(["a"] * len(value)), np.arange(len(value)) * 9.0, count=3)
    assert found == {"worst": worst, "best": [], "typical": []}


def test_groups_are_what_labels_and_names_tell_apart():
    labels = {"x": {"emotion": "happy", "level": "2", "view": "front"}, "y": {"emotion": "sad", "view": "front"},
              "z": {}}  # fmt: skip
    groups = avatar_scores.groups_of(scores(np.zeros(6), list("xxyyzz"), labels))
    assert list(groups) == ["emotion", "clip"] and list(groups["emotion"]) == ["happy", "sad"]
    assert groups["emotion"]["sad"].tolist() == [False, False, True, True, False, False]
    assert avatar_scores.groups_of(scores(np.zeros(3))) == {}


def test_the_mean_of_a_group_is_that_of_its_rows():
    values = np.random.default_rng(0).normal(30, 2, 60)
    mine = np.arange(60) < 50
    found = scores(values).mean("psnr_db_face", mine)
    assert found.value == pytest.approx(values[:50].mean())
    assert found.interval == pytest.approx(tuple(mean_interval(values[:50], ["a"] * 50, 10)))
    assert scores(values).mean("psnr_db_face", np.arange(60) == 3).interval is None
    assert scores(values).mean("psnr_db_eyes", mine) == Estimate(None)


def test_the_region_is_the_face_where_there_is_one():
    assert scores([NAN, 2.0]).region == "face" and scores([NAN, NAN]).region == "full"


def test_unmeasured_frames_are_gaps():
    found = avatar_scores.unbroken(np.array([3, 4, 7]), np.array([1.0, 2, 3]))
    np.testing.assert_array_equal(found, [1, 2, NAN, NAN, 3])


def test_training_curves_leave_out_what_was_never_reported():
    history = [{"images": 8.0, "l1": 0.5, "total": 1.0}, {"images": 16.0, "l1": 0.4, "total": 0.9, "val_face_db": 21.0}]
    images, groups = avatar_scores.training_curves(history)
    assert images.tolist() == [8, 16] and list(groups) == ["losses", "validation, dB"]
    assert list(groups["losses"]) == ["total", "l1"] and math.isnan(groups["validation, dB"]["val_face_db"][0])
