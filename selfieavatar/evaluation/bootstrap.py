"""Bootstrap the mean over frames (percentile method, Efron 1979), in blocks since neighbouring frames are alike.

Frames of one second say nearly the same thing, so blocks of neighbours are drawn; where there are enough clips, whole
clips are. Figures that change slowly get longer blocks, as far as five of them fill the frames. Blocks reach over a
clip's end to its beginning (Politis and Romano 1992), so that all frames are drawn alike often. Since few blocks tell
too little about the spread, the interval is widened as Student's t is over the normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm, t

DRAWS = 2000
LEVEL = 0.95
SEED = 1
ENOUGH_CLIPS = 8  # of which whole ones are drawn; the spread of fewer says little
LEAST_BLOCKS = 5  # that the known frames fill: of fewer, any interval would be made up
# Blocks of so many correlation times: of shorter ones the means spread too little (docs/results.md has the coverage).
CORRELATION_TIMES = 3

Block = int | Mapping[str, int]  # frames that are drawn together, such as a second's, or those of each clip


def frame_interval(values: np.ndarray, clips: Sequence[str] | np.ndarray, second: Block) -> list[float] | None:
    """Bootstrap the mean of a metric of frames in blocks of a second, or longer ones where it changes slowly."""
    return mean_interval(values, clips, second, longer=True)


def mean_interval(
    values: np.ndarray,
    clips: Sequence[str] | np.ndarray,
    block: Block,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = SEED,
    longer: bool = False,
) -> list[float] | None:
    """Bootstrap the interval [low, high] of the mean of values (N,), NaN ones left out.

    None where the others fill fewer blocks, or lie in fewer clips, than `LEAST_BLOCKS` and `ENOUGH_CLIPS`.
    clips: name or number of each value's clip, whose frames follow each other. block: see `Block`. longer: blocks of
    `CORRELATION_TIMES` where these are longer, and as long as `LEAST_BLOCKS` are filled.
    """
    known, names = np.isfinite(values), np.asarray(clips)
    shown = np.isin(names, names[known])  # clips without any value have no part in it
    values, known, names = np.asarray(values, float)[shown], known[shown], names[shown]
    count = independent(names[known].tolist(), block)
    if not count:
        return None
    sizes = _sizes(names, block)
    if longer and len(set(names.tolist())) < ENOUGH_CLIPS:
        wanted = min(CORRELATION_TIMES * correlation_time(values, names), known.sum() / LEAST_BLOCKS)
        sizes = np.maximum(sizes, int(wanted))
        count = max(_filled(sizes[known]), 2)
    sums, chance = _parts(np.stack([np.where(known, values, 0.0), known], axis=1), names, sizes)
    # As many as make up all frames; those of short clips are shorter, and drawn more often for that.
    drawn = np.random.default_rng(seed).choice(len(sums), (draws, round(chance.sum())), p=chance / chance.sum())
    totals = sums[drawn].sum(axis=1)
    means = totals[totals[:, 1] > 0.5, 0] / totals[totals[:, 1] > 0.5, 1]
    tail, mean = (1 - level) / 2, values[known].mean()
    wider = np.sqrt(count / (count - 1)) * t.ppf(tail, count - 1) / norm.ppf(tail)
    ends = mean + wider * (np.percentile(means, [100 * tail, 100 - 100 * tail]) - mean)
    return np.clip(ends, values[known].min(), values[known].max()).tolist()


def correlation_time(values: np.ndarray, clips: np.ndarray) -> float:
    """Integrate the autocorrelation: 1 + 2 times its sum up to its first zero, in frames, at least 1.

    values: (N,) of which NaN ones are left out; clips: (N,), over whose ends nothing is compared.
    """
    known = np.isfinite(values)
    rest = np.where(known, values - values[known].mean(), 0.0)
    most = int(known.sum()) // LEAST_BLOCKS + 1
    sums, pairs = np.zeros(most), np.zeros(most)
    for start, end in _runs(clips):
        for total, row in ((sums, rest[start:end]), (pairs, known[start:end])):
            lagged = np.fft.irfft(np.abs(np.fft.rfft(row, 2 * len(row))) ** 2, 2 * len(row))[: min(most, len(row))]
            total[: len(lagged)] += lagged
    if sums[0] <= 0:
        return 1.0
    correlation = (sums / np.maximum(pairs, 1)) / (sums[0] / pairs[0])
    ends = np.flatnonzero(correlation <= 0)
    return float(1 + 2 * correlation[1 : ends[0] if len(ends) else most].sum())


def independent(clips: Sequence[str], block: Block) -> int:
    """Count the clips, or the blocks that the frames fill, that can be drawn from; 0 where there are too few."""
    if len(set(clips)) >= ENOUGH_CLIPS:
        return len(set(clips))
    blocks = _filled(_sizes(np.asarray(clips), block))
    return blocks if blocks >= LEAST_BLOCKS else 0


def method(clips: Sequence[str], block: Block) -> str:
    """Say in words what is drawn; "none: ..." where there is too little for an interval."""
    said = " or ".join(str(size) for size in np.unique(_sizes(np.asarray(clips), block)))
    if not independent(clips, block):
        frames = "1 frame does" if len(clips) == 1 else f"{len(clips)} frames do"
        return f"none: {frames} not fill {LEAST_BLOCKS} blocks of {said}"
    count = len(set(clips))
    return f"whole clips, {count} of them" if count >= ENOUGH_CLIPS else f"blocks of {said} neighbouring frames"


def _sizes(names: np.ndarray, block: Block) -> np.ndarray:
    """Count the frames of a block for each frame's clip (N,), at least 1."""
    if not isinstance(block, Mapping):
        return np.full(len(names), max(block, 1))
    known, at = np.unique(names, return_inverse=True)
    return np.array([max(block[name], 1) for name in known.tolist()], int)[at]


def _filled(sizes: np.ndarray) -> int:
    """Count the whole blocks that the frames fill together. sizes: (N,) of each frame's block."""
    found, counts = np.unique(sizes, return_counts=True)
    return int((counts / found).sum() + 1e-9)


def _runs(names: np.ndarray) -> list[tuple[int, int]]:
    """Delimit the frames of each clip: [start, end)."""
    ends = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    return list(zip(ends[:-1], ends[1:], strict=True))


def _parts(rows: np.ndarray, names: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the rows (N, C) of every part that may be drawn: (P, C), and how often it is (P,), of about N / size."""
    clips = [(rows[start:end], int(sizes[start])) for start, end in _runs(names)]
    if len(set(names.tolist())) >= ENOUGH_CLIPS:
        return np.stack([clip.sum(axis=0) for clip, _ in clips]), np.ones(len(clips))
    sums, chance = [], []
    for clip, most in clips:
        count, size = len(clip), min(most, len(clip))
        total = np.concatenate([np.zeros((1, clip.shape[1])), clip, clip[: size - 1]]).cumsum(axis=0)
        sums.append(total[size:] - total[:count])
        chance.append(np.full(count, 1 / size))
    return np.concatenate(sums), np.concatenate(chance)
