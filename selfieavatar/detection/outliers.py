"""Find outlier detections of a clip: letters, clouds and cartoons that a detector mistakes for the clip's face."""

from __future__ import annotations

import numpy as np

from selfieavatar.geometry.pnp import kabsch

LARGEST_CHANGE = 2.0  # ratio of a face's size to the clip's median
LARGEST_RESIDUAL = 0.12  # RMS of the rigid points against the reference shape, over their spread


def outlier_detections(points: np.ndarray, depth: np.ndarray, rigid: tuple[int, ...] | None = None) -> np.ndarray:
    """Find detections whose size or rigid shape departs from the clip's median, by a robust Procrustes alignment.

    Args:
        points: (N, K, 2) px; rows of NaN are never outliers.
        depth: (N, K) px, 0 for 2D landmark sets, which are judged by size alone.
        rigid: points that expressions hardly move (default: all).

    Returns:
        (N,) bool.
    """
    found = np.flatnonzero(np.isfinite(points).all((1, 2)))
    outlier = np.zeros(len(points), bool)
    if len(found) < 3:
        return outlier
    chosen = list(rigid) if rigid is not None else list(range(points.shape[1]))
    shapes = np.concatenate([points[found][:, chosen], depth[found][:, chosen, None]], axis=2).astype(float)
    shapes -= shapes.mean(1, keepdims=True)
    size = np.sqrt((shapes**2).sum(2).mean(1))
    median = float(np.median(size))
    wrong = (size > LARGEST_CHANGE * median) | (size < median / LARGEST_CHANGE)
    shapes /= size[:, None, None]
    # The first reference is the face whose size is nearest to the median.
    reference = shapes[np.argmin(np.abs(size - median))]
    for _ in range(3):
        aligned = _align(shapes, reference)
        reference = np.median(aligned[~wrong], axis=0) if (~wrong).any() else reference
    residual = np.sqrt(((_align(shapes, reference) - reference) ** 2).sum(2).mean(1))
    if depth.any():  # without depth a rotated head differs from a rotated copy of the frontal points
        wrong |= residual > max(LARGEST_RESIDUAL, 3 * float(np.median(residual)))
    outlier[found[wrong]] = True
    return outlier


def _align(shapes: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rotate centred shapes (N, K, 3) onto a centred reference (K, 3) by the Kabsch algorithm."""
    return shapes @ kabsch(np.einsum("nki,kj->nij", shapes, reference))[0]
