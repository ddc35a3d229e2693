"""Pinhole camera and rotations, vectorised over frames.

Axes as in OpenCV: x right, y down, z away from the camera. Camera point = R @ X + t, u = f * X / Z + c, in pixels
whose first centre is (0.5, 0.5). Rotations are axis-angle vectors in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Focal length over the side of a crop that is 2.3 face heights wide: a camera about 1.1 m away.
DEFAULT_FOCAL_RATIO = 2.5


@dataclass(frozen=True)
class Camera:
    """Focal length and principal point in pixels of a square image of side `size_px`."""

    focal_px: float
    principal: tuple[float, float]
    size_px: int

    @classmethod
    def default(cls, size_px: int, focal_ratio: float = DEFAULT_FOCAL_RATIO) -> Camera:
        """Make a camera that looks at the middle of the image; focal_ratio: focal length over the image's side."""
        return cls(focal_ratio * size_px, (size_px / 2, size_px / 2), int(size_px))

    def scaled(self, size_px: int) -> Camera:
        """Rescale the camera for an image of another size."""
        k = size_px / self.size_px
        return Camera(self.focal_px * k, (self.principal[0] * k, self.principal[1] * k), int(size_px))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project camera points (..., 3), cm, to pixels (..., 2)."""
        return self.focal_px * points[..., :2] / points[..., 2:] + np.asarray(self.principal)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unproject pixels (..., 2) to unit directions (..., 3) from the camera."""
        flat = (pixels - np.asarray(self.principal)) / self.focal_px
        rays = np.concatenate([flat, np.ones_like(flat[..., :1])], axis=-1)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def jacobian(self, points: np.ndarray) -> np.ndarray:
        """Return the derivative (..., 2, 3) of `project` by the camera point."""
        inverse = self.focal_px / points[..., 2]
        out = np.zeros((*points.shape[:-1], 2, 3), points.dtype)
        out[..., 0, 0] = out[..., 1, 1] = inverse
        out[..., :, 2] = -points[..., :2] * (inverse / points[..., 2])[..., None]
        return out


def cross_matrix(vectors: np.ndarray) -> np.ndarray:
    """Convert vectors (..., 3) to skew-symmetric matrices (..., 3, 3), whose product with b is the cross product."""
    out = np.zeros((*vectors.shape, 3), vectors.dtype)
    x, y, z = np.moveaxis(vectors, -1, 0)
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -z, y, -x
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = z, -y, x
    return out


def rotation_matrix(vectors: np.ndarray) -> np.ndarray:
    """Convert axis-angle (..., 3) to rotation matrices (..., 3, 3) by Rodrigues' formula."""
    angle2 = (vectors**2).sum(-1)[..., None, None]
    angle = np.sqrt(angle2)
    small = angle2 < 1e-8
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1 - angle2 / 6, np.sin(safe) / safe)
    second = np.where(small, 0.5 - angle2 / 24, (1 - np.cos(safe)) / safe**2)
    skew = cross_matrix(vectors)
    return np.eye(3) + first * skew + second * (skew @ skew)


def rotation_vector(matrices: np.ndarray) -> np.ndarray:
    """Convert rotation matrices (..., 3, 3) to axis-angle (..., 3) by way of quaternions, stable at every angle."""
    m = np.asarray(matrices, float)
    diagonal = np.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], -1)
    trace = diagonal.sum(-1, keepdims=True)
    magnitude = (
        np.sqrt(np.maximum(np.concatenate([1 + trace, 1 - trace + 2 * diagonal], -1), 0)) / 2
    )  # |w|, |x|, |y|, |z|
    w2 = 4 * np.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1
    )  # 16 w (x, y, z)
    s01, s02, s12 = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    products = np.stack([np.stack(row, -1) for row in (
        (16 * magnitude[..., 0] ** 2, w2[..., 0], w2[..., 1], w2[..., 2]),
        (w2[..., 0], 16 * magnitude[..., 1] ** 2, 4 * s01, 4 * s02),
        (w2[..., 1], 4 * s01, 16 * magnitude[..., 2] ** 2, 4 * s12),
        (w2[..., 2], 4 * s02, 4 * s12, 16 * magnitude[..., 3] ** 2),
    )], -2)  # fmt: skip
    largest = magnitude.argmax(-1)[..., None, None]
    quaternion = np.take_along_axis(products, np.broadcast_to(largest, (*largest.shape[:-2], 1, 4)), -2)[..., 0, :]
    quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True)
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * np.where(sine < 1e-12, 2.0, angle / np.maximum(sine, 1e-300))


def left_jacobian(vectors: np.ndarray) -> np.ndarray:
    """Return the left Jacobian J (..., 3, 3) of SO(3): exp(v + d) = exp(J d) exp(v) to first order in d.

    So dR/dv_i = cross_matrix(J[:, i]) @ R.

    Barfoot, "State Estimation for Robotics", 2017, eq. 7.77.
    """
    angle2 = (vectors**2).sum(-1)[..., None, None]
    small = angle2 < 1e-8
    safe = np.where(small, 1.0, np.sqrt(angle2))
    first = np.where(small, 0.5 - angle2 / 24, (1 - np.cos(safe)) / safe**2)
    second = np.where(small, 1 / 6 - angle2 / 120, (safe - np.sin(safe)) / safe**3)
    skew = cross_matrix(vectors)
    return np.eye(3) + first * skew + second * (skew @ skew)


def transform(points: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Transform model points (V, 3) or (N, V, 3) to camera points (N, V, 3) by N axis-angle rotations, translations."""
    return points @ np.swapaxes(rotation_matrix(rotation), -1, -2) + translation[:, None, :]
