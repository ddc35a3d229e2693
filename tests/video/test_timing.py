"""Test what time stamps say: pauses, frame rate, frames without times."""

import numpy as np
import pytest

from selfieavatar.video import timing
from selfieavatar.video.reader import open_source
from tests.data.media import numbered, write_video


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
