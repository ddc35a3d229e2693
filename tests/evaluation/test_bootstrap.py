"""Confidence intervals against SciPy's bootstrap, a closed form, and a chain whose variance is known."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import bootstrap

from selfieavatar.evaluation.bootstrap import correlation_time, frame_interval, independent, mean_interval, method


def test_independent_frames_are_scipy_s_percentile_bootstrap():
    values = np.random.default_rng(0).gamma(2.0, size=300)
    ours = mean_interval(values, ["a"] * 300, block=1, draws=5000)
    theirs = bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(3))
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=0.02)


def test_neighbours_that_are_alike_widen_the_interval():
    """AR(1) with correlation r: the variance of the mean is (1 + r) / (1 - r) times that of independent frames."""
    rng, r, count = np.random.default_rng(1), 0.9, 4000
    values = np.zeros(count)
    for k, step in enumerate(rng.normal(size=count)[1:], start=1):
        values[k] = r * values[k - 1] + step
    half = 1.96 * np.sqrt(values.var() / count * (1 + r) / (1 - r))
    low, high = mean_interval(values, ["a"] * count, block=100)
    assert (high - low) / 2 == pytest.approx(half, rel=0.25)
    narrow = mean_interval(values, ["a"] * count, block=1, draws=200)
    assert (narrow[1] - narrow[0]) < 0.4 * (high - low)


def test_many_clips_are_drawn_whole():
    level = np.random.default_rng(2).normal(size=20)
    values, clips = np.repeat(level, 50), np.repeat([f"c{k}" for k in range(20)], 50).tolist()
    low, high = mean_interval(values, clips, block=25)
    assert (high - low) / 2 == pytest.approx(1.96 * level.std() / np.sqrt(20), rel=0.15)
    assert method(clips, 25) == "whole clips, 20 of them"
    assert method(["a"] * 70 + ["b"] * 55, 25) == "blocks of 25 neighbouring frames"


def test_blocks_do_not_reach_over_clips_and_missing_frames_do_not_count():
    values = np.r_[np.zeros(40), np.full(40, np.nan), np.ones(40)]
    clips = ["a"] * 40 + ["b"] * 40 + ["c"] * 40
    low, high = mean_interval(values, clips, block=10)
    assert 0 <= low < 0.3 and 0.7 < high <= 1
    assert mean_interval(np.full(9, np.nan), ["a"] * 9, 3) is None and mean_interval(np.zeros(0), [], 3) is None


def test_too_few_blocks_have_no_interval():
    """Two seconds of video show two means at best: an interval between them would be made up."""
    values = np.random.default_rng(3).normal(size=48)
    assert mean_interval(values, ["a"] * 48, 30) is None
    assert method(["a"] * 48, 30) == "none: 48 frames do not fill 5 blocks of 30"
    assert mean_interval(values, ["a"] * 48, 9) is not None
    assert mean_interval(values[:5], list("abcde"), 25) is None


def test_unknown_frames_are_no_blocks():
    values = np.full(1500, np.nan)
    values[[10, 1400]] = 20, 40
    assert mean_interval(values, ["a"] * 1500, 25) is None


def test_both_ends_of_a_clip_are_drawn_like_its_middle():
    values = np.r_[np.full(12, 10.0), np.full(102, 30.0), np.full(12, 10.0)]
    turned = np.roll(values, 63)
    ends, middle = (mean_interval(v, ["a"] * 126, 25) for v in (values, turned))
    assert ends[0] < values.mean() < ends[1]
    np.testing.assert_allclose(ends, middle, atol=1.0)


def test_a_short_clip_counts_by_its_frames():
    """Blocks of short clips are shorter: the draws keep the mean all the same."""
    values, clips = np.r_[np.zeros(30), np.ones(600)], ["short"] * 30 + ["long"] * 600
    low, high = mean_interval(values, clips, block=25)
    assert low < values.mean() < high <= 1 and (high + low) / 2 == pytest.approx(values.mean(), abs=0.02)


@pytest.mark.parametrize(("correlation", "frames", "least"), [(0.0, 125, 0.93), (0.7, 150, 0.91), (0.9, 150, 0.84)])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(correlation, frames, least):
    """Of frames that hang together over nearly a second, as those of the last row do, a little less often."""
    rng = np.random.default_rng(5)
    steps = rng.normal(size=(200, frames + 100))
    values = lfilter([1.0], [1.0, -correlation], steps, axis=1)[:, 100:]
    ends = [mean_interval(row, ["a"] * frames, 25, draws=400) for row in values]
    assert least <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.99


def chains(correlation, frames, count, seed=6):
    """AR(1) series (count, frames) about 0."""
    steps = np.random.default_rng(seed).normal(size=(count, frames + 400))
    return lfilter([1.0], [1.0, -correlation], steps, axis=1)[:, 400:]


def test_the_correlation_time_of_a_chain_is_its_closed_form():
    names = np.repeat(["a", "b"], 4000)
    for r in (0.0, 0.5, 0.9):
        values = chains(r, 8000, 1)[0]
        assert correlation_time(values, names) == pytest.approx((1 + r) / (1 - r), rel=0.2)
        values[::3] = np.nan
        assert correlation_time(values, names) == pytest.approx((1 + r) / (1 - r), rel=0.25)
    assert correlation_time(np.full(40, 3.0), names[:40]) == 1.0


@pytest.mark.parametrize(("correlation", "frames", "clips", "least"), [(0.97, 350, 1, 0.82), (0.9, 50, 4, 0.87)])
def test_slow_figures_get_longer_blocks(correlation, frames, clips, least):
    """Blocks of a second hold the true mean of the first row in two of three intervals only."""
    rows, names = chains(correlation, frames * clips, 200), np.repeat(np.arange(clips), frames)
    if clips > 1:
        rows = chains(correlation, frames, 200 * clips).reshape(200, -1)
    ends = [mean_interval(row, names, 25, draws=400, longer=True) for row in rows]
    assert least <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.99


def test_figures_that_change_fast_keep_blocks_of_a_second():
    values = np.random.default_rng(7).normal(size=500)
    assert frame_interval(values, ["a"] * 500, 25) == mean_interval(values, ["a"] * 500, 25)


def test_every_clip_has_the_block_of_its_own_second():
    clips, second = ["a"] * 100 + ["b"] * 90, {"a": 25, "b": 30}
    values = np.random.default_rng(8).normal(size=190)
    assert independent(clips, second) == 7 and method(clips, second) == "blocks of 25 or 30 neighbouring frames"
    assert independent(clips[:160], second) == 6 and independent(clips[:100], second) == 0
    assert mean_interval(values, clips, second) != mean_interval(values, clips, 25)
    assert mean_interval(values, clips, {"a": 25, "b": 25}) == mean_interval(values, clips, 25)


def test_the_same_again_is_the_same():
    values = np.random.default_rng(4).random(60)
    assert mean_interval(values, ["a"] * 60, 5) == mean_interval(values, ["a"] * 60, 5)
