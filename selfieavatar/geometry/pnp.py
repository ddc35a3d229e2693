"""The pose of a known shape from its image (spatial resection), all frames at once."""

from __future__ import annotations

import numpy as np

from selfieavatar.geometry.camera import Camera, cross_matrix, rotation_matrix, rotation_vector


def rigid_pose(shapes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, 3, 3) and translations (N, 3) that bring shapes (N, L, 3) nearest to places (N, L, 3).

    Least squares: Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976.
    """
    middle, goal = shapes.mean(1), places.mean(1)
    u, _, vt = np.linalg.svd(np.swapaxes(places - goal[:, None], 1, 2) @ (shapes - middle[:, None]))
    sign = np.ones((len(shapes), 3))
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    return rotation, goal - (rotation @ middle[..., None])[..., 0]


def solve_pnp(
    shapes: np.ndarray, pixels: np.ndarray, camera: Camera, rotation: np.ndarray, translation: np.ndarray,
    rounds: int = 30,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The poses in which the shapes (N, L, 3) cm project nearest to pixels (N, L, 2): Gauss-Newton from near by.

    Args:
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
