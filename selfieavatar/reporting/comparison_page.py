"""Render table.md, the scores of `selfieavatar.reporting.comparison` as a Markdown page."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any

from selfieavatar.evaluation.bootstrap import ENOUGH_CLIPS
from selfieavatar.evaluation.metrics_file import DEFINITIONS
from selfieavatar.evaluation.network_metrics import FID_REGIONS
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.reporting import paper_table
from selfieavatar.reporting.comparison import (
    ALL_FRAMES,
    FURTHER,
    INSIDE,
    METRICS,
    OURS,
    Cell,
    Measured,
    Method,
    best_of,
    common_subjects,
    look_up,
    means,
    methods_of,
    number,
    widespread,
)
from selfieavatar.reporting.page_templates import number as in_digits
from selfieavatar.reporting.page_templates import render

# Heading and digits of each metric; arrows say which way is better.
HEADINGS = {
    "psnr_db": ("PSNR, dB ↑", 2),
    "ssim": ("SSIM ↑", 3),
    "ssim_uniform7": ("SSIM 7 x 7 ↑", 3),
    "lpips": ("LPIPS ↓", 3),
    "effnet_distance": ("EffNet ↓", 3),
    "fid": ("FID ↓", 1),
    "sharpness": ("sharpness → 1", 2),
    "identity_similarity": ("identity ↑", 3),
    "akd": ("AKD ↓", 4),
    "aed": ("AED ↓", 3),
    "apd_deg": ("APD, ° ↓", 2),
    "jitter": ("jitter ↓", 4),
    "difference_error": ("change ↓", 4),
    "difference_error_face": ("of the face ↓", 4),
    "flicker_static": ("flicker ↓", 4),
    "mask_mae": ("mask MAE ↓", 4),
    "mask_iou": ("mask IoU ↑", 3),
    "lid_correlation": ("lids: correlation ↑", 2),
    "lid_amplitude": ("amplitude → 1", 2),
    "lid_closing": ("closing → 1", 2),
    "lip_correlation": ("lips: correlation ↑", 2),
    "lip_amplitude": ("amplitude → 1", 2),
}
PLACES = {
    "full": "the whole image",
    "person": "the person",
    "face": "the face",
    "mouth": "box around the mouth",
    "eyes": "boxes around the eyes",
}
GROUPED = ("full", "face")
GROUP_METRICS = ("psnr_db", "ssim")
DASH = "—"  # of a missing number
LONGEST = 500  # characters of a note
MOST_NAMES = 8  # of subjects in a sentence
OTHER_BUDGET = 0.1  # share by which minutes of training may differ
Rows = list[list[str]]
Table = tuple[str, list[str], Rows]  # title, head, rows


class Footnotes:
    """Numbers reasons in the order in which they are first met; equal ones share a number."""

    def __init__(self, interleaved: Collection[str] = ()) -> None:
        """Begin without notes; `interleaved` names subjects that are measured next to frames that are trained on."""
        self._numbers: dict[str, int] = {}
        self._interleaved = interleaved

    def subject(self, name: str) -> str:
        """Return a subject's name, marked where its test frames are interleaved with those that are trained on."""
        return f"{name} (interleaved)" if name in self._interleaved else name

    def mark(self, reason: str) -> str:
        """Return the mark behind a cell; nothing without a reason."""
        return f"[^{self._numbers.setdefault(reason, len(self._numbers) + 1)}]" if reason else ""

    def lines(self) -> Iterable[tuple[str, str]]:
        """Yield the marks and their reasons."""
        return ((f"[^{number}]", plain(reason)) for reason, number in self._numbers.items())


def plain(text: str, longest: int = LONGEST) -> str:
    """Escape text from a file as Markdown that shows it and nothing else: one line, no markup."""
    flat = " ".join(text.split())
    short = flat if len(flat) <= longest else flat[: longest - 1] + "…"
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", html.escape(short, quote=False))


def with_interval(cell: Cell, bold: bool) -> str:
    """Write value and interval of a cell."""
    digits = HEADINGS[cell.metric][1]
    text = in_digits(cell.value, digits, DASH)
    interval = f" ({cell.low:.{digits}f}–{cell.high:.{digits}f})" if not math.isnan(cell.low) else ""
    return (f"**{text}**" if bold else text) + interval


def page(measured: Sequence[Measured], groups: Sequence[Cell]) -> str:
    """Render the whole page. groups: cells over frames by the labels of their clips."""
    near = {one.subject for one in measured if look_up(one.metrics, "interleaved")}
    notes, asked = Footnotes(near), [one for one in measured if one.asked]
    cells = [cell for one in asked for cell in one.cells()]
    datasets = [
        dataset_values(name, [one for one in measured if one.dataset == name],
                       [cell for cell in cells if cell.dataset == name], notes)
        | {"groups": group_tables([cell for cell in groups if cell.dataset == name], notes)}
        for name in dict.fromkeys(one.dataset for one in measured)
    ]  # fmt: skip
    ours = {one.subject: one for one in measured if one.method == OURS}
    # What stands beside the avatar in its metrics.json has no row: it is of the avatar's own frames.
    facts = [facts_row(one, ours[one.subject], notes) for one in asked if one.method.kind not in INSIDE]
    return render("table.md.j2", definitions=DEFINITIONS, headings=HEADINGS, enough=ENOUGH_CLIPS, paper=paper_table,
                  datasets=datasets, facts=facts, notes=notes)  # fmt: skip


def dataset_values(name: str, measured: Sequence[Measured], cells: Sequence[Cell], notes: Footnotes) -> dict[str, Any]:
    """Collect the tables of the regions of a data set with the means over its subjects, and what was never asked for.

    few: methods that have no means, measured on too few subjects.
    """
    subjects, common, shared, few = list(dict.fromkeys(cell.subject for cell in cells)), [], [], []
    if len(subjects) > 1:
        first = [cell for cell in cells if (cell.region, cell.metric) == (REGIONS[0], "psnr_db")]
        shared = methods_of(widespread(first))
        common = common_subjects([cell for cell in first if cell.of in shared])
        few = [method.label for method in methods_of(first) if method not in shared]
    mine = [cell for cell in cells if cell.of in shared]
    averages = means(mine, common, f"mean of {len(common)}") if len(common) > 1 else []
    tables = []
    for region in REGIONS:
        shown = [metric for metric in METRICS if metric != "fid" or region in FID_REGIONS]
        of_region = [cell for cell in [*averages, *cells] if cell.region == region]
        tables.append((PLACES[region], *metrics_table(shown, of_region, notes)))
    rest = [cell for cell in [*averages, *cells] if cell.metric in FURTHER and cell.kind not in INSIDE]
    tables.append(("identity, expression and steadiness", *metrics_table([*FURTHER], rest, notes)))
    not_asked, command = never_asked(measured)
    return {"name": name, "subjects": subjects, "common": common, "few": few, "tables": tables,
            "not_asked": not_asked, "command": command}  # fmt: skip


def never_asked(measured: Sequence[Measured]) -> tuple[str, str]:
    """Name the methods that were never asked for of some subjects that have an avatar, and what makes one of them."""
    ours = {one.subject for one in measured if one.method == OURS and one.metrics}
    missing = [one for one in measured if not one.asked and one.subject in ours]
    lacking = {one.method: [other.subject for other in missing if other.method == one.method] for one in missing}
    said = (
        f"{method.label} of {', '.join(names) if len(names) <= MOST_NAMES else f'{len(names)} subjects'}"
        for method, names in lacking.items()
    )
    command = next((one.command for one in missing if one.command and "`" not in one.command), "")
    return plain("; ".join(said), 8 * LONGEST), command


def metrics_table(metrics: Sequence[str], cells: Sequence[Cell], notes: Footnotes) -> tuple[list[str], Rows]:
    """Make head and rows of a table: a row for each subject and method, a column for each metric."""
    at = {(cell.subject, cell.of, cell.metric): cell for cell in cells}
    rows = []
    for subject in dict.fromkeys(cell.subject for cell in cells):
        mine = [cell for cell in cells if cell.subject == subject]
        best = best_methods(mine, metrics)
        for method in methods_of(mine):
            own = [at[subject, method, metric] for metric in metrics]
            texts = [with_interval(cell, method in best[cell.metric]) + notes.mark(cell.reason) for cell in own]
            rows.append([notes.subject(subject), method.label, str(own[0].frames or DASH), *texts])
    return ["subject", "method", "frames", *(HEADINGS[m][0] for m in metrics)], rows


def best_methods(cells: Sequence[Cell], metrics: Iterable[str]) -> dict[str, set[Method]]:
    """Find the best methods of each metric."""
    return {m: best_of([cell for cell in cells if cell.metric == m], m, HEADINGS[m][1]) for m in metrics}


def group_tables(cells: Sequence[Cell], notes: Footnotes) -> dict[str, list[Table]]:
    """Make the tables of each label, such as emotion: a row for each of its values, a column for each method."""
    known = [cell.split for cell in cells if not math.isnan(cell.value)]
    labels = dict.fromkeys(split.removeprefix(f"{ALL_FRAMES}/").partition("=")[0] for split in known)
    found: dict[str, list[Table]] = {}
    for label in labels:
        mine = [cell for cell in cells if cell.split.startswith(f"{ALL_FRAMES}/{label}=")]
        found[plain(label)] = [
            (PLACES[region], *group_table(label, [cell for cell in mine if cell.region == region], notes))
            for region in GROUPED
        ]
    return found


def group_table(label: str, cells: Sequence[Cell], notes: Footnotes) -> tuple[list[str], Rows]:
    """Make one row for each value of a label, with the methods that most of its subjects were measured with."""
    first = [cell for cell in cells if cell.metric == GROUP_METRICS[0]]
    splits = sorted({cell.split for cell in first})
    known = {split: widespread([cell for cell in first if cell.split == split]) for split in splits}
    methods, rows = methods_of(chain.from_iterable(known.values())), []
    for split, shared in known.items():
        mine, common = [cell for cell in cells if cell.split == split], common_subjects(shared)
        found = {(c.of, c.metric): c for c in means([c for c in mine if c.of in methods_of(shared)], common, "")}
        value = plain(split.partition("=")[2])
        if not common:
            reason = next(cell.reason for cell in mine if cell.reason)
            rows.append([value, "0", DASH + notes.mark(reason), *[DASH] * len(methods)])
            continue
        best = best_methods([*found.values()], GROUP_METRICS)
        texts = [
            " / ".join(with_interval(found[method, m], method in best[m]) for m in GROUP_METRICS)
            if (method, GROUP_METRICS[0]) in found else DASH
            for method in methods
        ]  # fmt: skip
        rows.append([value, str(len(common)), str(next(iter(found.values())).frames), *texts])
    return [plain(label), "subjects", "frames", *(method.label for method in methods)], rows


def facts_row(one: Measured, ours: Measured, notes: Footnotes) -> list[str]:
    """Say how a method was made and measured."""
    device = look_up(one.metrics, "speed", "device")
    paths = (("frames",), 0), (("size_px",), 0), (("training", "minutes"), 1), (("training", "images"), 0)
    facts = [in_digits(number(one.metrics, *path), digits, DASH) for path, digits in (*paths, (("speed", "fps"), 1))]
    remarks = one.remarks()
    if one.metrics and ours.metrics and any(one.count(name) != ours.count(name) for name in ("frames", "size_px")):
        remarks.append("measured on other frames or at another size than ours; measure again to compare")
    mine, its = (number(metrics, "training", "minutes") for metrics in (ours.metrics, one.metrics))
    if one.method.kind == "variant" and abs(mine - its) > OTHER_BUDGET * mine:
        remarks.append(f"trained for {its:.1f} minutes, ours for {mine:.1f}: scores of unequal trainings")
    if DASH in facts and not remarks:
        remarks.append("metrics.json does not say what is missing in this row")
    label = one.method.label + "".join(notes.mark(remark) for remark in remarks)
    return [notes.subject(one.subject), label, one.dataset, plain(device) if isinstance(device, str) else DASH, *facts]
