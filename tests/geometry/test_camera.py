"""Camera and rotations against OpenCV."""

import cv2
import numpy as np
import pytest

from selfieavatar.geometry import camera as cam


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(50, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return axes * np.linspace(1e-7, 3.1, 50)[:, None]


def test_rotation_and_jacobian_are_opencvs(vectors):
    matrices = cam.rotation_matrix(vectors)
    # dR/dv_i = cross_matrix(J e_i) R
    turns = cam.cross_matrix(np.swapaxes(cam.left_jacobian(vectors), 1, 2))
    derivatives = turns @ matrices[:, None]
    for vector, matrix, derivative in zip(vectors, matrices, derivatives, strict=True):
        expected, jacobian = cv2.Rodrigues(vector)
        np.testing.assert_allclose(matrix, expected, atol=1e-9)
        np.testing.assert_allclose(derivative.reshape(3, 9), jacobian, atol=1e-5)


def test_rotation_vector_inverts(vectors):
    np.testing.assert_allclose(cam.rotation_vector(cam.rotation_matrix(vectors)), vectors, atol=1e-7)
    assert np.abs(cam.rotation_vector(np.eye(3))).max() == 0


def test_projection_is_opencvs(vectors):
    rng = np.random.default_rng(1)
    points, translation = rng.normal(size=(20, 3)) * 5, np.array([1.0, -2.0, 80.0])
    camera = cam.Camera(600.0, (120.0, 140.0), 256)
    matrix = np.array([[600, 0, 120], [0, 600, 140], [0, 0, 1.0]])
    expected = cv2.projectPoints(points, vectors[20], translation, matrix, None)[0][:, 0]
    found = camera.project(cam.transform(points, vectors[20:21], translation[None]))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_projection_jacobian_by_finite_differences():
    camera, point, h = cam.Camera.default(256), np.array([2.0, -3.0, 70.0]), 1e-5
    numeric = np.stack([(camera.project(point + d) - camera.project(point - d)) / (2 * h) for d in np.eye(3) * h], 1)
    np.testing.assert_allclose(camera.jacobian(point), numeric, rtol=1e-6, atol=1e-6)


def test_rays_pass_through_their_pixels_and_scaling_keeps_the_view():
    camera, pixels = cam.Camera.default(128), np.array([[3.0, 90.0], [64.0, 64.0]])
    np.testing.assert_allclose(camera.project(camera.rays(pixels) * 50), pixels, atol=1e-9)
    np.testing.assert_allclose(camera.scaled(512).rays(pixels * 4), camera.rays(pixels), atol=1e-12)
