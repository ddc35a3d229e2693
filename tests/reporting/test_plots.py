"""Plots are images of one width whose legends hide no data, the same for the same values, and show what is missing."""

import cv2
import numpy as np
import pytest

from selfieavatar.reporting import plots
from selfieavatar.reporting.plots import DPI, MAP_IN, WIDTH_IN, Estimate, coverage_map, curves, histogram, legend_above

NAN = float("nan")
EDGES = np.arange(4.0), np.arange(3.0)
LABELS = ("across", "down")


def decoded(data, width_in=WIDTH_IN):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    assert image.shape[1] == round(width_in * DPI)
    return image


def coloured(image, colour):
    """Pixels of nearly that colour."""
    return np.abs(image - colour).max(axis=2) < 25


def test_the_legend_stands_above_the_data():
    figure = plots.new_plot(WIDTH_IN, 2.0)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], label="one")
    axis.plot([0, 1], [1, 1], label="two")
    legend_above(axis)
    figure.canvas.draw()
    legend, data = axis.get_legend().get_window_extent(), axis.get_window_extent()
    assert legend.y0 >= data.y1 - 1 and legend.y1 <= figure.bbox.y1 + 1 and legend.x1 <= figure.bbox.x1


def test_unknown_values_break_the_line_and_lonely_ones_are_dots():
    x, red = np.arange(100.0), {"a": "#ff0000"}
    whole, gap = np.zeros(100), np.where((x > 20) & (x < 80), NAN, 0.0)
    lonely = np.where(x == 50, 0.0, NAN)

    def columns(values, **how):
        drawn = decoded(curves(x, None, {"t": {"a": values}}, colours=red, **how))
        return coloured(drawn, (255, 0, 0)).any(axis=0).sum()

    assert 0.35 < columns(gap) / columns(whole) < 0.5 and 2 <= columns(lonely) < 15
    assert columns(gap, joined=True) == columns(whole)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_quality_and_expression_are_shown_for_any_number_of_frames(count):
    quality = np.full(count, "ok", object)
    quality[0] = "lost"
    args = (np.arange(count) / 25, quality, {"t": {"a": np.full(count, NAN), "b": np.zeros(count)}})
    with_map = decoded(curves(*args, expression=np.full((count, 3), -3.0)))
    without = decoded(curves(*args))
    assert with_map.shape[0] > without.shape[0]
    lost = np.array([0xD1, 0x49, 0x5B]) * 0.35 + 255 * 0.65
    assert coloured(without, lost).sum() > 100


def test_the_same_values_give_the_same_bytes():
    groups = {"t": {"a": np.arange(5.0)}}
    assert curves(np.arange(5.0), None, groups) == curves(np.arange(5.0), None, groups)


def test_boxes_lie_over_their_values():
    values = np.linspace(0, 1, 101)
    groups = {"x": {"low": values, "high": values + 9, "none": np.array([NAN])}, "y": dict.fromkeys(
        ("low", "high", "none"), values)}  # fmt: skip
    colours = {"low": "#ff0000", "high": "#0000ff", "none": "#00ff00"}
    image = decoded(plots.box_plot(groups, colours))
    left = image[:, : image.shape[1] // 2]
    red, blue = (np.argwhere(coloured(left, np.array(c) * 0.55 + 255 * 0.45)) for c in ((255, 0, 0), (0, 0, 255)))
    assert red[:, 1].max() < blue[:, 1].min() and red[:, 0].mean() < blue[:, 0].mean()


def test_estimates_with_and_without_interval_and_value():
    rows = {"face": {"own": Estimate(1.0, (0.5, 1.5)), "other": Estimate(None)},
            "eyes": {"own": Estimate(2.0), "other": Estimate(3.0)}}  # fmt: skip
    image = decoded(plots.interval_plot({"x": rows}))
    bare = decoded(plots.interval_plot({"x": rows | {"face": {"own": Estimate(1.0), "other": Estimate(None)}}}))
    blue = (0x1F, 0x5F, 0xA8)
    assert coloured(image, blue).sum() > coloured(bare, blue).sum() + 100


def red_share(image):
    red, green, blue = np.moveaxis(image, 2, 0)
    return float(((red > 150) & (green < 130) & (blue < 150)).mean())


def test_cells_that_are_wanted_and_were_not_seen_stand_out():
    seconds = np.array([[5, 0], [1, 0], [0, 0]], float)
    wanted = seconds >= 0
    partly = decoded(coverage_map(seconds, EDGES, wanted, seconds > 0, LABELS), MAP_IN[0])
    wholly = decoded(coverage_map(seconds + 1, EDGES, wanted, wanted, LABELS), MAP_IN[0])
    assert partly.shape == wholly.shape and red_share(partly) > 0.005 > 0.0005 > red_share(wholly)


def test_a_histogram_holds_outliers_and_survives_no_value_at_all():
    values = np.append(np.full(99, 0.7), 500.0)
    assert histogram(values, 1.5, LABELS, "limit") == histogram(values, 1.5, LABELS, "limit")
    decoded(histogram(np.full(5, NAN), 1.5, LABELS, "limit"), MAP_IN[0])
