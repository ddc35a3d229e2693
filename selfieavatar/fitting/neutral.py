"""Find a person's neutral face among the frames of a clip.

Twice, for what is known at either time: `neutral_frames` by landmarks in the image, before there is a model, to place a
new model's origin; `neutral_expression` by a model's own landmarks in cm, to tell a driver's rest from a held smile.
"""

from __future__ import annotations

import numpy as np

from selfieavatar.fitting.landmark_measures import (
    brow_height,
    landmark_positions,
    lid_and_lip_pairs,
    lid_opening,
    mean_known,
    mesh_inter_ocular_distance,
    mouth_width,
    vertical_gaps,
)
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.model import MorphableModel

_MOST_FRAMES = 400  # looked at for the neutral face
_CALM, _NEAR = 0.12, 0.5  # share of calm frames, and of those that must lie near the neutral face


def neutral_frames(points: np.ndarray, share: float = 0.2) -> np.ndarray:
    """Choose the most neutral frames: mouth closed, lips at rest, eyes open, brows at rest.

    Args:
        points: (N, 478, 2) px of MediaPipe. share: of the frames to choose.

    Returns:
        Numbers of the frames, the most neutral first.
    """
    eye_distance = mesh_inter_ocular_distance(points)
    gap = np.linalg.norm(points[:, ls.UPPER_LIP] - points[:, ls.LOWER_LIP], axis=1) / eye_distance
    width = np.linalg.norm(points[:, ls.MOUTH_RIGHT] - points[:, ls.MOUTH_LEFT], axis=1) / eye_distance
    opening = lid_opening(points).mean(1)
    brow = np.linalg.norm(points[:, [105, 334]].mean(1) - points[:, [33, 263]].mean(1), axis=1) / eye_distance
    score = 3 * np.maximum(gap - np.percentile(gap, 10), 0) + np.maximum(np.median(opening) - opening, 0) * 6
    for value in (width, brow):
        score = score + np.abs(value - np.median(value))
    return np.argsort(score, kind="stable")[: max(1, min(len(points), max(3, int(share * len(points)))))]


def neutral_expression(model: MorphableModel, expression: np.ndarray, kind: ls.LandmarkSet) -> np.ndarray:
    """Find the coefficients (E,) of a clip's neutral face, wherever in the clip it is shown.

    Calm frames have lips as good as closed, eyes open as usual, and mouth and brows as wide and as high as in the
    model's own neutral face, so that a smile that is held does not pass for rest. Of those the commonest face is taken:
    the median of the tightest group that half of them forms. Neither the first frame nor the mean is trusted.

    Args:
        model: face model. expression: (N, E), N >= 1, finite. kind: landmark set of the model.
    """
    chosen = np.unique(np.linspace(0, len(expression) - 1, min(_MOST_FRAMES, len(expression))).round().astype(int))
    expression = np.asarray(expression, float)[chosen]
    points = landmark_positions(model, model.vertices(expression))
    pairs = lid_and_lip_pairs(kind)
    left, right, lips = (np.nan_to_num(mean_known(np.abs(vertical_gaps(points, one)))) for one in pairs)
    eyes = (left + right) / 2
    # Of the open eyes: a grimacing actor may have them closed half of the time.
    usual, closed = np.median(eyes[eyes >= 0.75 * np.percentile(eyes, 90)]), np.percentile(lips, 10)
    unrest = 3 * np.maximum(lips - closed, 0) + 2 * np.abs(eyes - usual)  # small distances that change a face much
    for measure in (mouth_width, brow_height):
        unrest += np.abs(measure(points, kind) - measure(landmark_positions(model, model.template), kind))
    calm = np.argsort(unrest, kind="stable")[: max(1, round(_CALM * len(unrest)))]
    features = np.nan_to_num(points[calm]).reshape(len(calm), -1)
    square = (features**2).sum(1)
    distance = square[:, None] + square[None] - 2 * features @ features.T
    count = max(1, round(_NEAR * len(calm)))
    order = np.argsort(distance, axis=1, kind="stable")[:, :count]
    tight = np.take_along_axis(distance, order, 1)[:, -1].argmin()
    return np.median(expression[calm[order[tight]]], axis=0)
