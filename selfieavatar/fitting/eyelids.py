"""Let a personal model blink, though the footage that it was learnt from may show no closed eyes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from selfieavatar.fitting.gaze import CLOSED_SHARE
from selfieavatar.fitting.landmark_measures import lid_opening
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.model import MorphableModel

_BLINKS = 0.05  # share of the frames in which a person's eyes are closed
_LID_ROWS = 2  # of vertices above the lid that move with it
_ENOUGH = 8  # components, of which two can be spared


def closing_lid(shape: np.ndarray) -> np.ndarray:
    """Compute offsets (V, 3) that lay the left upper lid of a face (V, 3) on the lower one; skin above it gives way."""
    lower, upper = list(ls.LEFT_EYE[1:8]), list(ls.LEFT_EYE[:8:-1])
    triangles, part = ls.facemesh_triangles()
    edges = np.concatenate([triangles[part == ls.SKIN_PART][:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    beside = np.zeros((len(shape), len(shape)), bool)
    beside[edges[:, 0], edges[:, 1]] = beside[edges[:, 1], edges[:, 0]] = True
    near = np.zeros(len(shape), bool)
    near[upper] = True
    for _ in range(_LID_ROWS):
        near |= beside[near].any(0)
    near[list(ls.LEFT_EYE)] = False
    offsets = np.zeros(shape.shape)
    offsets[upper] = shape[lower] - shape[upper]
    # What lies between moves like a membrane: each point as its neighbours do on average.
    stiff = np.diag(beside[near].sum(1)) - beside[np.ix_(near, near)]
    offsets[near] = np.linalg.solve(stiff, beside[near] @ offsets)
    return offsets


def lacks_blinks(points: np.ndarray, components: int) -> bool:
    """Tell whether no frame of points (N, 478, 2) closes the eyes, and the model has components to spare."""
    opening = lid_opening(points)
    seen = (opening.min(0) < CLOSED_SHARE * np.median(opening, axis=0)).all()
    return not seen and components >= _ENOUGH


def with_blinks(model: MorphableModel, expression: np.ndarray) -> tuple[MorphableModel, np.ndarray]:
    """Replace the two weakest components by a left and a right eye that closes, 1 is shut, which come last.

    The coefficients (N, E) likewise, with the eyes left as they were.
    """
    size = np.linalg.norm(model.expression_basis, axis=(1, 2)) * model.expression_scale
    kept = np.sort(np.argsort(-size, kind="stable")[:-2])
    left = closing_lid(model.template)
    right = left[ls.mirror_pairs()] * [-1, 1, 1]
    basis = np.concatenate([model.expression_basis[kept], left[None], right[None]])
    # As often as people blink, whatever these frames say: else the prior would hold the eyes open.
    scale = np.append(model.expression_scale[kept], np.full(2, np.sqrt(_BLINKS)))
    return replace(model, expression_basis=basis, expression_scale=scale), np.pad(expression[:, kept], ((0, 0), (0, 2)))
