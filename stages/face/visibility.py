"""Which landmarks of a turned head the camera sees, and where on it a contour lies."""

from __future__ import annotations

import numpy as np

# Cosine between the outward normal and the way to the camera: fully trusted above, hardly below.
SEEN, HIDDEN = 0.25, -0.15
HIDDEN_WEIGHT = 0.15


def vertex_normals(vertices: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals that point out of the surface, whichever way round its triangles run."""
    corners = vertices[tri].astype(float)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = np.einsum("fi,fi->", faces, corners.mean(1) - vertices.mean(0))
    normals = np.stack([
        np.bincount(tri.ravel(), np.repeat(faces[:, axis], 3), len(vertices)) for axis in range(3)
    ], 1)  # fmt: skip
    normals *= 1.0 if outward >= 0 else -1.0
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def facing(normals: np.ndarray, rotation: np.ndarray, camera_points: np.ndarray) -> np.ndarray:
    """(n, M) cosine between normals (M, 3), turned by rotation (n, 3, 3), and the way from points (n, 3, M) to the
    camera.
    """
    turned = rotation @ normals.T.astype(rotation.dtype)
    return -(turned * camera_points).sum(1) / np.linalg.norm(camera_points, axis=1)


def seen_weight(cosine: np.ndarray) -> np.ndarray:
    """Weight in [HIDDEN_WEIGHT, 1] of landmarks by `facing`: what the head itself hides, the detector guesses."""
    share = np.clip((cosine - HIDDEN) / (SEEN - HIDDEN), 0, 1)
    return HIDDEN_WEIGHT + (1 - HIDDEN_WEIGHT) * share * share * (3 - 2 * share)
