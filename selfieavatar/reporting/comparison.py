"""Compare methods over subjects: the long table of scores, what is missing and why, the best, means.

A `Cell` is a score, one row of table.parquet. What could not be measured is a cell, too: NaN with its reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from selfieavatar.evaluation.bootstrap import ENOUGH_CLIPS, Block, frame_interval, mean_interval
from selfieavatar.evaluation.metric_registry import MORE_IS_BETTER
from selfieavatar.evaluation.metrics_file import TABLE_METRICS
from selfieavatar.evaluation.network_metrics import FID_REGIONS
from selfieavatar.evaluation.psnr import CEILING_DB
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.summary_text import TRACKED_TORSO, TRACKED_WORDS, WORDS
from selfieavatar.io.manifest import Columns

METRICS = ("psnr_db", "ssim", "ssim_uniform7", "lpips", "effnet_distance", "fid", "sharpness")
# Metrics that are not taken over every region: their part of metrics.json, and the region that they tell about.
FURTHER = {
    "identity_similarity": ("face", "face"), "akd": ("tracked", "face"), "aed": ("tracked", "face"),
    "apd_deg": ("tracked", "face"), "jitter": ("tracked", "face"), "difference_error": ("temporal", "full"),
    "difference_error_face": ("temporal", "face"), "flicker_static": ("temporal", "full"),
    "mask_mae": ("mask", "full"), "mask_iou": ("mask", "full"), "lid_correlation": ("tracked", "face"),
    "lid_amplitude": ("tracked", "face"), "lid_closing": ("tracked", "face"), "lip_correlation": ("tracked", "face"),
    "lip_amplitude": ("tracked", "face"),
}  # fmt: skip
# How many frames FURTHER's parts are means of.
COUNTS = {"tracked": "found", "temporal": "pairs", "mask": "frames", "face": "frames"}
BEST_AT_ONE = frozenset({"sharpness", "lid_amplitude", "lid_closing", "lip_amplitude"})
# In the order of the table, which is the paper's: others first, ablations, the method itself. The kind "tracked" is our
# avatar driven by more than a driver tells, and takes part in no contest.
KINDS = ("baseline", "external", "variant", "tracked", "ours")
INSIDE = ("baseline", "tracked")  # kinds whose scores lie in the avatar's own metrics.json
ALL_FRAMES = "self"
_NO_REASON = "metrics.json does not hold it; measure again"


class Method(NamedTuple):
    """A method of one of KINDS."""

    kind: str
    name: str

    @property
    def label(self) -> str:
        """The method in words."""
        if self.kind == "ours":
            return self.name
        if self.kind == "tracked":
            return TRACKED_WORDS.replace("the avatar", OURS.name)
        return f"{WORDS[self.name].removeprefix('the ') if self.kind == 'baseline' else self.name} ({self.kind})"

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in the table."""
        return KINDS.index(self.kind), self.name


OURS = Method("ours", "ours")
TRACKED = Method("tracked", TRACKED_TORSO)


class Cell(NamedTuple):
    """A row of table.parquet; see `SCHEMAS["table"]`."""

    subject: str
    dataset: str
    method: str
    kind: str
    split: str
    region: str
    metric: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    frames: int = 0
    size_px: int = 0
    reason: str = ""

    @property
    def of(self) -> Method:
        """Its method."""
        return Method(self.kind, self.method)


@dataclass(frozen=True)
class Measured:
    """One method on one subject: the content of metrics.json, or an empty one.

    reason: why it is empty, or what to bear in mind about all of it. asked: false where nobody has asked for it, such
    as for a variant that other subjects have; the page then names it in passing. command: what makes it.
    """

    subject: str
    dataset: str
    method: Method
    metrics: Mapping[str, Any]
    reason: str = ""
    asked: bool = True
    command: str = ""

    def cells(self) -> list[Cell]:
        """Make a cell for every region and metric, the missing ones with their reason."""
        found = [self._cell(r, r, m) for r in REGIONS for m in METRICS if m != "fid" or r in FID_REGIONS]
        # What stands beside the avatar is neither tracked again nor looked at in time.
        mine = [m for m, (part, _) in FURTHER.items() if self.method.kind not in INSIDE or part in REGIONS]
        return found + [self._cell(FURTHER[m][1], FURTHER[m][0], m) for m in mine]

    @property
    def notes(self) -> list[str]:
        """Notes of metrics.json."""
        found = self.metrics.get("notes")
        return [note for note in found if isinstance(note, str)] if isinstance(found, list) else []

    def remarks(self) -> list[str]:
        """Collect the reason, and the notes that are about no single metric."""
        about_all = [note for note in self.notes if note.partition(":")[0] not in (*METRICS, *FURTHER, "tracked")]
        return [self.reason, *about_all] if self.reason else about_all

    def count(self, *names: str) -> int:
        """Look up a whole number of metrics.json by its path; 0 where there is none."""
        value = number(self.metrics, *names)
        return int(value) if 0 <= value < 2**31 else 0

    def _cell(self, region: str, part: str, metric: str) -> Cell:
        at = {"baseline": ("baselines", self.method.name), "tracked": (self.method.name,)}.get(self.method.kind, ())
        key = (self.subject, self.dataset, self.method.name, self.method.kind, ALL_FRAMES, region, metric)
        value, frames = number(self.metrics, *at, part, metric), self.count(*at, part, COUNTS.get(part, "frames"))
        ends = look_up(self.metrics, *at, "intervals", part, metric)
        low, high = map(_finite, ends) if isinstance(ends, list) and len(ends) == 2 else (math.nan, math.nan)
        return Cell(*key, value, low, high, frames, self.count("size_px"), self._why(part, metric, value, frames))

    def _why(self, part: str, metric: str, value: float, frames: int) -> str:
        """Say why a score is missing, or what to bear in mind about it."""
        if not self.metrics:
            return self.reason
        if metric == "psnr_db" and value >= CEILING_DB:
            return f"equal to the truth: PSNR is infinite and counts as {CEILING_DB:g} dB"
        said = [note.partition(":")[2].strip() for note in self.notes if note.startswith((f"{metric}:", f"{part}:"))]
        if self.method.kind in INSIDE and metric == "psnr_db":
            said = []  # that note counts the avatar's own images
        if said or not math.isnan(value):
            return "; ".join(said)
        empty = part in REGIONS and isinstance(look_up(self.metrics, part), Mapping) and not frames
        return "no test frame has this region" if empty else _NO_REASON


def look_up(content: Any, *names: str) -> Any:
    """Look up the value under nested names of a file that somebody else may have written, None where there is none."""
    for name in names:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def number(content: Any, *names: str) -> float:
    """Look up a finite number; NaN where there is none."""
    return _finite(look_up(content, *names))


def _finite(value: Any) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if known else math.nan


Labels = Mapping[str, Mapping[str, str]]  # clip -> {label: value}


def group_cells(one: Measured, columns: Columns, labels: Labels, block: Block) -> list[Cell]:
    """Score the frames whose clip carries a label, for each label and value.

    columns: of the manifest `self`, rows (N,). block: see `frame_interval`.
    """
    clips, found = np.asarray(columns["clip"]).astype(str), []
    names, numbers = np.unique(clips, return_inverse=True)  # numbers compare much faster than names
    second: Any = block
    if isinstance(block, Mapping):
        second = {number: block[name] for number, name in enumerate(names.tolist())}
    rows_of = {
        split: np.isin(clips, [clip for clip in labels if split in _splits(labels[clip])])
        for split in _all_splits(labels)
    }
    for empty in missing_cells(one, labels, "no test frame has this region"):
        rows = rows_of[empty.split]
        scores = np.asarray(columns[f"{empty.metric}_{empty.region}"], np.float64)[rows]
        count = int(np.isfinite(scores).sum())
        if not count:
            found.append(empty)
            continue
        low, high = frame_interval(scores, numbers[rows], second) or (math.nan, math.nan)
        value = float(scores[np.isfinite(scores)].mean())
        found.append(empty._replace(value=value, low=low, high=high, frames=count, reason=""))
    return found


def missing_cells(one: Measured, labels: Labels, reason: str) -> list[Cell]:
    """Make the cells of `group_cells`, all missing for the same reason."""
    key = (one.subject, one.dataset, one.method.name, one.method.kind)
    return [
        Cell(*key, split, region, metric, size_px=one.count("size_px"), reason=reason)
        for split in _all_splits(labels)
        for region in REGIONS
        for metric in TABLE_METRICS
    ]


def _splits(labels: Mapping[str, str]) -> list[str]:
    return [f"{ALL_FRAMES}/{label}={value}" for label, value in labels.items()]


def _all_splits(labels: Labels) -> list[str]:
    return sorted({split for shown in labels.values() for split in _splits(shown)})


def methods_of(cells: Iterable[Cell]) -> list[Method]:
    """List the methods of some cells, in the order of the table."""
    return sorted({cell.of for cell in cells}, key=lambda method: method.place)


def best_of(cells: Iterable[Cell], metric: str, digits: int) -> set[Method]:
    """Find the methods with the best value of a metric among those that have one; several where the shown digits agree.

    Nobody is the best of one.
    """
    known = {
        cell.of: round(cell.value, digits) for cell in cells if math.isfinite(cell.value) and cell.kind != "tracked"
    }
    if len(known) < 2:
        return set()
    loss = {method: loss_of(metric, value) for method, value in known.items()}
    least = min(loss.values())
    return {method for method, value in loss.items() if value <= least + 1e-12}


def loss_of(metric: str, value: float) -> float:
    """Turn a value into a loss: least for the best value of the metric."""
    if metric in BEST_AT_ONE:
        return abs(value - 1)
    return -value if metric in MORE_IS_BETTER else value


def common_subjects(cells: Sequence[Cell]) -> list[str]:
    """List the subjects on which all these methods were measured, in order: others would compare different people."""
    wanted = set(methods_of(cells))
    seen: dict[str, set[Method]] = {}
    for cell in cells:
        if math.isfinite(cell.value):
            seen.setdefault(cell.subject, set()).add(cell.of)
    return [subject for subject, methods in seen.items() if methods == wanted]


def widespread(cells: Sequence[Cell]) -> list[Cell]:
    """Keep the methods that were measured on more than half of the subjects of ours.

    A method tried on a few must not take the means away from all.
    """
    counts = Counter(cell.of for cell in cells if math.isfinite(cell.value))
    return [cell for cell in cells if 2 * counts[cell.of] > counts[OURS]]


def means(cells: Sequence[Cell], subjects: Sequence[str], name: str) -> list[Cell]:
    """Average over subjects for every method, region, metric and split, under the subject's name `name`.

    A mean is missing where one of the subjects has no score.

    The interval of one subject's is its own. Of several, it would have to say how the mean varies over other people:
    it is drawn over subjects, from `ENOUGH_CLIPS` on; fewer have none.
    """
    parts: dict[tuple[Method, str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.subject in subjects:
            parts.setdefault((cell.of, cell.split, cell.region, cell.metric), []).append(cell)
    return [_mean(part, name) for part in parts.values()]


def _mean(part: list[Cell], name: str) -> Cell:
    reasons = {cell.reason for cell in part}
    # What is missing comes first, then what to bear in mind about one of them; what holds of all names nobody.
    first = next((f for f in part if math.isnan(f.value)), next((f for f in part if f.reason), part[0]))
    reason = f"{first.subject}: {first.reason}" if first.reason and len(reasons) > 1 else first.reason
    value = sum(cell.value for cell in part) / len(part)
    low, high = (part[0].low, part[0].high) if len(part) == 1 else (math.nan, math.nan)
    if len(part) >= ENOUGH_CLIPS and not math.isnan(value):
        people = np.arange(len(part))
        low, high = mean_interval(np.array([cell.value for cell in part]), people, 1) or (low, high)
    frames = sum(cell.frames for cell in part)
    return part[0]._replace(subject=name, value=value, low=low, high=high, frames=frames, reason=reason)
