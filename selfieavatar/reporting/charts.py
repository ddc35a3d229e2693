"""Charts of scores: how they spread, and how methods compare. Matplotlib without a display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from selfieavatar.reporting.curves import LABELS, TICKS, new_figure, png

WHISKERS = (5, 95)  # percentiles
GREY, BLUE = "#666666", "#1f5fa8"
_SHAPES = "Ds^v"


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval, either None where it is not known."""

    value: float | None
    interval: tuple[float, float] | None = None


def box_chart(panels: Mapping[str, Mapping[str, np.ndarray]], colours: Mapping[str, str] | None = None) -> bytes:
    """PNG of lying boxes side by side: median and quartiles, whiskers from the 5th to the 95th percentile, mean as dot.

    Args:
        panels: label of the axis -> name of the box -> values (N,), NaN left out. All panels have the same names; a
            name without values keeps its place, empty. colours: of boxes by name.
    """
    names = list(next(iter(panels.values())))
    figure = new_figure(0.3 * len(names) + 0.75)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (label, boxes) in zip(axes, panels.items(), strict=True):
        known = [values[np.isfinite(values)] for values in boxes.values()]
        drawn = axis.boxplot(
            known, orientation="horizontal", widths=0.62, whis=WHISKERS, showfliers=False, showmeans=True,
            patch_artist=True, medianprops={"color": "#222222"}, whiskerprops={"color": GREY}, capprops={"color": GREY},
            meanprops={"marker": "o", "markersize": 3.5, "markerfacecolor": "#222222", "markeredgecolor": "#ffffff"},
        )  # fmt: skip
        for name, box in zip(names, drawn["boxes"], strict=True):
            box.set(facecolor=(colours or {}).get(name, BLUE), edgecolor=GREY, alpha=0.55)
        _rows(axis, label, names, range(1, len(names) + 1))
    return png(figure)


def estimate_chart(panels: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> bytes:
    """PNG of means with their intervals: methods side by side in each row; the first one is drawn most strongly.

    panels: label of the axis -> row -> method -> estimate. All panels have the same rows and methods.
    """
    rows = next(iter(panels.values()))
    methods = list(next(iter(rows.values())))
    figure = new_figure(0.36 * len(rows) + 1.0)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (label, of_rows) in zip(axes, panels.items(), strict=True):
        for number, method in enumerate(methods):
            _dots(axis, number, method, [of_rows[row][method] for row in rows])
        _rows(axis, label, list(rows), range(len(rows)))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize=TICKS)
    return png(figure)


def _dots(axis: Axes, number: int, method: str, estimates: list[Estimate]) -> None:
    """A method's means and intervals, one in each row."""
    colour = BLUE if number == 0 else GREY
    places = [row + 0.18 * number for row in range(len(estimates))]
    for place, estimate in zip(places, estimates, strict=True):
        if estimate.interval is not None:
            axis.plot(estimate.interval, [place] * 2, color=colour, linewidth=2.2, solid_capstyle="butt")
    values = [np.nan if estimate.value is None else estimate.value for estimate in estimates]
    shape = "o" if number == 0 else _SHAPES[(number - 1) % len(_SHAPES)]
    axis.plot(values, places, shape, color=colour, markerfacecolor=colour if number == 0 else "none", label=method,
              markersize=6 if number == 0 else 5)  # fmt: skip


def _rows(axis: Axes, label: str, names: list[str], places: range) -> None:
    """Names of the rows on the left, the first on top, and what the axis measures."""
    axis.set_yticks(list(places), names)
    axis.set_ylim(places[-1] + 0.65, places[0] - 0.5)
    axis.tick_params(labelsize=TICKS)
    axis.set_xlabel(label, fontsize=LABELS)
    axis.grid(axis="x", linewidth=0.3)
