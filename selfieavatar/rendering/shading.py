"""Shade by spherical-harmonics light.

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


def sh_basis(normals: np.ndarray) -> np.ndarray:
    """Evaluate the nine bands (..., 9) at unit normals (..., 3) in camera axes."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    bands = [np.ones_like(x), y, z, x, x * y, y * z, 3.0 * z * z - 1.0, x * z, x * x - y * y]
    return np.stack(bands, axis=-1) * BAND_FACTORS.astype(np.asarray(normals).dtype)


def shade(normals: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Compute the irradiance (..., 3), a factor of albedo, at unit normals (..., 3) under light (27,) or (9, 3)."""
    light = np.asarray(light, normals.dtype).reshape(9, 3)
    return np.maximum(sh_basis(normals) @ light, 0.0)


def default_light() -> np.ndarray:
    """Make the fixed light (9, 3) of the rendered images: soft, from the camera, above and a little from the left.

    StyleAvatar renders under one fixed light too: the image conveys pose and shape to the generator, and light that
    followed the fit's estimate would add flicker.
    """
    light = np.zeros((9, 3))
    light[0], light[1], light[2], light[3] = 0.66, -0.20, -0.34, -0.10
    light[8] = -0.04
    return (light / BAND_FACTORS[:, None]).astype(np.float32)
