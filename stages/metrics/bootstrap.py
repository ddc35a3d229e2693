"""How far a mean over frames can be trusted: percentile bootstrap (Efron 1979) that respects that neighbouring frames
are alike.

Frames of one second say nearly the same thing, so blocks of neighbours are drawn; where there are enough clips, whole
clips are. Blocks reach over a clip's end to its beginning (Politis and Romano 1992), so that all frames are drawn alike
often. Since few blocks tell too little about the spread, the interval is widened as Student's t is over the normal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

DRAWS = 2000
LEVEL = 0.95
SEED = 1
ENOUGH_CLIPS = 8  # of which whole ones are drawn; the spread of fewer says little
LEAST_BLOCKS = 5  # that the known frames fill: of fewer, any interval would be made up


def mean_interval(
    values: np.ndarray,
    clips: Sequence[str] | np.ndarray,
    block: int,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = SEED,
) -> list[float] | None:
    """[low, high] of the mean of values (N,), NaN ones left out; None where the others fill fewer blocks, or lie in
    fewer clips, than `LEAST_BLOCKS` and `ENOUGH_CLIPS`.

    clips: name or number of each value's clip, whose frames follow each other. block: frames that are drawn together,
    such as a second's.
    """
    known, names = np.isfinite(values), np.asarray(clips)
    shown = np.isin(names, names[known])  # clips without any value have no part in it
    values, known, names = np.asarray(values, float)[shown], known[shown], names[shown]
    count = independent(names[known].tolist(), block)
    if not count:
        return None
    sums, chance = _parts(np.stack([np.where(known, values, 0.0), known], axis=1), names, block)
    # As many as make up all frames; those of short clips are shorter, and drawn more often for that.
    drawn = np.random.default_rng(seed).choice(len(sums), (draws, round(chance.sum())), p=chance / chance.sum())
    totals = sums[drawn].sum(axis=1)
    means = totals[totals[:, 1] > 0.5, 0] / totals[totals[:, 1] > 0.5, 1]
    tail, mean = (1 - level) / 2, values[known].mean()
    wider = np.sqrt(count / (count - 1)) * t.ppf(tail, count - 1) / norm.ppf(tail)
    ends = mean + wider * (np.percentile(means, [100 * tail, 100 - 100 * tail]) - mean)
    return np.clip(ends, values[known].min(), values[known].max()).tolist()


def independent(clips: Sequence[str], block: int) -> int:
    """How many clips, or blocks that the frames fill, can be drawn from; 0 where there are too few."""
    if len(set(clips)) >= ENOUGH_CLIPS:
        return len(set(clips))
    blocks = len(clips) // max(block, 1)
    return blocks if blocks >= LEAST_BLOCKS else 0


def method(clips: Sequence[str], block: int) -> str:
    """What is drawn, in words; "none: ..." where there is too little for an interval."""
    if not independent(clips, block):
        return f"none: {len(clips)} frames do not fill {LEAST_BLOCKS} blocks of {block}"
    count = len(set(clips))
    return f"whole clips, {count} of them" if count >= ENOUGH_CLIPS else f"blocks of {block} neighbouring frames"


def _parts(rows: np.ndarray, names: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums (P, C) of the rows (N, C) of every part that may be drawn, and how often it is (P,), of about N / block."""
    clips = np.split(rows, np.flatnonzero(names[1:] != names[:-1]) + 1)
    if len(set(names.tolist())) >= ENOUGH_CLIPS:
        return np.stack([clip.sum(axis=0) for clip in clips]), np.ones(len(clips))
    sums, chance = [], []
    for clip in clips:
        # At least four blocks a clip: one alone would look certain.
        count, size = len(clip), int(np.clip(len(clip) // 4, 1, max(block, 1)))
        total = np.concatenate([np.zeros((1, clip.shape[1])), clip, clip[: size - 1]]).cumsum(axis=0)
        sums.append(total[size:] - total[:count])
        chance.append(np.full(count, 1 / size))
    return np.concatenate(sums), np.concatenate(chance)
