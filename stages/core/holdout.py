"""Frames kept back to measure on, when a subject has no clip to test on: identity and samples agree on them."""

from __future__ import annotations

import numpy as np


def hold_out(count: int, share: float, gap: int) -> np.ndarray:
    """(N,) of "train", "gap" and "test": the last `share` of the frames, after `gap` frames that belong to nobody."""
    split = np.full(count, "train", dtype=object)
    if share <= 0:
        return split
    test = count - round(share * count)
    split[test:] = "test"
    split[max(test - gap, 0) : test] = "gap"
    return split
