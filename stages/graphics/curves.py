"""Curves of fitted coefficients over time, as pictures. Matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BAD = {"bridged": "#f2c14e", "lost": "#d1495b"}


def curves(
    time_s: np.ndarray,
    quality: np.ndarray,
    groups: Mapping[str, Mapping[str, np.ndarray]],
    expression: np.ndarray | None = None,
) -> bytes:
    """PNG of one panel for each group of curves, and the expression coefficients, if given, as a map below them.

    Args:
        time_s: (N,) s. quality: (N,) "ok", "bridged" (drawn yellow) or "lost" (red). groups: title -> name -> values
            (N,), NaN where unknown. expression: (N, E) in standard deviations.
    """
    ratios = [1.0] * len(groups) + ([] if expression is None else [1.5])
    figure = Figure(figsize=(11, 1.35 * sum(ratios) + 0.2), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for axis, (title, lines) in zip(axes, groups.items(), strict=False):
        for name, values in lines.items():
            axis.plot(time_s, values, linewidth=0.9, label=name)
        axis.set_ylabel(title, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.margins(x=0)
        axis.grid(linewidth=0.3)
        if len(lines) > 1:
            axis.legend(fontsize=7, loc="upper right", ncols=len(lines), framealpha=0.6)
        _mark(axis, time_s, quality)
    if expression is not None:
        _map(axes[-1], time_s, expression)
    axes[-1].set_xlabel("time, s", fontsize=8)
    axes[-1].tick_params(labelsize=7)
    return png(figure)


def png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _map(axis, time_s: np.ndarray, expression: np.ndarray) -> None:
    """Expression coefficients over time as colours."""
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0
    axis.imshow(
        expression.T, aspect="auto", cmap="RdBu_r", vmin=-3, vmax=3, interpolation="nearest",
        extent=(time_s[0], time_s[-1] + step, expression.shape[1], 0),
    )  # fmt: skip
    axis.set_ylabel("expression, sd", fontsize=8)


def _mark(axis, time_s: np.ndarray, quality: np.ndarray) -> None:
    """Bands where frames are bridged or lost."""
    edges = np.append(time_s, time_s[-1] + (np.median(np.diff(time_s)) if len(time_s) > 1 else 1.0))
    for kind, colour in BAD.items():
        bad = np.concatenate([[False], quality == kind, [False]]).astype(np.int8)
        starts, ends = np.flatnonzero(np.diff(bad) == 1), np.flatnonzero(np.diff(bad) == -1)
        for start, end in zip(starts, ends, strict=True):
            axis.axvspan(edges[start], edges[end], color=colour, alpha=0.35, linewidth=0)
