"""Render paper.html: Table I of one subject, and Fig. 2 and Fig. 3 of the paper with their images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from selfieavatar.evaluation.bootstrap import Block, frame_interval
from selfieavatar.evaluation.metrics_file import DEFINITIONS
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.summary_text import WORDS as COPIES
from selfieavatar.evaluation.summary_text import worse_than
from selfieavatar.reporting import paper_table
from selfieavatar.reporting.comparison import OURS, Cell, Measured, Method, best_of, number
from selfieavatar.reporting.comparison_page import HEADINGS
from selfieavatar.reporting.page_templates import Image, render
from selfieavatar.settings.config import SAME_IMAGES, SAME_MINUTES, plain_variant

METRICS = (
    "ssim", "psnr_db", "lpips", "fid", "sharpness", "effnet_distance", "identity_similarity", "mask_mae", "mask_iou",
)  # fmt: skip
SHOWN_REGIONS = REGIONS[:3]
WORDS = {
    "no_mask": "ours, without L_mask",
    "no_cos": "ours, without L_cos",
    "no_mrf": "ours, without L_mrf",
    "no_detail": "ours, without both",
    "detail": "ours, with L_mrf and L_cos",
    "only_mrf": "ours, with L_mrf",
    "only_cos": "ours, with L_cos",
    "styleavatar": "StyleAvatar's objective",
    "l1_only": "L1 alone",
    "unet": "U-Net",
}


@dataclass(frozen=True)
class Compared:
    """A method on this subject: metrics.json, the metrics of its single frames (N,), and the frames of a second."""

    measured: Measured
    frames: pd.DataFrame
    block: Block

    @property
    def method(self) -> Method:
        """Its kind and name."""
        return self.measured.method

    @property
    def variant(self) -> str:
        """Name of the variant in config/variants; empty for another method."""
        return plain_variant(self.method.name) if self.method.kind == "variant" else ""

    @property
    def label(self) -> str:
        """The method in words."""
        return WORDS.get(self.variant, self.variant) or self.method.label


@dataclass(frozen=True)
class Strip:
    """Images of several methods side by side: the heads of the columns, and a row of images for each method."""

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Image | None]]]


def difference(one: Compared, other: Compared, column: str) -> tuple[float, float, float]:
    """Compare two methods frame by frame: mean of one less the other, and its 95 % interval by bootstrap.

    Differences of the same frames vary much less than the scores themselves. NaN where no frame has both, or, for the
    interval, where there are too few.
    """
    keys = ["clip", "frame"]
    both = one.frames[[*keys, column]].merge(other.frames[[*keys, column]], on=keys, suffixes=("", "_other"))
    values = (both[column] - both[f"{column}_other"]).to_numpy(float)
    if not np.isfinite(values).any():
        return math.nan, math.nan, math.nan
    low, high = frame_interval(values, both["clip"].to_numpy(str), one.block) or (math.nan, math.nan)
    return float(np.nanmean(values)), low, high


def budgets(compared: Sequence[Compared]) -> dict[str, list[Compared]]:
    """Group methods by what they were given alike: title -> methods, those of others and ours in each group."""
    same = [one for one in compared if one.method.name.endswith((SAME_IMAGES, SAME_MINUTES))]
    if not same:
        return {"The same budget": list(compared)}
    plain = [one for one in compared if one not in same]
    if same[0].method.name.endswith(SAME_MINUTES):
        same, plain = [one for one in plain if one.method.kind == "variant"], [
            one for one in compared if one in same or one.method.kind != "variant"
        ]  # fmt: skip
    rest = [one for one in plain if one.method.kind != "variant"]
    others = [one for one in rest if one.method != OURS]
    ours = [one for one in rest if one.method == OURS]
    return {"Equal images": [*others, *same, *ours], "Equal minutes": plain}


def table(compared: Sequence[Compared], region: str) -> dict[str, Any]:
    """Assemble the table of a region: its metrics, those that nobody has with the reason, and a row for each method."""
    found: dict[Method, dict[str, Cell]] = {
        one.method: {cell.metric: cell for cell in one.measured.cells() if cell.region == region} for one in compared
    }
    known = [m for m in METRICS if any(m in cells and math.isfinite(cells[m].value) for cells in found.values())]
    of_region = [m for m in METRICS if any(m in cells for cells in found.values())]
    missing = {m: next(cells[m].reason for cells in found.values() if m in cells) for m in of_region if m not in known}
    best = {
        m: best_of([cells[m] for cells in found.values() if m in cells], m, HEADINGS[m][1]) for m in known
    }  # fmt: skip
    ours = next(one for one in compared if one.method == OURS)
    rows = []
    for one in compared:
        cells = [found[one.method].get(metric) for metric in known]
        change = None if one is ours else difference(one, ours, f"psnr_db_{region}")
        training = {name: number(one.measured.metrics, "training", name) for name in ("images", "minutes")}
        own = ", its own budget" if one.method.kind == "external" else ""
        rows.append({"label": f"{one.label}{own}", "ours": one is ours, "cells": cells, "difference": change,
                     "best": [one.method in best[metric] for metric in known]} | training)  # fmt: skip
    return {"region": region, "metrics": known, "missing": missing, "rows": rows}


def most_different(blocks: Sequence[np.ndarray], count: int) -> list[int]:
    """Choose rows that differ most: first the one nearest to the mean, then again and again the farthest of all chosen.

    Args:
        blocks: (N, K) arrays, such as pose and expression, each of which weighs as much as another.
        count: rows wanted, fewer where there are fewer.

    Returns:
        Rows in ascending order.
    """
    scaled = []
    for block in blocks:
        centred = block - block.mean(axis=0)
        spread = np.sqrt(np.square(centred).sum(axis=1).mean())
        scaled.append(centred / spread if spread > 0 else centred)
    points = np.concatenate(scaled, axis=1)
    chosen = [int(np.argmin(np.square(points).sum(axis=1)))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        nearest = np.minimum(nearest, np.square(points - points[chosen[-1]]).sum(axis=1))
        chosen.append(int(np.argmax(nearest)))
    return sorted(chosen)


def paper_page(
    subject: str, compared: Sequence[Compared], own: Strip, cross: Strip | None, masks: Strip | None,
    notes: Sequence[str], image_px: int,
) -> str:  # fmt: skip
    """Render the page. own, cross: Fig. 2; masks: Fig. 3; notes: why one of them is missing, and the like."""
    ours = next(one.measured.metrics for one in compared if one.method == OURS)
    tables = {title: [table(group, region) for region in SHOWN_REGIONS] for title, group in budgets(compared).items()}
    missing: dict[str, str] = {}
    for one in (one for regions in tables.values() for one in regions):
        missing = one["missing"] | missing
    return render(
        "paper.html.j2", title=f"{subject}: Table I, Fig. 2 and Fig. 3 of the paper", tables=tables, headings=HEADINGS,
        definitions=DEFINITIONS, paper=paper_table, own=own, cross=cross, masks=masks, notes=notes, image_px=image_px,
        missing=missing, metrics=ours, weights=ours.get("weights") or {}, short=worse_than(ours), copy_words=COPIES,
    )  # fmt: skip
