"""Smooth fitted coefficients without lag: a bilateral filter over neighbours in time.

The weights are symmetric in time and fall off with the difference of the values (Tomasi and Manduchi 1998), measured in
units of the signal's own noise. What is below the noise is averaged away; a blink is many times
the noise, its peak has no neighbours that agree, and it stays as high as it was.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

OK, BRIDGED, LOST = "ok", "bridged", "lost"
_PEAK = 6.0  # squared bend of a witness, in units of its noise, that noise seldom reaches


def find_cuts(
    points: np.ndarray, time_s: np.ndarray, eye_distance: np.ndarray, longest_gap_s: float = 0.2
) -> np.ndarray:
    """Detect cuts: jumps of the head and gaps in time.

    Args:
        points: (N, L, 2) px, NaN where no face was found. time_s: (N,). eye_distance: (N,) px.
        longest_gap_s: a longer step between two frames is a cut.

    Returns:
        (N - 1,) True where frame n + 1 does not continue frame n. Frames without a face are passed over: the jump is
        looked for between the frames around them.
    """
    count = len(points)
    cuts = np.zeros(max(count - 1, 0), bool)
    step = np.diff(time_s)
    usual = float(np.median(step)) if len(step) else 0.0
    cuts |= step > max(longest_gap_s, 1.5 * usual)
    found = np.flatnonzero(np.isfinite(points).all((1, 2)))
    if len(found) < 2:
        return cuts
    # The median over all points ignores lips and lids.
    moved = np.median(np.linalg.norm(np.diff(points[found], axis=0), axis=2), axis=1) / np.minimum(
        eye_distance[found[1:]], eye_distance[found[:-1]]
    )
    # Four steps before and four after each; beyond the ends there is nothing to compare with.
    near = sliding_window_view(np.pad(moved, 4, constant_values=np.nan), 9)
    near = np.sort(np.delete(near, 4, axis=1), axis=1)  # NaN last
    known = np.isfinite(near).sum(1)
    # Even the next-largest step nearby is well below a cut: a shaken head has several large steps in a row.
    second = np.where(known > 1, np.take_along_axis(near, np.maximum(known - 2, 0)[:, None], 1)[:, 0], 0.0)
    middle = [np.take_along_axis(near, np.maximum(k, 0)[:, None], 1)[:, 0] for k in ((known - 1) // 2, known // 2)]
    habit = np.where(known > 0, 0.5 * (middle[0] + middle[1]), 0.0)
    jump = moved > np.maximum(0.08, np.maximum(6 * habit, 1.6 * second)) * np.diff(found) ** 0.5
    cuts[found[:-1][jump]] = True
    return cuts


def frame_quality(fitted: np.ndarray, time_s: np.ndarray, cuts: np.ndarray, longest_gap_s: float = 0.2) -> np.ndarray:
    """Label frames (N,) "ok", "lost", or "bridged": in a gap of at most `longest_gap_s` between fitted frames."""
    quality = np.where(fitted, OK, LOST).astype(object)
    found = np.flatnonzero(fitted)
    for before, after in zip(found[:-1], found[1:], strict=True):
        # The time without a face: from the first lost frame to the first found one.
        if (
            after - before > 1
            and time_s[after] - time_s[before + 1] <= longest_gap_s + 1e-6
            and not cuts[before:after].any()
        ):
            quality[before + 1 : after] = BRIDGED
    return quality


def bridge(values: np.ndarray, quality: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Fill the bridged rows of values (N, K) by straight lines in time; lost rows become NaN."""
    out = np.array(values, float)
    known = np.isfinite(out).all(1) & (quality == OK)
    out[quality != OK] = np.nan
    bridged = quality == BRIDGED
    if bridged.any() and known.any():
        for column in range(out.shape[1]):
            out[bridged, column] = np.interp(time_s[bridged], time_s[known], out[known, column])
    return out


def takes(quality: np.ndarray, cuts: np.ndarray) -> list[np.ndarray]:
    """List runs of frame numbers without a lost frame or a cut inside."""
    usable = np.flatnonzero(quality != LOST)
    if not len(usable):
        return []
    breaks = (np.diff(usable) > 1) | np.array([cuts[b] for b in usable[:-1]], bool)
    return np.split(usable, np.flatnonzero(breaks) + 1)


def noise_level(values: np.ndarray) -> np.ndarray:
    """Return (K,) standard deviation of the frame-to-frame noise of values (N, K), from second differences, robustly.

    Movement hardly shows in second differences at video rates; the median ignores the frames where it does.
    """
    if len(values) < 4:
        return np.zeros(values.shape[1])
    second = np.abs(np.diff(values, n=2, axis=0))
    moving = second.max(1) > 0  # repeated frames (25 fps in a 30 fps file) would pull the median to zero
    return 1.4826 * np.median(second[moving], axis=0) / np.sqrt(6) if moving.sum() > 2 else np.zeros(values.shape[1])


def smooth_take(
    values: np.ndarray, time_s: np.ndarray, width_s: float, noise: np.ndarray, witness: np.ndarray | None = None,
    reach: float = 2.5,
) -> np.ndarray:  # fmt: skip
    """Smooth one take, (N, K), each column on its own.

    Args:
        width_s: standard deviation of the window in time. noise: (K,) see `noise_level`. witness: (N, W) signals in
            units of their own noise that must keep their peaks, too. reach: difference, in noise of a difference, at
            which a neighbour's weight has fallen to exp(-1/2).

    Returns:
        (N, K); columns without noise come back unchanged.
    """
    count = len(values)
    if count < 3 or width_s <= 0:
        return values.copy()
    step = float(np.median(np.diff(time_s)))
    half = int(min(count - 1, np.ceil(3 * width_s / max(step, 1e-6))))
    tolerance2 = np.maximum(2 * (reach * noise) ** 2, 1e-20)
    # What noise alone seldom exceeds: a mean of squares and two standard deviations of it.
    usual = 1 + 2 * np.sqrt(2 / values.shape[1])
    bend2 = np.maximum(1.5 * noise**2, 1e-20)
    # Agreement is judged on short averages (1 2 1), which carry less noise than the frames themselves ...
    padded = np.pad(values, ((1, 1), (0, 0)), mode="reflect")
    guide = 0.25 * padded[:-2] + 0.5 * values + 0.25 * padded[2:]
    # ... but where these differ from the frame by more than noise, there is a peak: it judges by itself.
    guide = np.where(np.abs(guide - values) > 2 * noise, values, guide)
    total, weight = values.copy(), np.ones_like(values)
    for shift in range(1, half + 1):
        # Both neighbours or none: one-sided averages would lag.
        low, here, high = slice(0, count - 2 * shift), slice(shift, count - shift), slice(2 * shift, count)
        if count - 2 * shift <= 0:
            break
        window = np.exp(-0.5 * ((time_s[high] - time_s[low]) / 2 / width_s) ** 2)[:, None]
        middle = 0.5 * (guide[low] + guide[high])
        apart = 0.5 * np.abs(guide[high] - guide[low])
        # A straight movement keeps its pairs (their middle agrees); a turning point loses them.
        agree = np.exp(-0.5 * (middle - guide[here]) ** 2 / tolerance2 * 4) * np.exp(
            -0.5 * (apart / 6) ** 2 / tolerance2
        )
        # A turning point of the whole group (lids that close move many coefficients a little) holds all its columns
        # back.
        bend = (0.5 * (values[low] + values[high]) - values[here]) ** 2 / bend2
        excess = np.maximum(bend.mean(1, keepdims=True) - usual, 0)
        if witness is not None:
            peak = (0.5 * (witness[low] + witness[high]) - witness[here]) ** 2 / 1.5
            excess = excess + np.maximum(peak.max(1, keepdims=True) - _PEAK, 0)
        pair = window * agree * np.exp(-0.5 * excess) * 2
        total[here] += pair * 0.5 * (values[low] + values[high])
        weight[here] += pair
    return total / weight


def smooth(
    values: np.ndarray, time_s: np.ndarray, runs: list[np.ndarray], width_s: float, witness: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Smooth values (N, K) within each take; the noise is measured over all takes together.

    Where a witness (N, W), such as the opening of the eyes, has a peak, the values keep theirs. Rows outside takes
    stay as they are.
    """
    out = np.array(values, float)
    if not any(len(run) >= 4 for run in runs):
        return out
    noise = _noise_of_takes(values, runs)
    if witness is not None:
        witness = witness / np.maximum(_noise_of_takes(witness, runs), 1e-12)
    for run in runs:
        out[run] = smooth_take(out[run], time_s[run], width_s, noise, None if witness is None else witness[run])
    return out


def _noise_of_takes(values: np.ndarray, runs: list[np.ndarray]) -> np.ndarray:
    long = [run for run in runs if len(run) >= 4]
    return np.average([noise_level(values[run]) for run in long], axis=0, weights=[len(run) for run in long])


def hold_gaps(values: np.ndarray, runs: list[np.ndarray], time_s: np.ndarray) -> np.ndarray:
    """Fill NaN inside each take from its neighbours in time (a gaze behind closed lids); 0 where a take has none."""
    out = np.array(values, float)
    for run in runs:
        for column in range(out.shape[1]):
            known = run[np.isfinite(out[run, column])]
            out[run, column] = np.interp(time_s[run], time_s[known], out[known, column]) if len(known) else 0.0
    return out


class OneEuro:
    """Causal low-pass filter whose cut-off rises with speed (Casiez, Roussel and Vogel, "1 euro filter", CHI 2012).

    Args:
        cutoff_hz: cut-off at rest. speed_gain: Hz more for each unit of the signal a second. speed_cutoff_hz: cut-off
            of the speed itself.
    """

    def __init__(self, cutoff_hz: float, speed_gain: np.ndarray | float, speed_cutoff_hz: float = 1.0) -> None:
        self.cutoff_hz, self.speed_gain, self.speed_cutoff_hz = cutoff_hz, speed_gain, speed_cutoff_hz
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next value comes back as it is."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0
        self._time_s = 0.0

    def update(self, value: np.ndarray, time_s: float) -> np.ndarray:
        """Smooth the value (K,) of a time later than the last."""
        if self._value is None or time_s <= self._time_s:
            self._value, self._time_s = np.array(value, float), time_s
            return self._value.copy()
        step, self._time_s = time_s - self._time_s, time_s
        share = 1 / (1 + 1 / (2 * np.pi * self.speed_cutoff_hz * step))
        self._speed = self._speed + share * ((value - self._value) / step - self._speed)
        cutoff = self.cutoff_hz + self.speed_gain * np.abs(self._speed)
        self._value = self._value + (value - self._value) / (1 + 1 / (2 * np.pi * cutoff * step))
        return self._value.copy()
