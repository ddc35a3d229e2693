"""Where signals spent their time: a map of two of them, a histogram of one. Matplotlib without a display."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from selfieavatar.reporting.curves import BAD, png

_SIZE = (5.4, 3.4)  # inches at 80 dpi: legible on a phone without zooming
_AXIS, _TICKS = 9, 8  # font sizes


def _figure() -> tuple[Figure, object]:
    figure = Figure(figsize=_SIZE, dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.tick_params(labelsize=_TICKS)
    return figure, axis


def coverage_map(
    seconds: np.ndarray, edges: tuple[np.ndarray, np.ndarray], wanted: np.ndarray, seen: np.ndarray,
    labels: tuple[str, str],
) -> bytes:  # fmt: skip
    """PNG of time spent in cells; the second signal grows downwards, as pixels do.

    Args:
        seconds: (A, D), written into the cells. edges: (A + 1,), (D + 1,). wanted: (A, D) bool, outlined. seen: (A, D)
            bool; wanted cells that were not seen are hatched and say "none". labels: of the two axes, with unit.
    """
    figure, axis = _figure()
    axis.pcolormesh(*edges, np.log10(np.maximum(seconds, 0.03)).T, cmap="Greens", vmin=-1.5, vmax=2.5)
    for a, d in np.ndindex(*wanted.shape):
        middle = [(edge[k] + edge[k + 1]) / 2 for edge, k in zip(edges, (a, d), strict=True)]
        if wanted[a, d]:
            corner, sides = (edges[0][a], edges[1][d]), (np.diff(edges[0])[a], np.diff(edges[1])[d])
            hatch = None if seen[a, d] else "///"
            axis.add_patch(_rectangle(corner, sides, hatch))
        if wanted[a, d] and not seen[a, d]:
            text, colour = "none", BAD["lost"]
        else:
            text, colour = (f"{seconds[a, d]:.1f}" if seconds[a, d] else ""), "#222222"
        axis.text(*middle, text, ha="center", va="center", fontsize=_TICKS, color=colour)
    axis.invert_yaxis()
    axis.set_xlabel(labels[0], fontsize=_AXIS)
    axis.set_ylabel(labels[1], fontsize=_AXIS)
    return png(figure)


def _rectangle(corner: tuple[float, float], sides: tuple[float, float], hatch: str | None):
    edge = "#555555" if hatch is None else BAD["lost"]
    return Rectangle(corner, *sides, fill=False, edgecolor=edge, linewidth=0.9, hatch=hatch, alpha=0.6)


def histogram(values: np.ndarray, limit: float, labels: tuple[str, str], limit_label: str) -> bytes:
    """PNG of how often values (N,) occur (NaN left out), with a line at `limit`; labels: of the two axes."""
    figure, axis = _figure()
    known = values[np.isfinite(values)]
    top = max(float(np.percentile(known, 99)) if len(known) else 0.0, 1.5 * limit)
    # What lies beyond is counted in the last bar.
    axis.hist(np.minimum(known, top), bins=40, range=(0, top), color="#3a7d5c")
    axis.axvline(limit, color=BAD["lost"], linestyle="--", linewidth=1.2, label=limit_label)
    axis.legend(fontsize=_TICKS)
    axis.set_xlabel(labels[0], fontsize=_AXIS)
    axis.set_ylabel(labels[1], fontsize=_AXIS)
    axis.margins(x=0)
    return png(figure)
