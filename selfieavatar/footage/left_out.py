"""Frames that decode leaves out, since they do not show the person who is followed: a fact of its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfieavatar.io.manifest import Manifest

FACT = "left_out"  # [[first row, row after the last, reason]], in order
_NAMED = 6  # ranges of one reason that a sentence names


def ranges_of(reason: np.ndarray) -> list[tuple[int, int, str]]:
    """List the runs of equal reasons (N,) of str, "" where a frame is kept, as (first row, row after the last, reason).

    This is the fact that decode writes.
    """
    edges = [0, *(np.flatnonzero(reason[1:] != reason[:-1]) + 1).tolist(), len(reason)]
    return [(a, b, str(reason[a])) for a, b in zip(edges, edges[1:], strict=False) if a < b and reason[a]]


def reasons_of(facts: Mapping[str, Any], count: int) -> np.ndarray:
    """Read from the facts of decode why each of `count` frames is left out, (N,) of str, "" where it is kept."""
    reason = np.full(count, "", dtype=object)
    for start, end, why in facts.get(FACT, []):
        reason[start:end] = why
    return reason


def left_out(decode: Manifest) -> np.ndarray:
    """Mark the frames (N,) bool that a manifest of decode leaves out."""
    return reasons_of(decode.metadata, len(decode)) != ""


def counts_of(reason: np.ndarray) -> dict[str, int]:
    """Count the frames of each reason (N,) of str, in the order of their first frames; "" does not count."""
    return dict(Counter(reason[reason != ""].tolist()))


def sentences(ranges: Sequence[tuple[int, int, str]], numbers: np.ndarray) -> list[str]:
    """Name the ranges, a sentence for each reason; numbers (N,) are the rows' names, such as the source's frames."""
    said = []
    for reason in dict.fromkeys(reason for _, _, reason in ranges):
        mine = [(int(numbers[a]), int(numbers[b - 1]), b - a) for a, b, why in ranges if why == reason]
        named = [str(first) if first == last else f"{first} to {last}" for first, last, _ in mine[:_NAMED]]
        more = f" and {len(mine) - _NAMED} more ranges" if len(mine) > _NAMED else ""
        count = sum(rows for *_, rows in mine)
        what = f"{count} frames show {reason} and are" if count > 1 else f"one frame shows {reason} and is"
        said.append(f"{what} left out: {', '.join(named)}{more}")
    return said
