"""Hold frames out to measure on, for a subject without a test clip: decode makes the cut, and all stages keep to it.

What is held out is treated as a clip of its own from then on, as a test clip would be: whatever a stage learns from a
whole clip (noise, medians, plate) it learns from the frames to train on without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from selfieavatar.fitting.torso import fill_nearest
from selfieavatar.io.manifest import Manifest

CUT_FACTS = ("held_from", "test_from")  # of a clip's manifests: the rows where the gap and the frames to test on begin


def hold_out(clips: Sequence[tuple[np.ndarray, float]], share: float, gap_s: float) -> list[np.ndarray]:
    """Split the frames of each clip into (N,) "train", "gap" and "test": the last `share` of all, after an unused gap.

    clips: the times (N,) s of each clip's frames and its frames per second. The gap lasts at least `gap_s` by the
    times, and has at least as many frames as pass in `gap_s` at the clip's rate: in a pause, nothing moves.
    """
    count = [len(times_s) for times_s, _ in clips]
    whole = np.full(sum(count), "train", dtype=object)
    if share <= 0:
        return np.split(whole, np.cumsum(count)[:-1])
    whole[len(whole) - round(share * len(whole)) :] = "test"
    splits = np.split(whole, np.cumsum(count)[:-1])
    for (times_s, fps), split in zip(reversed(clips), reversed(splits), strict=True):
        cut = int((split == "train").sum())
        gap = min(_gap_frames(times_s[: cut + 1], cut, fps, gap_s), cut)
        split[cut - gap : cut] = "gap"
        gap_s -= gap / fps  # what a short clip leaves over is of the clip before
    return splits


def _gap_frames(times_s: np.ndarray, cut: int, fps: float, gap_s: float) -> int:
    """Count the frames before frame `cut` that are shown within `gap_s` of it; times_s: (cut or more,)."""
    if not cut or gap_s <= 0:
        return 0
    ends_s = np.append(times_s[1:], times_s[-1] + 1 / fps)[:cut]
    within = int((ends_s[-1] - ends_s < gap_s - 0.5 / fps).sum())  # half a frame for rounded times
    return max(within, math.ceil(gap_s * fps - 0.01))


def cut_facts(split: np.ndarray) -> dict[str, int]:
    """Write the facts of a clip whose frames are split so (N,), as by `hold_out`; both are N without a hold-out."""
    return dict(zip(CUT_FACTS, (int((split == "train").sum()), int((split != "test").sum())), strict=True))


def split_of(clip: Manifest) -> np.ndarray:
    """Read from a manifest of decode or fit how the clip is cut: (N,) "train", "gap" or "test"."""
    split = np.full(len(clip), "train", dtype=object)
    for name, kind in zip(CUT_FACTS, ("gap", "test"), strict=True):
        split[clip.metadata.get(name, len(clip)) :] = kind
    return split


def kept_frames(clips: Sequence[Manifest]) -> list[np.ndarray]:
    """Mark the frames of each clip that are not held out, (N,) bool."""
    return [split_of(clip) == "train" for clip in clips]


def parts(clip: Manifest) -> list[slice]:
    """List the rows of a clip's parts that know nothing of each other: what is trained on, and what is held out."""
    cut = int((split_of(clip) == "train").sum())
    return [rows for rows in (slice(0, cut), slice(cut, len(clip))) if rows.start < rows.stop] or [slice(0, 0)]


def filled_torso(fit: Manifest) -> np.ndarray:
    """Read a clip's shifts of the torso (N, 2), unknown ones filled from the same part of the clip."""
    return np.concatenate([fill_nearest(fit["torso"][rows]) for rows in parts(fit)])
