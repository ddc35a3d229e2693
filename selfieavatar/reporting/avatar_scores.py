"""What a page about an avatar shows of its scores: estimates, the frames to look at, groups of clips, the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfieavatar.evaluation.bootstrap import Block, frame_interval
from selfieavatar.evaluation.regions import REGIONS, mean_or_none
from selfieavatar.evaluation.summary_text import WORDS
from selfieavatar.reporting.charts import Estimate

AVATAR = "the avatar"
FIGURES = {"psnr_db": "PSNR, dB", "ssim": "SSIM", "sharpness": "sharpness", "lpips": "LPIPS", "fid": "FID",
           "identity_similarity": "identity similarity"}  # fmt: skip
# Labels of clips by which scores are told apart.
GROUPED = ("emotion", "level", "view")
# Panels of the training: title -> columns of the history. Losses and norms reach over several powers of ten.
TRAINING = {
    "losses": ("total", "l1", "mask", "mrf", "cos", "gan", "gradient"),
    "gradient norms": ("norm_face", "norm_back", "norm_style", "norm_disc"),
    "discriminator": ("d_real", "d_fake", "disc"),
    "validation, dB": ("val_full_db", "val_face_db", "val_score"),
}
LOGARITHMIC = ("losses", "gradient norms")
NEEDED = ("subject", "variant", "frames", "size_px", "temporal", "tracked", "intervals", "baselines", "definitions",
          "speed", "training", "weights", "versions", "notes")  # fmt: skip


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
        """Mean of a column over some of the rows (N,) bool, and its interval."""
        values = np.asarray(self.values[name][rows], float)
        interval = frame_interval(values, self.clips[rows].tolist(), self.block)
        return Estimate(mean_or_none(values), None if interval is None else (interval[0], interval[1]))


def misfit(metrics: Any) -> str:
    """What keeps the content of a metrics.json from being shown, in words; empty where nothing does."""
    if not isinstance(metrics, dict):
        return "it holds no table"
    missing = [name for name in (*NEEDED, *REGIONS) if name not in metrics]
    if missing:
        return f"it lacks {', '.join(missing)}"
    tables = [metrics[name] for name in ("temporal", "intervals", "baselines", "definitions", "speed", "training",
                                         "weights", "versions")]  # fmt: skip
    if not all(isinstance(table, dict) for table in tables) or not isinstance(metrics["notes"], list):
        return "a table is none"
    plain = [metrics["temporal"], metrics["tracked"] or {}, {"fps": metrics["speed"].get("fps")}]
    plain.append({name: metrics["training"].get(name) for name in ("images", "minutes")})
    if not all(isinstance(table, dict) and all(map(_is_figure, table.values())) for table in plain):
        return "a figure is no number"
    for regions in (metrics, *metrics["baselines"].values()):
        found = [regions.get(region) if isinstance(regions, dict) else None for region in REGIONS]
        if not all(isinstance(of_region, dict) and all(map(_is_figure, of_region.values())) for of_region in found):
            return "a figure is no number"
    for region in REGIONS:
        ends = metrics["intervals"].get(region)
        if not isinstance(ends, dict) or not all(map(_is_interval, ends.values())):
            return "an interval is none"
    return ""


def _is_figure(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _is_interval(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(end) in (int, float) for end in value)
    return value is None or numbers


def estimates(metrics: Mapping[str, Any], figure: str) -> dict[str, dict[str, Estimate]]:
    """region -> method -> figure of metrics.json; only the avatar's has an interval."""
    found = {}
    for region in REGIONS:
        ends = metrics["intervals"][region].get(figure)
        found[region] = {AVATAR: Estimate(metrics[region].get(figure), None if ends is None else (ends[0], ends[1]))}
        for name, regions in metrics["baselines"].items():
            found[region][WORDS.get(name, name)] = Estimate(regions[region].get(figure))
    return found


def missing(metrics: Mapping[str, Any]) -> dict[str, str]:
    """figure -> why it is null everywhere, from the notes of metrics.json that begin with its name."""
    notes = {name: why for name, _, why in (str(note).partition(": ") for note in metrics["notes"])}
    measured = [regions[region] for regions in (metrics, *metrics["baselines"].values()) for region in REGIONS]
    absent = [figure for figure in FIGURES if all(found.get(figure) is None for found in measured)]
    return {figure: notes.get(figure, "metrics.json does not say why") for figure in absent}


def remarkable_frames(
    score: np.ndarray, clips: np.ndarray, time_s: np.ndarray, count: int, apart_s: float = 1.0
) -> dict[str, list[int]]:
    """Rows of the frames to look at, up to `count` each: the "worst", the "best", and those nearest to the median.

    Each is one frame at least, and a quarter of the known ones at most: of few frames, most are not the worst.

    score: (N,), higher is better, NaN passed over. clips: (N,) names. time_s: (N,). No row comes twice, and no two of a
    clip lie nearer than `apart_s`: neighbours show the same.
    """
    known = np.flatnonzero(np.isfinite(score))
    count = min(count, max(len(known) // 4, 1))
    middle = np.abs(score[known] - np.median(score[known])) if len(known) else score[known]
    orders = {"worst": score[known], "best": -score[known], "typical": middle}
    taken: list[int] = []
    found: dict[str, list[int]] = {}
    for kind, order in orders.items():
        found[kind] = []
        for row in known[np.argsort(order, kind="stable")].tolist():
            if len(found[kind]) == count:
                break
            if not any(clips[row] == clips[k] and abs(time_s[row] - time_s[k]) < apart_s for k in taken):
                found[kind].append(row)
                taken.append(row)
    return found


def groups_of(scores: Scores) -> dict[str, dict[str, np.ndarray]]:
    """label -> its value -> rows (N,) bool: what the clips' labels, or their names, tell apart."""
    found = {}
    for label in GROUPED:
        shown = np.array([str(scores.labels[clip].get(label, "")) for clip in scores.clips], dtype=object)
        found[label] = {value: shown == value for value in sorted(set(shown.tolist()) - {""})}
    found["clip"] = scores.by_clip
    return {label: rows for label, rows in found.items() if len(rows) > 1}


def unbroken(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (N,) of ascending frames (N,) over all frames from the first to the last, NaN where none was measured."""
    whole = np.full(frames[-1] - frames[0] + 1, np.nan)
    whole[frames - frames[0]] = values
    return whole


def training_curves(history: Sequence[Mapping[str, float]]) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """Images (N,), and title -> column -> values (N,), NaN where a report lacks it; no columns without any."""
    images = np.array([row["images"] for row in history], float)
    panels = {}
    for title, names in TRAINING.items():
        columns = {name: np.array([row.get(name, np.nan) for row in history], float) for name in names}
        known = {name: values for name, values in columns.items() if np.isfinite(values).any()}
        if known:
            panels[title] = known
    return images, panels
