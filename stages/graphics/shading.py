"""Normals and spherical-harmonics light. NumPy; nothing here reads files or chooses devices.

Light is nine bands for each of R, G, B, (9, 3) or flat (27,) in that order. The bands are the real spherical harmonics
1, y, z, x, xy, yz, 3z^2-1, xz, x^2-y^2 of the normal in camera axes (x right, y down, z away), convolved with the
cosine lobe (Ramamoorthi and Hanrahan 2001, "An Efficient Representation for Irradiance Environment Maps").
"""

import numpy as np

# Normalisation of each harmonic times the cosine lobe's factor of its order over pi (1, 2/3, 1/4).
BAND_FACTORS = np.array(
    [0.282095]
    + [0.488603 * 2.0 / 3.0] * 3
    + [1.092548 / 4.0, 1.092548 / 4.0, 0.315392 / 4.0, 1.092548 / 4.0, 0.546274 / 4.0]
)


def vertex_normals(vertices: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3) float32 of vertices (V, 3) with triangles (F, 3).

    They point to the side from which the corners run counter-clockwise in right-handed axes. Vertices without a
    triangle of some area get the zero vector.
    """
    vertices = np.asarray(vertices, np.float64)
    a, b, c = (vertices[tri[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    corners = tri.ravel()
    spread = np.repeat(faces, 3, axis=0)
    sums = [np.bincount(corners, weights=spread[:, axis], minlength=len(vertices)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / np.maximum(length, 1e-12)).astype(np.float32)


def orient_outwards(vertices: np.ndarray, tri: np.ndarray) -> float:
    """+1 when `vertex_normals` of a face mesh point away from the head, -1 when they point into it.

    A face that looks at the camera (model axes: z away from it) has its outward normals towards smaller z.
    """
    corners = np.asarray(vertices, np.float64)[tri]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return 1.0 if area[:, 2].sum() <= 0.0 else -1.0


def sh_basis(normals: np.ndarray) -> np.ndarray:
    """Unit normals (..., 3) in camera axes -> the nine bands (..., 9)."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    bands = [np.ones_like(x), y, z, x, x * y, y * z, 3.0 * z * z - 1.0, x * z, x * x - y * y]
    return np.stack(bands, axis=-1) * BAND_FACTORS.astype(np.asarray(normals).dtype)


def shade(normals: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Irradiance (..., 3) on unit normals (..., 3) under light (27,) or (9, 3); multiply the albedo by it."""
    light = np.asarray(light, normals.dtype).reshape(9, 3)
    return np.maximum(sh_basis(normals) @ light, 0.0)


def default_light() -> np.ndarray:
    """The fixed light (9, 3) of the rendered pictures: soft, from the camera, above and a little from the left.

    StyleAvatar renders under one fixed light too: the picture is to tell the generator pose and shape, and a light
    that changed with the fit's estimate would add flicker.
    """
    light = np.zeros((9, 3))
    light[0], light[1], light[2], light[3] = 0.66, -0.20, -0.34, -0.10
    light[8] = -0.04
    return (light / BAND_FACTORS[:, None]).astype(np.float32)
