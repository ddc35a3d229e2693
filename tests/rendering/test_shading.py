"""Test normals against trimesh and a sphere, harmonics against scipy, and the default light."""

import numpy as np
import pytest

from selfieavatar.geometry.normals import orient_outwards, vertex_normals
from selfieavatar.rendering.shading import default_light, sh_basis, shade
from tests.rendering.meshes import bumpy_sphere


def test_normals_are_the_area_weighted_ones_of_trimesh() -> None:
    trimesh = pytest.importorskip("trimesh")
    vertices, tri = bumpy_sphere(10)
    mesh = trimesh.Trimesh(vertices, tri, process=False)
    weighted = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(weighted, tri[:, corner], mesh.face_normals * mesh.area_faces[:, None])
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    np.testing.assert_allclose(vertex_normals(vertices, tri), weighted, atol=1e-5)


def test_vertices_without_area_have_no_normal() -> None:
    assert not vertex_normals(np.zeros((3, 3)), np.array([[0, 1, 2]])).any()


def test_bands_are_real_spherical_harmonics_with_the_cosine_lobe() -> None:
    special = pytest.importorskip("scipy.special")
    normals = np.random.default_rng(0).normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    polar, turn = np.arccos(normals[:, 2]), np.arctan2(normals[:, 1], normals[:, 0])
    lobe = {0: 1.0, 1: 2.0 / 3.0, 2: 0.25}
    bands = []
    for order, degree in ((0, 0), (1, -1), (1, 0), (1, 1), (2, -2), (2, -1), (2, 0), (2, 1), (2, 2)):
        value = special.sph_harm_y(order, abs(degree), polar, turn)
        real = value.real if degree >= 0 else value.imag
        scale = 1.0 if degree == 0 else np.sqrt(2.0) * (-1.0) ** degree
        bands.append(real * scale * lobe[order])
    ours = sh_basis(normals)
    expected = np.stack(bands, axis=1)[:, [0, 1, 2, 3, 4, 5, 6, 7, 8]]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_default_light_comes_from_the_front_and_above() -> None:
    front, up, down, back = (np.array([v], np.float32) for v in ([0, 0, -1.0], [0, -1.0, 0], [0, 1.0, 0], [0, 0, 1.0]))
    light = default_light()
    brightness = [float(shade(normal, light).mean()) for normal in (front, up, down, back)]
    assert brightness[0] > brightness[1] > brightness[2] > 0 and brightness[0] > brightness[3]
    assert 0.8 < brightness[0] < 1.2
    np.testing.assert_allclose(shade(front, light), shade(front, light.ravel()))


def test_a_face_towards_the_camera_is_oriented_outwards() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    for tri in (np.array([[0, 1, 2]]), np.array([[0, 2, 1]])):
        assert (vertex_normals(vertices, tri) * orient_outwards(vertices, tri))[0, 2] < 0
