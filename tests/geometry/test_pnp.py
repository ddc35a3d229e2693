"""The pose of a known shape from its image."""

import numpy as np
from scipy.spatial.transform import Rotation

from selfieavatar.geometry.camera import Camera, rotation_vector
from selfieavatar.geometry.pnp import kabsch, rigid_pose, solve_pnp

CAMERA = Camera(600.0, (120.0, 130.0), 256)


def scene(frames=7, seed=0):
    rng = np.random.default_rng(seed)
    shapes = rng.normal(0, 4, (frames, 30, 3))
    rotation = Rotation.from_rotvec(rng.normal(0, 0.5, (frames, 3)))
    translation = rng.normal(0, 3, (frames, 3)) + [0, 0, 90]
    return shapes, rotation, translation


def test_rigid_pose_is_scipys():
    shapes, rotation, translation = scene()
    places = shapes @ np.swapaxes(rotation.as_matrix(), 1, 2) + translation[:, None]
    places = places + np.random.default_rng(1).normal(0, 0.1, places.shape)
    found, moved = rigid_pose(shapes, places)
    for n in range(len(shapes)):
        centred = places[n] - places[n].mean(0), shapes[n] - shapes[n].mean(0)
        np.testing.assert_allclose(found[n], Rotation.align_vectors(*centred)[0].as_matrix(), atol=1e-6)
    np.testing.assert_allclose((shapes @ np.swapaxes(found, 1, 2) + moved[:, None]).mean(1), places.mean(1), atol=1e-9)


def test_kabsch_never_reflects():
    turned = Rotation.random(5, random_state=0).as_matrix()
    found, singular = kabsch(turned @ np.diag([3.0, 2.0, -1.0]))
    np.testing.assert_allclose(np.linalg.det(found), 1.0)
    np.testing.assert_allclose(singular, [[3.0, 2.0, -1.0]] * 5)


def test_the_pose_is_found_from_near_by():
    shapes, rotation, translation = scene()
    pixels = CAMERA.project(shapes @ np.swapaxes(rotation.as_matrix(), 1, 2) + translation[:, None])
    guess = Rotation.from_rotvec([0.1, -0.1, 0.05]) * rotation
    found, moved, residual = solve_pnp(shapes, pixels, CAMERA, guess.as_matrix(), translation + [2, -2, 15])
    np.testing.assert_allclose(found, rotation_vector(rotation.as_matrix()), atol=1e-7)
    np.testing.assert_allclose(moved, translation, atol=1e-5)
    assert residual.max() < 1e-6


def test_the_residual_is_said():
    shapes, rotation, translation = scene()
    pixels = CAMERA.project(shapes @ np.swapaxes(rotation.as_matrix(), 1, 2) + translation[:, None])
    noise = np.random.default_rng(2).normal(0, 1.0, pixels.shape)
    _, _, residual = solve_pnp(shapes, pixels + noise, CAMERA, rotation.as_matrix(), translation)
    assert 1.0 < np.mean(residual) < 1.5  # of two coordinates, less 6 unknowns of 60 values
