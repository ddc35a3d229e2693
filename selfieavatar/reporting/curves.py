"""Curves over time or over training, as images that a phone shows legibly. Matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BAD = {"bridged": "#f2c14e", "lost": "#d1495b"}
WIDTH_IN, DPI = 6.0, 170
LABELS, TICKS = 9, 8  # font sizes


def new_figure(height_in: float) -> Figure:
    """An empty figure of the width that all plots of our pages have."""
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def legend_above(axis: Axes, columns: int = 6) -> None:
    """A legend between the panel and the one above it, where it hides no data."""
    axis.legend(
        fontsize=TICKS, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0.1,
        borderpad=0.2, handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip


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
    """PNG of one panel for each group of curves, and the expression coefficients, if given, as a map below them.

    Args:
        x: (N,), seconds or what x_label says. quality: (N,) "ok", "bridged" (drawn yellow) or "lost" (red), or None.
        groups: title -> name -> values (N,), NaN where unknown. expression: (N, E) in standard deviations.
        colours: of curves by name. joined: lines go on over unknown values, instead of breaking there.
        logarithmic: titles of panels whose axis is logarithmic. marked: name -> x of upright lines.
    """
    ratios = [1.0] * len(groups) + ([] if expression is None else [1.4])
    figure = new_figure(1.2 * sum(ratios) + 0.4)
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    named: list[str] = []
    for axis, (title, lines) in zip(axes, groups.items(), strict=False):
        for name, values in lines.items():
            _line(axis, name, x, values, (colours or {}).get(name), joined)
        axis.set_ylabel(title, fontsize=LABELS)
        axis.tick_params(labelsize=TICKS)
        axis.margins(x=0)
        axis.grid(linewidth=0.3)
        if title in logarithmic:
            axis.set_yscale("log")
        for name, place in (marked or {}).items():
            axis.axvline(place, color="#555555", linestyle=":", linewidth=1.0, label=name if not named else None)
        if list(lines) != named and len(lines) + len(marked or {}) > 1:  # the panel above may have said it
            legend_above(axis)
        named = list(lines)
        if quality is not None:
            _mark(axis, x, quality)
    if expression is not None:
        _map(axes[-1], x, expression)
    axes[-1].set_xlabel(x_label, fontsize=LABELS)
    axes[-1].tick_params(labelsize=TICKS)
    figure.align_ylabels(axes)
    return png(figure)


def _line(axis: Axes, name: str, x: np.ndarray, values: np.ndarray, colour: str | None, joined: bool) -> None:
    """One curve; a known value between unknown ones, which no line would show, is a dot."""
    known = np.isfinite(values)
    if joined:
        x, values, known = x[known], values[known], known[known]
    line = axis.plot(x, values, linewidth=0.9, label=name, color=colour)[0]
    beside = np.concatenate([[False], known, [False]])
    alone = known & ~beside[:-2] & ~beside[2:] if not joined else np.full(len(x), len(x) == 1)
    # Whole also at the edges of the panel, which are laid out without them.
    axis.plot(x[alone], values[alone], ".", markersize=4, color=line.get_color(), clip_on=False)[0].set_in_layout(False)


def _map(axis: Axes, time_s: np.ndarray, expression: np.ndarray) -> None:
    """Expression coefficients over time as colours."""
    axis.imshow(
        expression.T, aspect="auto", cmap="RdBu_r", vmin=-3, vmax=3, interpolation="nearest",
        extent=(time_s[0], time_s[-1] + _step(time_s), expression.shape[1], 0),
    )  # fmt: skip
    axis.set_ylabel("expression, sd", fontsize=LABELS)


def _mark(axis: Axes, time_s: np.ndarray, quality: np.ndarray) -> None:
    """Bands where frames are bridged or lost."""
    edges = np.append(time_s, time_s[-1] + _step(time_s))
    for kind, colour in BAD.items():
        bad = np.concatenate([[False], quality == kind, [False]]).astype(np.int8)
        starts, ends = np.flatnonzero(np.diff(bad) == 1), np.flatnonzero(np.diff(bad) == -1)
        for start, end in zip(starts, ends, strict=True):
            axis.axvspan(edges[start], edges[end], color=colour, alpha=0.35, linewidth=0)


def _step(time_s: np.ndarray) -> float:
    """Usual time from frame to frame, 1 s for a single frame."""
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0
