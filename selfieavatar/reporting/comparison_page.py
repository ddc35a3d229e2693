"""The figures of `selfieavatar.reporting.comparison` as a Markdown page: table.md."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from itertools import chain

from selfieavatar.evaluation.bootstrap import ENOUGH_CLIPS
from selfieavatar.evaluation.metrics_file import DEFINITIONS
from selfieavatar.evaluation.network_metrics import FID_REGIONS
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.reporting.comparison import (
    ALL_FRAMES,
    FURTHER,
    METRICS,
    OURS,
    Figure,
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
from selfieavatar.reporting.paper_table import CONDITIONS, OWN, SOURCE, TABLE_I
from selfieavatar.reporting.paper_table import METRICS as PRINTED

# Heading and digits of each metric; arrows say which way is better.
HEADINGS = {
    "psnr_db": ("PSNR, dB ↑", 2),
    "ssim": ("SSIM ↑", 3),
    "ssim_uniform7": ("SSIM 7 x 7 ↑", 3),
    "lpips": ("LPIPS ↓", 3),
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
DASH = "—"
LONGEST = 500  # characters of a note
MOST_NAMES = 8  # of subjects in a sentence
OTHER_BUDGET = 0.1  # share by which minutes of training may differ
INTRODUCTION = f"""# Comparison of methods

Self-reenactment: images of frames that training never saw, against the truth. **Bold** is the best of a subject and
figure (of the shown digits). In brackets stands the 95 % interval of the mean over frames; it tells how much a figure
would vary over other frames of the same kind, not over other trainings. FID has none, nor have fewer than five seconds
of test frames in fewer than eight clips, nor means over two to seven subjects; those over more are drawn over people.
Of figures that change slowly, intervals are somewhat too narrow (docs/results.md). Mean frame and nearest training
frame are copies that an avatar must beat. All figures of this page but the paper's are in `table.parquet`, and so are
those by region that are left out here.

- SSIM: {DEFINITIONS["ssim"]}. SSIM 7 x 7: {DEFINITIONS["ssim_uniform7"]}.
- PSNR: {DEFINITIONS["psnr_db"]}.
- Sharpness: {DEFINITIONS["sharpness"]}; 1 is as sharp, less is softer, more is noise.
- Identity: {DEFINITIONS["identity_similarity"]}.
- AKD: {DEFINITIONS["akd"]}. AED: {DEFINITIONS["aed"]}. APD: {DEFINITIONS["apd_deg"]}. Jitter: {DEFINITIONS["jitter"]}.
- Change: mean error of the change from frame to frame, share of the full range. Flicker: mean change where the truth
  stands still. Both, and jitter, are least where nothing moves: read them beside the others.
"""


class Footnotes:
    """Numbers reasons in the order in which they are first met; equal ones share a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        """The mark behind a cell; nothing without a reason."""
        return f"[^{self._numbers.setdefault(reason, len(self._numbers) + 1)}]" if reason else ""

    def lines(self) -> list[str]:
        """The notes themselves."""
        return [f"[^{number}]: {plain(reason)}\n" for reason, number in self._numbers.items()]


def plain(text: str, longest: int = LONGEST) -> str:
    """Text from a file as Markdown that shows it and nothing else: one line, no markup."""
    flat = " ".join(text.split())
    short = flat if len(flat) <= longest else flat[: longest - 1] + "…"
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", html.escape(short, quote=False))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """A Markdown table; the first `words` columns stand left, the others, of figures, right."""
    marks = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, marks, *rows)) + "\n"


def shown(value: float, digits: int, bold: bool = False) -> str:
    """A number, or the dash of a missing one."""
    text = DASH if math.isnan(value) else f"{value:.{digits}f}"
    return f"**{text}**" if bold else text


def with_interval(figure: Figure, bold: bool) -> str:
    """Value and interval of a figure."""
    digits = HEADINGS[figure.metric][1]
    text = shown(figure.value, digits, bold)
    if not math.isnan(figure.low):
        text += f" ({shown(figure.low, digits)}–{shown(figure.high, digits)})"
    return text


def cell(figure: Figure, bold: bool, notes: Footnotes) -> str:
    """Value, interval and note of a figure."""
    return with_interval(figure, bold) + notes.mark(figure.reason)


def page(measured: Sequence[Measured], groups: Sequence[Figure]) -> str:
    """The whole page. groups: figures of frames by the labels of their clips."""
    notes, asked = Footnotes(), [one for one in measured if one.asked]
    figures = [figure for one in asked for figure in one.figures()]
    parts = [INTRODUCTION]
    for dataset in dict.fromkeys(one.dataset for one in measured):
        parts += dataset_part(dataset, [f for f in figures if f.dataset == dataset], notes)
        parts += not_asked([one for one in measured if one.dataset == dataset])
        parts += group_part([f for f in groups if f.dataset == dataset], notes)
    parts += ["## What was measured\n", facts_table(asked, notes), printed_part(), *notes.lines()]
    return "\n".join(parts)


def dataset_part(dataset: str, figures: Sequence[Figure], notes: Footnotes) -> list[str]:
    """The tables of the regions of a data set, and the means over its subjects."""
    parts = [f"## Data set: {dataset}\n"]
    subjects, common, shared = list(dict.fromkeys(f.subject for f in figures)), [], []
    if len(subjects) > 1:
        first = [f for f in figures if (f.region, f.metric) == (REGIONS[0], "psnr_db")]
        shared = methods_of(widespread(first))
        common = common_subjects([f for f in first if f.of in shared])
        few = [method for method in methods_of(first) if method not in shared]
        parts += [said_means(subjects, common, few)]
    mine = [f for f in figures if f.of in shared]
    averages = means(mine, common, f"mean of {len(common)}") if len(common) > 1 else []
    for region in REGIONS:
        mine = [f for f in [*averages, *figures] if f.region == region]
        shown = [metric for metric in METRICS if metric != "fid" or region in FID_REGIONS]
        parts += [f"### {dataset}, {PLACES[region]}\n", metrics_table(shown, mine, notes)]
    rest = [f for f in [*averages, *figures] if f.metric in FURTHER and f.kind != "baseline"]
    return [*parts, f"### {dataset}, identity, expression and steadiness\n", metrics_table([*FURTHER], rest, notes)]


def said_means(subjects: Sequence[str], common: Sequence[str], few: Sequence[Method]) -> str:
    """Over whom the means are. few: methods that have none, measured on too few subjects."""
    which = f"all methods but {' and '.join(method.label for method in few)}" if few else "all these methods"
    if len(common) < 2:
        who = f"{common[0]} is the only subject" if common else "there is no subject"
        return f"No means: {who} that {which} were measured on.\n"
    rest = " The others were measured on half of the subjects at most." if few else ""
    return (
        f"Means are over the {len(common)} of {len(subjects)} subjects that {which} were measured on: "
        f"{', '.join(common)}.{rest} {said_spread(len(common))}\n"
    )


def not_asked(measured: Sequence[Measured]) -> list[str]:
    """A sentence about the methods that were never asked for of some subjects that have an avatar."""
    ours = {one.subject for one in measured if one.method == OURS and one.metrics}
    missing = [one for one in measured if not one.asked and one.subject in ours]
    if not missing:
        return []
    lacking = {one.method: [other.subject for other in missing if other.method == one.method] for one in missing}
    said = {method: ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} subjects"
            for method, names in lacking.items()}  # fmt: skip
    words = plain("; ".join(f"{method.label} of {names}" for method, names in said.items()), 8 * LONGEST)
    command = next((one.command for one in missing if one.command and "`" not in one.command), "")
    one_of_them = f" One of them is made by `{command}`, with the `--configfile` of the others if they had one."
    return [f"Not asked for, and so not in these tables: {words}.{one_of_them if command else ''}\n"]


def said_spread(count: int) -> str:
    """What the intervals of means over so many subjects are."""
    if count < ENOUGH_CLIPS:
        return (
            f"They have no intervals: those would have to tell how the mean varies over other people, and fewer than "
            f"{ENOUGH_CLIPS} subjects say too little about that."
        )
    return "Their intervals are drawn over the subjects: they tell how the mean would vary over other people."


def metrics_table(metrics: Sequence[str], figures: Sequence[Figure], notes: Footnotes) -> str:
    """A row for each subject and method, a column for each metric: one figure each."""
    at = {(f.subject, f.of, f.metric): f for f in figures}
    rows = []
    for subject in dict.fromkeys(f.subject for f in figures):
        mine = [f for f in figures if f.subject == subject]
        best = {m: best_of([f for f in mine if f.metric == m], m, HEADINGS[m][1]) for m in metrics}
        for method in methods_of(mine):
            own = [at[subject, method, metric] for metric in metrics]
            cells = [cell(figure, method in best[figure.metric], notes) for figure in own]
            rows.append([subject, method.label, str(own[0].frames or DASH), *cells])
    return table(["subject", "method", "frames", *(HEADINGS[m][0] for m in metrics)], rows, words=2)


def group_part(figures: Sequence[Figure], notes: Footnotes) -> list[str]:
    """Tables by label, such as emotion: a row for each of its values, a column for each method."""
    known = [f.split for f in figures if not math.isnan(f.value)]
    labels = dict.fromkeys(split.removeprefix(f"{ALL_FRAMES}/").partition("=")[0] for split in known)
    if not labels:
        return []
    parts = [
        f"### {figures[0].dataset}, by {plain(' and '.join(labels))} of the clips\n",
        "Means over the subjects that all these methods were measured on. In brackets stands the interval: of one "
        f"subject, over its frames; of {ENOUGH_CLIPS} and more, over the subjects. Means over fewer have none, "
        "since so few say too little about other people. The copies are not among them, since their single frames are "
        "not kept.\n",
    ]
    for label in labels:
        mine = [f for f in figures if f.split.startswith(f"{ALL_FRAMES}/{label}=")]
        for region in GROUPED:
            parts += [f"#### By {plain(label)}, {PLACES[region]}: PSNR, dB / SSIM\n"]
            parts += [group_table(label, [f for f in mine if f.region == region], notes)]
    return parts


def group_table(label: str, figures: Sequence[Figure], notes: Footnotes) -> str:
    """One row for each value of a label, with the methods that most of its subjects were measured with."""
    first = [f for f in figures if f.metric == GROUP_METRICS[0]]
    known = {split: widespread([f for f in first if f.split == split]) for split in sorted({f.split for f in first})}
    methods, rows = methods_of(chain.from_iterable(known.values())), []
    for split, shared in known.items():
        mine, common = [f for f in figures if f.split == split], common_subjects(shared)
        found = {(f.of, f.metric): f for f in means([f for f in mine if f.of in methods_of(shared)], common, "")}
        value = plain(split.partition("=")[2])
        if not common:
            reason = next(f.reason for f in mine if f.reason)
            rows.append([value, "0", DASH + notes.mark(reason), *[DASH] * len(methods)])
            continue
        best = {m: best_of([f for f in found.values() if f.metric == m], m, HEADINGS[m][1]) for m in GROUP_METRICS}
        cells = [
            " / ".join(with_interval(found[method, m], method in best[m]) for m in GROUP_METRICS)
            if (method, GROUP_METRICS[0]) in found else DASH
            for method in methods
        ]  # fmt: skip
        rows.append([value, str(len(common)), str(next(iter(found.values())).frames), *cells])
    return table([plain(label), "subjects", "frames", *(method.label for method in methods)], rows, words=1)


def facts_table(measured: Sequence[Measured], notes: Footnotes) -> str:
    """How each method was made and measured. Copies have no row: they are of the avatar's own frames."""
    ours = {one.subject: one for one in measured if one.method == OURS}
    rows = [facts_row(one, ours[one.subject], notes) for one in measured if one.method.kind != "baseline"]
    header = ["subject", "method", "data set", "device", "frames", "size, px", "minutes of training", "images seen"]
    return table([*header, "frames/s"], rows, words=4)


def facts_row(one: Measured, ours: Measured, notes: Footnotes) -> list[str]:
    """A row of `facts_table`."""

    def fact(*names: str, digits: int = 0) -> str:
        return shown(number(one.metrics, *names), digits)

    device = look_up(one.metrics, "speed", "device")
    facts = [fact("frames"), fact("size_px"), fact("training", "minutes", digits=1), fact("training", "images")]
    facts.append(fact("speed", "fps", digits=1))
    remarks = one.remarks()
    if one.metrics and ours.metrics and any(one.count(name) != ours.count(name) for name in ("frames", "size_px")):
        remarks.append("measured on other frames or at another size than ours; measure again to compare")
    mine, its = (number(metrics, "training", "minutes") for metrics in (ours.metrics, one.metrics))
    if one.method.kind == "variant" and abs(mine - its) > OTHER_BUDGET * mine:
        remarks.append(f"trained for {its:.1f} minutes, ours for {mine:.1f}: figures of unequal trainings")
    if DASH in facts and not remarks:
        remarks.append("metrics.json does not say what is missing in this row")
    marks = "".join(notes.mark(remark) for remark in remarks)
    return [
        one.subject, one.method.label + marks, one.dataset, plain(device) if isinstance(device, str) else DASH, *facts
    ]  # fmt: skip


def printed_part() -> str:
    """The paper's own table, apart from ours."""
    rows = [[name, *(f"**{value}**" if name == OWN else value for value in values)] for name, values in TABLE_I.items()]
    said = f"{SOURCE}. {CONDITIONS} So these figures compare with one another, not with those above.\n"
    printed = table(["method", *(HEADINGS[metric][0] for metric in PRINTED)], rows, words=1)
    return "\n".join(["## For reference: what the paper prints\n", said, printed])
