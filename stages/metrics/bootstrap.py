"""How far a mean over frames can be trusted: percentile bootstrap (Efron 1979) that respects that neighbouring frames
are alike.

Frames of one second say nearly the same thing, so blocks of neighbours are drawn (moving blocks, Künsch 1989); where
there are enough clips, whole clips are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 2000
LEVEL = 0.95
SEED = 1
ENOUGH_CLIPS = 8  # of which whole ones are drawn; the spread of fewer says little
LEAST_BLOCKS = 5  # of neighbouring frames: of fewer, any interval would be made up


def mean_interval(
    values: np.ndarray,
    clips: Sequence[str] | np.ndarray,
    block: int,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = SEED,
) -> list[float] | None:
    """[low, high] of the mean of values (N,), NaN ones left out; None where what is left is less than `LEAST_BLOCKS`.

    clips: name or number of each value's clip, whose frames follow each other. block: frames that are drawn together,
    such as a second's.
    """
    known = np.isfinite(values)
    names = np.asarray(clips)
    shown = np.isin(names, names[known])  # clips without any value have no part in it
    values, known = np.asarray(values)[shown], known[shown]
    if known.sum() < 2 or block_count(names[shown].tolist(), block) < LEAST_BLOCKS:
        return None
    starts, lengths = _parts(names[shown].tolist(), block)
    sums, counts = (np.concatenate([[0.0], np.cumsum(v)]) for v in (np.where(known, values, 0.0), known))
    part_sum, part_count = (total[starts + lengths] - total[starts] for total in (sums, counts))
    wanted = max(1, round(len(values) / lengths.mean()))
    drawn = np.random.default_rng(seed).integers(len(starts), size=(draws, wanted))
    total = part_count[drawn].sum(1)
    means = part_sum[drawn].sum(1)[total > 0] / total[total > 0]
    tail = 100 * (1 - level) / 2
    return np.percentile(means, [tail, 100 - tail]).tolist()


def method(clips: Sequence[str], block: int) -> str:
    """What is drawn, in words; "none: ..." where there is too little for an interval."""
    count, blocks = len(set(clips)), block_count(clips, block)
    if blocks < LEAST_BLOCKS:
        return f"none: {len(clips)} frames are {blocks} blocks of {block}, too few (at least {LEAST_BLOCKS})"
    return f"whole clips, {count} of them" if count >= ENOUGH_CLIPS else f"blocks of {block} neighbouring frames"


def block_count(clips: Sequence[str], block: int) -> int:
    """How many blocks the frames are worth: each clip, and every `block` frames of it, is one."""
    lengths = np.unique(np.asarray(clips), return_counts=True)[1]
    return int(np.ceil(lengths / max(block, 1)).sum())


def _parts(clips: Sequence[str], block: int) -> tuple[np.ndarray, np.ndarray]:
    """First number and length of every part that may be drawn: clips, or blocks within clips."""
    names = np.asarray(clips)
    first = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else np.zeros(0, int)
    length = np.diff(np.r_[first, len(names)])
    if len(set(clips)) >= ENOUGH_CLIPS:
        return first, length
    # At least four blocks a clip: one alone would look certain.
    size = np.clip(length // 4, 1, max(block, 1))
    starts = [np.arange(f, f + n - s + 1) for f, n, s in zip(first, length, size, strict=True)]
    lengths = [np.full(len(part), s) for part, s in zip(starts, size, strict=True)]
    return np.concatenate([np.zeros(0, int), *starts]), np.concatenate([np.zeros(0, int), *lengths])
