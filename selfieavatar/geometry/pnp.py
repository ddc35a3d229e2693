"""Pose of a known shape, from its points in space (Kabsch) or in the image (PnP), all frames at once."""

from __future__ import annotations

import numpy as np

from selfieavatar.geometry.camera import Camera, cross_matrix, rotation_matrix, rotation_vector


def kabsch(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve Wahba's problem by singular value decomposition: the rotations nearest to matrices.

    Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976.

    Args:
        covariance: (N, 3, 3), sums of goal times start over the points.

    Returns:
        Rotations (N, 3, 3), reflections left out, and singular values (N, 3), negative where one was avoided.
    """
    u, singular, vt = np.linalg.svd(covariance)
    sign = np.ones((len(covariance), 3))
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    return (u * sign[:, None]) @ vt, singular * sign


def rigid_pose(shapes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Align shapes (N, L, 3) with places (N, L, 3) by least squares: rotations (N, 3, 3), translations (N, 3)."""
    middle, goal = shapes.mean(1), places.mean(1)
    rotation, _ = kabsch(np.swapaxes(places - goal[:, None], 1, 2) @ (shapes - middle[:, None]))
    return rotation, goal - (rotation @ middle[..., None])[..., 0]


def solve_pnp(
    shapes: np.ndarray, pixels: np.ndarray, camera: Camera, rotation: np.ndarray, translation: np.ndarray,
    rounds: int = 30,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Solve the perspective-n-point problem by Gauss-Newton, from a guess near by.

    Args:
        shapes: (N, L, 3) cm. pixels: (N, L, 2) px. camera: in these pixels. rounds: at most.
        rotation: (N, 3, 3) and translation: (N, 3) cm, the first guess.

    Returns:
        Rotation vectors (N, 3), translations (N, 3) and the root mean square distance (N,) in px.
    """
    translation = translation.astype(float)
    for _ in range(rounds):
        turned = shapes @ np.swapaxes(rotation, 1, 2)
        points = turned + translation[:, None]
        error = (camera.project(points) - pixels).reshape(len(shapes), -1)
        by_place = camera.jacobian(points)
        jacobian = np.concatenate([-by_place @ cross_matrix(turned), by_place], -1).reshape(*error.shape, 6)
        transposed = np.swapaxes(jacobian, 1, 2)
        step = -np.linalg.solve(transposed @ jacobian, transposed @ error[..., None])[..., 0]
        rotation = rotation_matrix(step[:, :3]) @ rotation
        translation = translation + step[:, 3:]
        if not np.abs(step).max(initial=0) > 1e-9:
            break
    points = shapes @ np.swapaxes(rotation, 1, 2) + translation[:, None]
    distance = np.linalg.norm(camera.project(points) - pixels, axis=2)
    return rotation_vector(rotation), translation, np.sqrt((distance**2).mean(1))
