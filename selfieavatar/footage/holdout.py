"""Hold frames out to measure on, for a subject without a test clip: all stages agree on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfieavatar.io.manifest import Manifest, frame_rate


def hold_out(count: int, share: float, gap: int) -> np.ndarray:
    """Split a clip into (N,) "train", "gap" and "test": the last `share` of the frames, after `gap` unused ones."""
    split = np.full(count, "train", dtype=object)
    if share <= 0:
        return split
    test = count - round(share * count)
    split[test:] = "test"
    split[max(test - gap, 0) : test] = "gap"
    return split


def kept_frames(decode: Sequence[Manifest], share: float, gap_s: float) -> list[np.ndarray]:
    """Mark the frames of each clip that are not held out, (N,) bool. The cut is that of the stage `samples`."""
    counts = [len(manifest) for manifest in decode]
    gap = round(gap_s * frame_rate(decode[-1])) if share > 0 else 0
    kept = hold_out(sum(counts), share, gap) == "train"
    return np.split(kept, np.cumsum(counts)[:-1])
