"""Draw the plots of the report pages as PNG, in one style that a phone shows legibly. Matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

WIDTH_IN, MAP_IN, DPI = 6.0, (5.4, 3.4), 170
TICKS = 8  # font size
STYLE = rc_context({
    "axes.labelsize": 9, "xtick.labelsize": TICKS, "ytick.labelsize": TICKS, "legend.fontsize": TICKS,
    "legend.frameon": False, "grid.linewidth": 0.3,
})  # fmt: skip
LOST, BRIDGED = "#d1495b", "#f2c14e"
GREY, BLUE, DARK = "#666666", "#1f5fa8", "#222222"
WHISKERS = (5, 95)  # percentiles
_MARKERS = "Ds^v"


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval, either None where it is not known."""

    value: float | None
    interval: tuple[float, float] | None = None


def new_plot(width_in: float, height_in: float) -> Figure:
    """Make an empty figure."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Encode a figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def legend_above(axis: Axes, columns: int = 6) -> None:
    """Put a legend between a plot and the one above it, where it hides no data."""
    axis.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.1, borderpad=0.2, handlelength=1.2,
        columnspacing=1.0,
    )  # fmt: skip


@STYLE
def curves(
    x: np.ndarray,
    quality: np.ndarray | None,
    groups: Mapping[str, Mapping[str, np.ndarray]],
    expression: np.ndarray | None = None,
    x_label: str = "time, s",
    colours: Mapping[str, str] | None = None,
    joined: bool = False,
    logarithmic: Collection[str] = (),
    marked: Mapping[str, float] | None = None,
) -> bytes:
    """Plot each group of curves on axes of its own, and expression coefficients, if given, as a heat map below them.

    Args:
        x: (N,), seconds or what x_label says.
        quality: (N,) "ok", "bridged" (drawn yellow) or "lost" (red), or None.
        groups: title -> name -> values (N,), NaN where unknown.
        expression: (N, E) in standard deviations.
        x_label: of the axis.
        colours: of curves by name.
        joined: lines go on over unknown values, instead of breaking there.
        logarithmic: titles of groups whose axis is logarithmic.
        marked: name -> x of upright lines.
    """
    colours, marked = colours or {}, marked or {}
    ratios = [1.0] * len(groups) + ([] if expression is None else [1.4])
    figure = new_plot(WIDTH_IN, 1.2 * sum(ratios) + 0.4)
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    named: list[str] = []
    for axis, (title, lines) in zip(axes, groups.items(), strict=False):
        for name, values in lines.items():
            _line(axis, name, x, values, colours.get(name), joined)
        axis.set_ylabel(title)
        axis.margins(x=0)
        axis.grid()
        if title in logarithmic:
            axis.set_yscale("log")
        for name, place in marked.items():
            axis.axvline(place, color="#555555", linestyle=":", linewidth=1.0, label=name if not named else None)
        if list(lines) != named and len(lines) + len(marked) > 1:  # the plot above may have said it
            legend_above(axis)
        named = list(lines)
        if quality is not None:
            _shade(axis, x, quality)
    if expression is not None:
        extent = (x[0], x[-1] + _step(x), expression.shape[1], 0)
        axes[-1].imshow(expression.T, aspect="auto", cmap="RdBu_r", vmin=-3, vmax=3, interpolation="nearest",
                        extent=extent)  # fmt: skip
        axes[-1].set_ylabel("expression, sd")
    axes[-1].set_xlabel(x_label)
    figure.align_ylabels(axes)
    return png(figure)


def _line(axis: Axes, name: str, x: np.ndarray, values: np.ndarray, colour: str | None, joined: bool) -> None:
    """Draw one curve; a known value between unknown ones, which no line would show, is a dot."""
    known = np.isfinite(values)
    if joined:
        x, values, known = x[known], values[known], known[known]
    line = axis.plot(x, values, linewidth=0.9, label=name, color=colour)[0]
    beside = np.concatenate([[False], known, [False]])
    alone = known & ~beside[:-2] & ~beside[2:] if not joined else np.full(len(x), len(x) == 1)
    # Whole also at the edges of the axes, which are laid out without them.
    axis.plot(x[alone], values[alone], ".", markersize=4, color=line.get_color(), clip_on=False)[0].set_in_layout(False)


def _shade(axis: Axes, time_s: np.ndarray, quality: np.ndarray) -> None:
    """Shade the time in which frames are bridged or lost."""
    edges = np.append(time_s, time_s[-1] + _step(time_s))
    for kind, colour in (("bridged", BRIDGED), ("lost", LOST)):
        change = np.diff(np.concatenate([[False], quality == kind, [False]]).astype(np.int8))
        for start, end in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
            axis.axvspan(edges[start], edges[end], color=colour, alpha=0.35, linewidth=0)


def _step(time_s: np.ndarray) -> float:
    """Return the usual time from frame to frame, 1 s for a single frame."""
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0


@STYLE
def box_plot(groups: Mapping[str, Mapping[str, np.ndarray]], colours: Mapping[str, str] | None = None) -> bytes:
    """Draw horizontal box plots side by side: median, quartiles, whiskers from the 5th to the 95th percentile, mean.

    Args:
        groups: label of the axis -> name of the box -> values (N,), NaN left out. All groups have the same names; a
            name without values keeps its place, empty.
        colours: of boxes by name.
    """
    names = list(next(iter(groups.values())))
    figure = new_plot(WIDTH_IN, 0.3 * len(names) + 0.75)
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axis, (label, boxes) in zip(axes, groups.items(), strict=True):
        drawn = axis.boxplot(
            [values[np.isfinite(values)] for values in boxes.values()], orientation="horizontal", widths=0.62,
            whis=WHISKERS, showfliers=False, showmeans=True, patch_artist=True, medianprops={"color": DARK},
            whiskerprops={"color": GREY}, capprops={"color": GREY},
            meanprops={"marker": "o", "markersize": 3.5, "markerfacecolor": DARK, "markeredgecolor": "#ffffff"},
        )  # fmt: skip
        for name, box in zip(names, drawn["boxes"], strict=True):
            box.set(facecolor=(colours or {}).get(name, BLUE), edgecolor=GREY, alpha=0.55)
        _name_rows(axis, label, names, range(1, len(names) + 1))
    return png(figure)


@STYLE
def interval_plot(groups: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> bytes:
    """Draw means with their intervals: methods side by side in each row; the first one is drawn most strongly.

    groups: label of the axis -> row -> method -> estimate. All groups have the same rows and methods.
    """
    rows = next(iter(groups.values()))
    methods = list(next(iter(rows.values())))
    figure = new_plot(WIDTH_IN, 0.36 * len(rows) + 1.0)
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axis, (label, of_rows) in zip(axes, groups.items(), strict=True):
        for number, method in enumerate(methods):
            _means(axis, number, method, [of_rows[row][method] for row in rows])
        _name_rows(axis, label, list(rows), range(len(rows)))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return png(figure)


def _means(axis: Axes, number: int, method: str, estimates: Sequence[Estimate]) -> None:
    """Draw a method's means and intervals, one in each row."""
    first = number == 0
    colour, places = BLUE if first else GREY, [row + 0.18 * number for row in range(len(estimates))]
    for place, estimate in zip(places, estimates, strict=True):
        if estimate.interval is not None:
            axis.plot(estimate.interval, [place] * 2, color=colour, linewidth=2.2, solid_capstyle="butt")
    values = [np.nan if estimate.value is None else estimate.value for estimate in estimates]
    marker = "o" if first else _MARKERS[(number - 1) % len(_MARKERS)]
    axis.plot(values, places, marker, color=colour, markerfacecolor=colour if first else "none", label=method,
              markersize=6 if first else 5)  # fmt: skip


def _name_rows(axis: Axes, label: str, names: list[str], places: range) -> None:
    """Write the names of the rows on the left, the first on top, and what the axis measures."""
    axis.set_yticks(list(places), names)
    axis.set_ylim(places[-1] + 0.65, places[0] - 0.5)
    axis.set_xlabel(label)
    axis.grid(axis="x")


@STYLE
def coverage_map(
    seconds: np.ndarray, edges: tuple[np.ndarray, np.ndarray], wanted: np.ndarray, seen: np.ndarray,
    labels: tuple[str, str],
) -> bytes:  # fmt: skip
    """Draw the 2-D histogram of the time that two signals spent in cells; the second grows downwards, as pixels do.

    Args:
        seconds: (A, D), written into the cells.
        edges: (A + 1,), (D + 1,).
        wanted: (A, D) bool, outlined.
        seen: (A, D) bool; wanted cells that were not seen are hatched and say "none".
        labels: of the two axes, with unit.
    """
    figure = new_plot(*MAP_IN)
    axis = figure.subplots()
    axis.pcolormesh(*edges, np.log10(np.maximum(seconds, 0.03)).T, cmap="Greens", vmin=-1.5, vmax=2.5)
    for a, d in np.ndindex(*wanted.shape):
        corner, sides = (edges[0][a], edges[1][d]), (np.diff(edges[0])[a], np.diff(edges[1])[d])
        absent = wanted[a, d] and not seen[a, d]
        if wanted[a, d]:
            edge, hatch = (LOST, "///") if absent else ("#555555", None)
            axis.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=edge, linewidth=0.9, hatch=hatch, alpha=0.6))
        text = "none" if absent else f"{seconds[a, d]:.1f}" if seconds[a, d] else ""
        axis.text(corner[0] + sides[0] / 2, corner[1] + sides[1] / 2, text, ha="center", va="center", fontsize=TICKS,
                  color=LOST if absent else DARK)  # fmt: skip
    axis.invert_yaxis()
    axis.set(xlabel=labels[0], ylabel=labels[1])
    return png(figure)


@STYLE
def histogram(values: np.ndarray, limit: float, labels: tuple[str, str], limit_label: str) -> bytes:
    """Draw the histogram of values (N,), NaN left out, with a line at `limit`; labels: of the two axes."""
    figure = new_plot(*MAP_IN)
    axis = figure.subplots()
    known = values[np.isfinite(values)]
    top = max(float(np.percentile(known, 99)) if len(known) else 0.0, 1.5 * limit)
    # What lies beyond is counted in the last bar.
    axis.hist(np.minimum(known, top), bins=40, range=(0, top), color="#3a7d5c")
    axis.axvline(limit, color=LOST, linestyle="--", linewidth=1.2, label=limit_label)
    axis.legend()
    axis.set(xlabel=labels[0], ylabel=labels[1])
    axis.margins(x=0)
    return png(figure)
