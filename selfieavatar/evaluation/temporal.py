"""Measure steadiness in time, from pairs of frames that follow each other in one clip."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from selfieavatar.evaluation.regions import mean_or_none, mean_over

# A pixel stood still where no colour of the truth changed by more than this: two grey levels, the noise of a decoder.
STATIC_CHANGE = 2.5 / 255
METRICS = ("difference_error", "difference_error_face", "flicker_static", "flicker_static_truth")


def temporal_scores(
    predicted: tuple[np.ndarray, np.ndarray], truth: tuple[np.ndarray, np.ndarray], face: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure N pairs of neighbouring frames: metrics (N,) float64 in colour units of [0,1], NaN where none applies.

    predicted, truth: (first, second), each (N,H,W,3) float in [0,1]. face: (N,H,W) bool.

    difference_error(_face): mean |change of the avatar - change of the truth|, over the image (the face).
    flicker_static: mean |change of the avatar| where the truth stood still; flicker_static_truth: the truth's own
    change there (its noise), the least that can be asked for.
    """
    change = predicted[1] - predicted[0]
    true_change = truth[1] - truth[0]
    error = np.abs(change - true_change).mean(axis=3)
    static = (np.abs(true_change) <= STATIC_CHANGE).all(axis=3)
    return {
        "difference_error": error.mean(axis=(1, 2), dtype=np.float64),
        "difference_error_face": mean_over(error, face),
        "flicker_static": mean_over(np.abs(change).mean(axis=3), static),
        "flicker_static_truth": mean_over(np.abs(true_change).mean(axis=3), static),
    }


@dataclass
class _Frame:
    order: int
    predicted: np.ndarray
    truth: np.ndarray
    face: np.ndarray


@dataclass
class TemporalSheet:
    """Collector of the metrics of neighbouring frames over batches, clip by clip."""

    _last: _Frame | None = None
    _rows: list[list[float]] = field(default_factory=list)  # METRICS of each frame and the one before

    def start_clip(self) -> None:
        """Forget the last frame: no pair reaches over a cut."""
        self._last = None

    def add(self, order: np.ndarray, predicted: np.ndarray, truth: np.ndarray, face: np.ndarray) -> None:
        """Add N frames of the clip.

        order: (N,) int, ascending, counts the distinct images of the clip; repeated images of the recording (the same
        number again) are passed over, since nobody moved in them. predicted, truth: (N,H,W,3) float in [0,1]; face:
        (N,H,W) bool.
        """
        for place, number in enumerate(order.tolist()):
            self._rows.append([np.nan] * len(METRICS))
            if self._last is not None and number == self._last.order:
                continue
            frame = _Frame(number, predicted[place], truth[place], face[place])
            if self._last is not None and number == self._last.order + 1:
                self._rows[-1] = self._score(self._last, frame)
            self._last = frame

    def _score(self, first: _Frame, second: _Frame) -> list[float]:
        pair = temporal_scores(
            (first.predicted[None], second.predicted[None]),
            (first.truth[None], second.truth[None]),
            (first.face & second.face)[None],
        )
        return [float(pair[name][0]) for name in METRICS]

    def per_frame(self) -> dict[str, np.ndarray]:
        """List {metric: (N,)} of each frame and the one before, in the order of adding; NaN where none precedes."""
        return dict(zip(METRICS, np.reshape(self._rows, (-1, len(METRICS))).T, strict=True))

    def summary(self) -> dict[str, float | int | None]:
        """Average: {"pairs": number, metric: mean over the pairs that have it, or None}."""
        parts = self.per_frame()
        pairs = int(np.isfinite(parts["difference_error"]).sum())
        return {"pairs": pairs} | {name: mean_or_none(values) for name, values in parts.items()}

    def notes(self) -> list[str]:
        """Say why metrics are None."""
        why = dict.fromkeys(METRICS, "no two of the frames follow each other")
        if self.summary()["pairs"]:
            why = dict.fromkeys(METRICS, "nothing stands still between two frames of the truth")
            why["difference_error_face"] = "no two frames that follow each other show the face"
        return [f"{name}: {why[name]}" for name in METRICS if self.summary()[name] is None]
