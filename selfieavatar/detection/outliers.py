"""Which detections of a clip are not the face that the rest of the clip shows: letters, clouds and cartoons pass for
faces.
"""

from __future__ import annotations

import numpy as np

from selfieavatar.geometry.pnp import kabsch

LARGEST_CHANGE = 2.0  # of a face's size against the clip's median
LARGEST_MISFIT = 0.12  # of the stiff points against the clip's usual shape, over their spread


def outlier_detections(points: np.ndarray, depth: np.ndarray, stiff: tuple[int, ...] | None = None) -> np.ndarray:
    """(N,) True for detections whose size or stiff shape departs from the clip's majority; NaN rows are not strange.

    Args:
        points: (N, K, 2) px. depth: (N, K) px, 0 for flat sets. stiff: points that expressions hardly move (default:
        all).
    """
    found = np.flatnonzero(np.isfinite(points).all((1, 2)))
    strange = np.zeros(len(points), bool)
    if len(found) < 3:
        return strange
    chosen = list(stiff) if stiff is not None else list(range(points.shape[1]))
    shapes = np.concatenate([points[found][:, chosen], depth[found][:, chosen, None]], axis=2).astype(float)
    shapes -= shapes.mean(1, keepdims=True)
    size = np.sqrt((shapes**2).sum(2).mean(1))
    middle = float(np.median(size))
    wrong = (size > LARGEST_CHANGE * middle) | (size < middle / LARGEST_CHANGE)
    shapes /= size[:, None, None]
    # The first reference is a face of the usual size.
    usual = shapes[np.argmin(np.abs(size - middle))]
    for _ in range(3):
        aligned = _turned_onto(shapes, usual)
        usual = np.median(aligned[~wrong], axis=0) if (~wrong).any() else usual
    misfit = np.sqrt(((_turned_onto(shapes, usual) - usual) ** 2).sum(2).mean(1))
    if depth.any():  # flat points of a turned head are not a turned copy of the frontal ones
        wrong |= misfit > max(LARGEST_MISFIT, 3 * float(np.median(misfit)))
    strange[found[wrong]] = True
    return strange


def _turned_onto(shapes: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Centred shapes (N, K, 3) turned onto a centred shape (K, 3), reflections left out (Kabsch)."""
    return shapes @ kabsch(np.einsum("nki,kj->nij", shapes, usual))[0]
