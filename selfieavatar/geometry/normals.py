"""Normals of a mesh (numba, CPU)."""

import numpy as np

from selfieavatar.io.compiled import njit


def vertex_normals(vertices: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3) float32 of vertices (V, 3) with triangles (F, 3).

    They point to the side from which the corners run counter-clockwise in right-handed axes. Vertices without a
    triangle of some area get the zero vector.
    """
    normals = np.zeros((len(vertices), 3))
    _add_face_normals(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(tri), normals)
    length = np.sqrt(np.einsum("vk,vk->v", normals, normals))
    return (normals / np.maximum(length, 1e-12)[:, None]).astype(np.float32)


@njit()
def _add_face_normals(vertices, tri, normals):
    """Add the normal of each triangle, as long as twice its area, to its three corners."""
    for face in range(tri.shape[0]):
        i, j, k = tri[face, 0], tri[face, 1], tri[face, 2]
        px, py, pz = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        qx, qy, qz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        nx, ny, nz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for vertex in (i, j, k):
            normals[vertex, 0] += nx
            normals[vertex, 1] += ny
            normals[vertex, 2] += nz


def orient_outwards(vertices: np.ndarray, tri: np.ndarray) -> float:
    """+1 when `vertex_normals` of a face or head point out of it, -1 when they point into it.

    Told by the nose, the part nearest to the camera in model axes, so that a closed head has an answer too.
    """
    corners = np.asarray(vertices, np.float64)[tri]
    normal_z = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
    nearest = np.argsort(corners[..., 2].mean(axis=1))[: max(1, len(tri) // 20)]
    return 1.0 if np.median(normal_z[nearest]) <= 0.0 else -1.0
