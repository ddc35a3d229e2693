"""Test what time stamps say: pauses, frame rate, frames without times."""

import numpy as np
import pytest

from selfieavatar.video import timing
from selfieavatar.video.reader import open_source
from tests.data.media import numbered, read_number, restamp, write_video


def paused(count, after, pause_s, step_s=0.04):
    times = np.arange(count) * float(step_s)
    times[after + 1 :] += pause_s
    return times


def test_a_pause_counts_not_for_the_rate_and_is_named_once(tmp_path, caplog):
    times = [round(1000 * t) for t in paused(60, 29, 60)]
    source = open_source(write_video(tmp_path / "a.mp4", numbered(60), times=times))
    assert source.fps == 25 and source.times_s[-1] == pytest.approx(62.36)
    assert caplog.text.count("pauses after frame 29 (at 1.2 s) for 60.0 s") == 1
    assert source.time(61) == pytest.approx(62.44), "times beyond the table go on"


def test_the_longest_of_several_pauses_is_named():
    times = paused(60, 9, 2.0) + paused(60, 39, 5.0, 0)
    assert "pauses 2 times, the longest after frame 39 (at 3.6 s) for 5.0 s" in timing.pause_remark(times)
    assert timing.frame_rate(times, []) == 25


@pytest.mark.parametrize(
    "steps_ms, rate", [([20, 33, 100, 47], 20), ([33, 34, 33], 30), ([500], 2), ([40] * 9 + [400], 13.158)]
)
def test_slow_frames_are_no_pause(steps_ms, rate):
    times = np.cumsum([0] + steps_ms * 40) / 1000
    assert timing.pause_remark(times) is None and timing.frame_rate(times, [7.0]) == pytest.approx(rate, rel=1e-3)


def test_the_announced_rate_that_agrees_is_taken():
    times = np.round(np.arange(300) / (30000 / 1001), 3)
    assert timing.frame_rate(times, [2.94, 30000 / 1001]) == 30000 / 1001
    assert timing.frame_rate(np.zeros(1), [24.0]) == 24 and timing.frame_rate(np.zeros(0), []) == 25


def test_frames_without_times_are_named(tmp_path, caplog):
    source = open_source(write_video(tmp_path / "a.h264", numbered(5), fps=50))
    assert source.count == 5 and "its frames have no times: 25 frames a second are taken" in caplog.text


@pytest.mark.parametrize("ending, place", [("mp4", 10), ("mkv", 10), ("flv", 10), ("mp4", 29), ("mkv", 59)])
def test_one_repeated_time_is_parted_and_named_and_the_rest_holds(tmp_path, caplog, ending, place):
    """A repeated stamp in the middle, before the pause and at the end: every frame keeps its place."""
    expected = paused(60, 29, 60)
    stamps = (1000 * expected).round().astype(int)
    stamps[place] = stamps[place - 1]
    made = write_video(tmp_path / "a.mkv", numbered(60), options={"bf": "0"})
    source = open_source(restamp(made, tmp_path / f"b.{ending}", stamps.tolist()))
    assert source.fps == 25 and "for 60.0 s" in caplog.text and "no times" not in caplog.text
    assert f"frames that repeat the time of the frame before: 1 (the first is frame {place})" in caplog.text
    np.testing.assert_allclose(source.times_s, expected, atol=0.021)
    assert (np.diff(source.times_s) > 0).all()
    assert [(n, read_number(image)) for n, _, image in source.read(range(60))] == [(n, n) for n in range(60)]


def test_times_without_pauses_go_on_by_the_usual_step():
    times = paused(60, 9, 2.0) + paused(60, 39, 5.0, 0)
    np.testing.assert_allclose(timing.without_pauses(times, times), np.arange(60) / 25)
    shown = np.delete(np.arange(60), [9, 10, 40])  # frames that could not be read
    np.testing.assert_allclose(timing.without_pauses(times[shown], times), shown / 25)
    assert timing.without_pauses(np.arange(3.0), np.arange(3.0)).tolist() == [0, 1, 2]


def test_where_most_times_are_repeated_there_are_none(tmp_path, caplog):
    made = write_video(tmp_path / "a.mkv", numbered(12), options={"bf": "0"})
    source = open_source(restamp(made, tmp_path / "b.mkv", [n // 6 * 40 for n in range(12)]))
    assert "many of its frames have no times of their own: 25 frames a second" in caplog.text
    np.testing.assert_allclose(source.times_s, np.arange(12) / 25)


def test_shared_time_stamps_are_parted_by_the_usual_step_or_less():
    times, repeated = timing.spread(np.array([0, 40, 80, 80, 100, 100, 5000, 5000]))
    assert repeated.tolist() == [3, 5, 7] and times.tolist() == [0, 40, 80, 90, 100, 140, 5000, 5040]
