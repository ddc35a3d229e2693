"""Plots are images, the same for the same figures, and show what is missing."""

import cv2
import numpy as np

from selfieavatar.reporting.distributions import coverage_map, histogram

EDGES = np.arange(4.0), np.arange(3.0)
LABELS = ("across", "down")


def pixels(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def red_share(image):
    blue, green, red = (image[..., k].astype(int) for k in range(3))
    return float(((red > 150) & (green < 130) & (blue < 150)).mean())


def test_cells_that_are_wanted_and_were_not_seen_stand_out():
    seconds = np.array([[5, 0], [1, 0], [0, 0]], float)
    wanted = seconds >= 0
    partly = pixels(coverage_map(seconds, EDGES, wanted, seconds > 0, LABELS))
    wholly = pixels(coverage_map(seconds + 1, EDGES, wanted, wanted, LABELS))
    assert partly.shape == wholly.shape and red_share(partly) > 0.005 > 0.0005 > red_share(wholly)


def test_a_histogram_holds_outliers_and_survives_no_value_at_all():
    values = np.append(np.full(99, 0.7), 500.0)
    assert histogram(values, 1.5, LABELS, "limit") == histogram(values, 1.5, LABELS, "limit")
    assert pixels(histogram(np.full(5, np.nan), 1.5, LABELS, "limit")).ndim == 3
