"""Choose what figures.html shows of the scores: estimates, frames to look at, groups of clips, the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from selfieavatar.evaluation.bootstrap import Block, frame_interval
from selfieavatar.evaluation.regions import REGIONS, mean_or_none
from selfieavatar.evaluation.summary_text import beside
from selfieavatar.reporting.plots import Estimate

AVATAR = "the avatar"
METRICS = {
    "psnr_db": "PSNR, dB", "ssim": "SSIM", "sharpness": "sharpness", "lpips": "LPIPS",
    "effnet_distance": "EfficientNet distance", "fid": "FID", "identity_similarity": "identity similarity",
}  # fmt: skip
# Labels of clips by which scores are told apart.
GROUPED = ("emotion", "level", "view")
# Plots of the training: title -> columns of the history. Losses and norms reach over several powers of ten.
TRAINING = {
    "losses": ("total", "l1", "mask", "mrf", "cos", "gan", "gradient"),
    "gradient norms": ("norm_face", "norm_back", "norm_style", "norm_disc"),
    "discriminator": ("d_real", "d_fake", "disc"),
    "validation, dB": ("val_full_db", "val_face_db", "val_score"),
}
LOGARITHMIC = ("losses", "gradient norms")
_NUMBERS = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
_REGIONS = {"type": "object", "required": [*REGIONS], "properties": dict.fromkeys(REGIONS, _NUMBERS)}
_INTERVAL = {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_INTERVALS = {"type": "object", "additionalProperties": _INTERVAL}
_OPTIONAL, _TABLE = {"type": ["number", "null"]}, {"type": "object"}
SCHEMA = {  # of what the page reads of a metrics.json
    "type": "object",
    "properties": dict.fromkeys(REGIONS, _NUMBERS) | {
        "interleaved": {"type": "array"}, "subject": {}, "variant": {}, "frames": {}, "size_px": {},
        "temporal": _NUMBERS,
        "tracked": _NUMBERS | {"type": ["object", "null"]}, "mask": _NUMBERS | {"type": ["object", "null"]},
        "intervals": _REGIONS | {"properties": dict.fromkeys(REGIONS, _INTERVALS)},
        "baselines": {"type": "object", "additionalProperties": _REGIONS}, "definitions": _TABLE,
        "tracked_torso": _REGIONS | {"type": ["object", "null"]},
        "speed": {"type": "object", "properties": {"fps": _OPTIONAL}},
        "training": {"type": "object", "properties": {"images": _OPTIONAL, "minutes": _OPTIONAL}},
        "weights": _TABLE, "versions": _TABLE, "notes": {"type": "array"},
    },
}  # fmt: skip
SCHEMA["required"] = list(SCHEMA["properties"])


@dataclass(frozen=True)
class Scores:
    """The scores of N frames, clip after clip, and what is known of their clips."""

    values: Mapping[str, np.ndarray]  # columns of self.parquet, such as "ssim_face", (N,)
    clips: np.ndarray  # (N,) names
    frames: np.ndarray  # (N,)
    time_s: np.ndarray  # (N,)
    labels: Mapping[str, Mapping[str, str]]  # of each clip, such as {"emotion": "happy", "level": "3"}
    block: Block  # frames of a second of each clip, which say nearly the same

    @property
    def by_clip(self) -> dict[str, np.ndarray]:
        """Rows (N,) bool of each clip, in their order."""
        return {clip: self.clips == clip for clip in dict.fromkeys(self.clips.tolist())}

    @property
    def region(self) -> str:
        """The region that frames are told apart by: the face, where no frame has one the person, else the image."""
        known = (r for r in ("face", "person") if np.isfinite(self.values[f"psnr_db_{r}"]).any())
        return next(known, "full")

    def mean(self, name: str, rows: np.ndarray) -> Estimate:
        """Estimate the mean of a column over some of the rows (N,) bool, and its interval."""
        values = np.asarray(self.values[name][rows], float)
        interval = frame_interval(values, self.clips[rows].tolist(), self.block)
        return Estimate(mean_or_none(values), None if interval is None else (interval[0], interval[1]))


def misfit(metrics: Any) -> str:
    """Say what keeps the content of a metrics.json from being shown; empty where nothing does."""
    error = best_match(Draft202012Validator(SCHEMA).iter_errors(metrics))
    return "" if error is None else f"{'.'.join(map(str, error.absolute_path)) or 'it'}: {error.message:.200}"


def estimates(metrics: Mapping[str, Any], metric: str) -> dict[str, dict[str, Estimate]]:
    """Look up a metric of metrics.json as region -> method -> estimate; only the avatar's has an interval."""
    found = {}
    for region in REGIONS:
        ends = metrics["intervals"][region].get(metric)
        found[region] = {AVATAR: Estimate(metrics[region].get(metric), None if ends is None else (ends[0], ends[1]))}
        for name, regions in beside(metrics).items():
            found[region][name] = Estimate(regions[region].get(metric))
    return found


def missing(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Find why each metric that is null everywhere is so, from the notes of metrics.json that begin with its name."""
    notes = {name: why for name, _, why in (str(note).partition(": ") for note in metrics["notes"])}
    measured = [regions[region] for regions in (metrics, *metrics["baselines"].values()) for region in REGIONS]
    absent = [metric for metric in METRICS if all(found.get(metric) is None for found in measured)]
    return {metric: notes.get(metric, "metrics.json does not say why") for metric in absent}


def remarkable_frames(
    score: np.ndarray, clips: np.ndarray, time_s: np.ndarray, count: int, apart_s: float = 1.0
) -> dict[str, list[int]]:
    """Choose the rows of up to `count` frames each: the "worst", the "best", and those nearest to the median.

    A quarter of the known ones at most: of few frames, most are not the worst. The kinds choose in turn, so that a
    short clip shows some of each.

    score: (N,), higher is better, NaN passed over. clips: (N,) names. time_s: (N,). No row comes twice, and no two of a
    clip lie nearer than `apart_s`: neighbours show the same.
    """
    known = np.flatnonzero(np.isfinite(score))
    count = min(count, max(len(known) // 4, 1))
    middle = np.abs(score[known] - np.median(score[known])) if len(known) else score[known]
    orders = {"worst": score[known], "best": -score[known], "typical": middle}
    left = {kind: known[np.argsort(order, kind="stable")].tolist() for kind, order in orders.items()}
    found: dict[str, list[int]] = {kind: [] for kind in orders}
    taken: list[int] = []
    for kind in list(orders) * count:
        while left[kind]:
            row = left[kind].pop(0)
            if not any(clips[row] == clips[k] and abs(time_s[row] - time_s[k]) < apart_s for k in taken):
                found[kind].append(row)
                taken.append(row)
                break
    return found


def groups_of(scores: Scores) -> dict[str, dict[str, np.ndarray]]:
    """Group rows (N,) bool as label -> value -> rows, by the labels of the clips and by their names."""
    found = {}
    for label in GROUPED:
        shown = np.array([str(scores.labels[clip].get(label, "")) for clip in scores.clips], dtype=object)
        found[label] = {value: shown == value for value in sorted(set(shown.tolist()) - {""})}
    found["clip"] = scores.by_clip
    return {label: rows for label, rows in found.items() if len(rows) > 1}


def unbroken(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Spread values (N,) of ascending frames (N,) over all frames from first to last, NaN where none was measured."""
    found = np.full(frames[-1] - frames[0] + 1, np.nan)
    found[frames - frames[0]] = values
    return found


def training_curves(history: Sequence[Mapping[str, float]]) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """Return the curves of a training: images (N,), and title -> column -> values (N,), NaN where a report lacks it."""
    images = np.array([row["images"] for row in history], float)
    groups = {}
    for title, names in TRAINING.items():
        columns = {name: np.array([row.get(name, np.nan) for row in history], float) for name in names}
        known = {name: values for name, values in columns.items() if np.isfinite(values).any()}
        if known:
            groups[title] = known
    return images, groups
