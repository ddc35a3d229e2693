"""Smoothing: noise goes, blinks stay, nothing lags, nothing crosses a cut."""

import numpy as np

from selfieavatar.fitting import smoothing as sm

RATE = 25.0


def times(count):
    return np.arange(count) / RATE


def run_of(count):
    return [np.arange(count)]


def test_noise_is_reduced_and_a_slow_wave_kept():
    rng, time = np.random.default_rng(0), times(400)
    truth = np.sin(2 * np.pi * 0.4 * time)[:, None]
    noisy = truth + rng.normal(0, 0.02, truth.shape)
    found = sm.smooth(noisy, time, run_of(400), 0.08)
    assert (found - truth).std() < 0.7 * 0.02
    assert abs(np.ptp(found) / np.ptp(truth) - 1) < 0.02


def test_blinks_keep_their_height():
    rng, time = np.random.default_rng(1), times(300)
    signal = np.zeros(300)
    for start in range(20, 290, 40):
        signal[start : start + 3] = (0.5, 1.0, 0.5)
    found = sm.smooth((signal + rng.normal(0, 0.02, 300))[:, None], time, run_of(300), 0.08)[:, 0]
    peaks = found[signal == 1]
    assert (peaks > 0.95).all()


def test_a_witness_keeps_the_peaks_of_what_it_sees():
    """A peak that many columns share, each within its own noise, is kept where the witness shows it."""
    rng, time = np.random.default_rng(8), times(200)
    peak = np.zeros((200, 1))
    peak[100] = 1.0
    values = rng.normal(0, 0.02, (200, 1)) + 0.04 * peak
    seen = rng.normal(0, 0.02, (200, 1)) + peak
    alone, witnessed = (sm.smooth(values, time, run_of(200), 0.08, w) for w in (None, seen))
    assert abs(witnessed[100] - values[100]) < 1e-3 < abs(alone[100] - values[100])
    assert witnessed[20:80].std() < 0.8 * values[20:80].std()


def test_no_lag_on_a_step_or_a_ramp():
    rng, time = np.random.default_rng(2), times(300)
    ramp = np.cumsum(np.maximum(np.sin(2 * np.pi * 0.5 * time), 0))[:, None] / 25
    found = sm.smooth(ramp + rng.normal(0, 0.01, ramp.shape), time, run_of(300), 0.1)
    a, b = np.diff(ramp[:, 0]), np.diff(found[:, 0])
    correlation = [np.sum(a[10:-10] * b[10 + k : len(b) - 10 + k]) for k in range(-5, 6)]
    assert np.argmax(correlation) == 5
    mirrored = sm.smooth(ramp[::-1], time, run_of(300), 0.1)[::-1]
    np.testing.assert_allclose(mirrored, sm.smooth(ramp, time, run_of(300), 0.1), atol=1e-9)


def test_takes_are_smoothed_apart():
    rng, time = np.random.default_rng(3), times(100)
    values = np.where(np.arange(100) < 50, 0.0, 5.0)[:, None] + rng.normal(0, 0.01, (100, 1))
    cuts = np.zeros(99, bool)
    cuts[49] = True
    runs = sm.takes(np.full(100, sm.OK, object), cuts)
    assert [len(run) for run in runs] == [50, 50]
    alone = sm.smooth_take(values[:50], time[:50], 0.2, np.array([0.01]))
    together = sm.smooth_take(np.concatenate([values[:50], values[50:] * 7])[:50], time[:50], 0.2, np.array([0.01]))
    np.testing.assert_array_equal(alone, together)
    found = sm.smooth(values, time, runs, 0.2)
    assert np.abs(found[:50]).max() < 0.05 and np.abs(found[50:] - 5).max() < 0.05


def test_repeated_frames_do_not_hide_the_noise():
    rng = np.random.default_rng(4)
    values = rng.normal(0, 0.1, (300, 1))
    doubled = np.repeat(values, [2 if i % 5 == 0 else 1 for i in range(300)], axis=0)
    assert 0.05 < sm.noise_level(doubled)[0] < 0.2


def test_short_takes_and_zero_width_come_back_unchanged():
    values = np.array([[1.0], [2.0]])
    np.testing.assert_array_equal(sm.smooth(values, times(2), run_of(2), 0.1), values)
    longer = np.random.default_rng(5).normal(size=(20, 2))
    np.testing.assert_array_equal(sm.smooth(longer, times(20), run_of(20), 0.0), longer)


def head(count, rng, speed=0.01):
    base = rng.uniform(0, 100, (30, 2))
    return base + np.cumsum(rng.normal(0, speed * 50, (count, 1, 2)), axis=0)


def test_cuts_are_jumps_and_gaps_in_time_but_not_a_shaken_head():
    rng, span = np.random.default_rng(6), np.full(120, 50.0)
    points, time = head(120, rng, 0.002), times(120)
    points[60:] += 20
    time[90:] += 1.0
    np.testing.assert_array_equal(np.flatnonzero(sm.find_cuts(points, time, span)), [59, 89])
    shaken = (
        head(120, rng, 0.002) + 25 * np.sin(np.arange(120) * 0.9)[:, None, None] * (np.arange(120) > 60)[:, None, None]
    )
    assert not sm.find_cuts(shaken, times(120), span).any()


def test_cut_behind_a_lost_frame_is_seen():
    rng, span = np.random.default_rng(7), np.full(60, 50.0)
    points = head(60, rng, 0.002)
    points[31:] += 40
    points[30] = np.nan
    assert sm.find_cuts(points, times(60), span)[29]


def test_short_gaps_are_bridged_long_ones_lost_and_cuts_never_crossed():
    fitted = np.ones(60, bool)
    fitted[[10, 11, 30]] = False
    fitted[40:50] = False
    cuts = np.zeros(59, bool)
    cuts[30] = True
    fitted[0] = False
    quality = sm.frame_quality(fitted, times(60), cuts)
    assert list(quality[[10, 11]]) == [sm.BRIDGED] * 2
    assert quality[30] == sm.LOST and quality[0] == sm.LOST
    assert (quality[40:50] == sm.LOST).all()
    values = np.arange(60.0)[:, None].copy()
    values[~fitted] = np.nan
    filled = sm.bridge(values, quality, times(60))
    np.testing.assert_allclose(filled[10:12, 0], [10, 11])
    assert np.isnan(filled[40:50]).all()


def test_gaze_behind_closed_lids_is_held_from_both_sides():
    values = np.array([[0.0], [np.nan], [2.0], [np.nan]])
    found = sm.hold_gaps(values, [np.arange(3), np.array([3])], times(4))
    np.testing.assert_allclose(found[:, 0], [0, 1, 2, 0])
