"""Read time stamps: the frame rate of what was recorded, and where the recording was paused."""

from collections.abc import Iterable

import numpy as np

# A step between two frames that is longer than both is a pause of the recording, no slow frame.
_PAUSE_S, _PAUSE_STEPS = 0.5, 5.0
_AGREE = 0.005


def pauses(times_s: np.ndarray) -> np.ndarray:
    """Find the frames (K,) after which the recording was paused, from the rising times (N,) s of all frames."""
    steps = np.diff(times_s)
    return np.flatnonzero(steps > max(_PAUSE_S, _PAUSE_STEPS * float(np.median(steps)))) if len(steps) else np.zeros(0)


def without_pauses(times_s: np.ndarray, recorded_s: np.ndarray) -> np.ndarray:
    """Shorten the pauses of a recording, given the times (N,) s of all its frames, in times (K,) s to a usual step."""
    after = pauses(recorded_s).astype(int)
    steps = np.diff(recorded_s)
    excess = np.concatenate([[0.0], np.cumsum(steps[after] - np.median(steps))]) if len(after) else np.zeros(1)
    return times_s - excess[np.searchsorted(recorded_s[after], times_s)]


def spread(stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Part the frames that share a time stamp, from the sorted stamps (N,) of all frames, of which two or more differ.

    They follow each other by the median step, or less where the next stamp is near.

    Returns:
        The stamps (N,) float, all different, and the frames (K,) that repeated the stamp before.
    """
    known, first, count = np.unique(stamps, return_index=True, return_counts=True)
    steps = np.diff(known)
    usual = float(np.median(steps)) if len(steps) else 1.0
    step = np.minimum(usual, np.append(steps, usual * count[-1]) / count)
    place = np.arange(len(stamps)) - np.repeat(first, count)
    return np.repeat(known, count) + place * np.repeat(step, count), np.flatnonzero(place)


def frame_rate(times_s: np.ndarray, announced: Iterable[float]) -> float:
    """Compute the average frame rate of a recording from the times (N,) s of its frames, without its pauses.

    The first announced rate that agrees to 0.5 % is taken, since times are rounded; without times the first of them.
    """
    steps = np.delete(np.diff(times_s), pauses(times_s).astype(int))
    measured = round(len(steps) / float(steps.sum()), 6) if len(steps) and steps.sum() > 0 else None
    rates = [rate for rate in announced if rate > 0]
    near = [rate for rate in rates if measured is None or abs(rate / measured - 1) < _AGREE]
    return next(iter(near), measured or 25.0)


def pause_remark(times_s: np.ndarray) -> str | None:
    """Say where a recording was paused and for how long, if it was."""
    found = pauses(times_s).astype(int)
    if not len(found):
        return None
    steps = np.diff(times_s)[found]
    longest = int(steps.argmax())
    where = f"after frame {found[longest]} (at {times_s[found[longest]]:.1f} s) for {steps[longest]:.1f} s"
    count = f"{len(found)} times, the longest " if len(found) > 1 else ""
    return f"the recording pauses {count}{where}: that does not count for the frame rate"
