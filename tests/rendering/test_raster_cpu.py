"""Test the z-buffer against ray casting (embree), a naive loop, and the fill rule of watertight meshes."""

import numpy as np
import pytest
import torch

from selfieavatar.rendering.raster_cpu import bilinear, clip_positions, interpolate, rasterize
from tests.rendering.meshes import bumpy_sphere, ict_head

SIZE = 128
FOCAL = 260.0
CENTRE = np.array([61.3, 66.1])


def _embree(points: np.ndarray, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cast the ray of each pixel's centre by embree: first triangle (-1: none) and its depth Z."""
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("embreex")
    mesh = trimesh.Trimesh(points, tri, process=False)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    x, y = (columns.ravel() + 0.5 - CENTRE[0]) / FOCAL, (rows.ravel() + 0.5 - CENTRE[1]) / FOCAL
    rays = np.stack([x, y, np.ones_like(x)], axis=1)
    face = mesh.ray.intersects_first(np.zeros_like(rays), rays)
    corner = points[tri[face], :].astype(np.float64)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    depth = (normal * corner[:, 0]).sum(1) / (normal * rays).sum(1)
    return face.reshape(SIZE, SIZE), depth.reshape(SIZE, SIZE)


def assert_agrees_with_embree(points: np.ndarray, tri: np.ndarray, near_edge: float) -> None:
    rast = rasterize(clip_positions(points, FOCAL, CENTRE, (SIZE, SIZE)), tri, (SIZE, SIZE))
    face = rast[..., 3].astype(int) - 1
    expected, depth = _embree(points, tri)
    weights = np.stack([rast[..., 0], rast[..., 1], 1 - rast[..., 0] - rast[..., 1]], axis=-1)
    inner = (face >= 0) & (weights.min(axis=-1) > near_edge)
    outer = face < 0
    assert inner.sum() > 1000 and (face[inner] == expected[inner]).mean() >= 0.998
    assert (expected[outer] < 0).mean() >= 0.998
    same = inner & (face == expected)
    drawn = interpolate(points[:, 2:], rast, tri)[..., 0]
    assert np.abs(drawn[same] / depth[same] - 1.0).max() < 1e-5


@pytest.mark.parametrize("seed", [0, 1])
def test_same_triangles_and_depth_as_ray_casting(seed: int) -> None:
    vertices, tri = bumpy_sphere(24, seed)
    assert_agrees_with_embree(vertices + np.float32([0.5, -0.3, 30.0]), tri, near_edge=0.01)


def test_same_triangles_as_ray_casting_on_a_real_head() -> None:
    vertices, tri = ict_head()
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    assert_agrees_with_embree(vertices - middle + np.float32([0.0, 0.0, 70.0]), tri, near_edge=0.05)


@pytest.fixture(params=[False, True], ids=["denormals kept", "denormals flushed"])
def flushing(request) -> None:
    """Set the CPU's mode for denormal numbers, which libraries such as torch change for the whole thread."""
    before = torch.zeros(1, dtype=torch.float64).add(5e-324).item() == 0.0
    torch.set_flush_denormal(request.param)
    yield
    torch.set_flush_denormal(before)


@pytest.mark.usefixtures("flushing")
def test_a_fan_covers_each_pixel_exactly_once() -> None:
    generator = np.random.default_rng(3)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 40))
    # Corners on pixel centres, where only a consistent rule decides.
    rim = np.round(np.stack([np.cos(angles), np.sin(angles)], 1) * 50 + 64) + 0.5
    points = np.concatenate([[[64.5, 64.5]], rim])
    clip = np.concatenate([points / SIZE * 2 - 1, np.zeros((41, 1)), np.ones((41, 1))], axis=1).astype(np.float32)
    count = np.zeros((SIZE, SIZE), int)
    for k in range(40):
        one = np.array([[0, k + 1, (k + 1) % 40 + 1]], np.int32)
        count += rasterize(clip, one, (SIZE, SIZE))[..., 3] > 0
        flipped = rasterize(clip, one[:, ::-1], (SIZE, SIZE))[..., 3] > 0
        assert (flipped == (rasterize(clip, one, (SIZE, SIZE))[..., 3] > 0)).all()
    assert count.max() == 1
    rows, columns = np.mgrid[:SIZE, :SIZE]
    well_inside = (rows - 64) ** 2 + (columns - 64) ** 2 < 30**2
    assert (count[well_inside] == 1).all()


def test_interpolation_equals_a_naive_loop() -> None:
    points = np.array([[-8.0, -7, 25], [9, -6, 60], [-5, 8, 40], [8.0, 9, 30]], np.float32)
    tri = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    values = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    rast = rasterize(clip_positions(points, 90.0, np.array([32.0, 32.0]), (64, 64)), tri, (64, 64))
    drawn = interpolate(values, rast, tri)
    checked = 0
    for row in range(64):
        for column in range(64):
            face = int(rast[row, column, 3]) - 1
            if face < 0:
                assert not drawn[row, column].any()
                continue
            ray = np.array([(column + 0.5 - 32.0) / 90.0, (row + 0.5 - 32.0) / 90.0, 1.0])
            # The point where the ray meets the plane, as a mixture of the corners: solve corners.T @ w = t * ray.
            system = np.zeros((4, 4))
            system[:3, :3], system[:3, 3], system[3, :3] = points[tri[face]].T, -ray, 1.0
            weights = np.linalg.solve(system, [0, 0, 0, 1.0])[:3]
            np.testing.assert_allclose(drawn[row, column], weights @ values[tri[face]], atol=2e-4)
            checked += 1
    assert checked > 500


def test_triangles_through_the_camera_plane_are_drawn_where_they_are_in_front() -> None:
    # A floor below the camera, from behind it to far in front: covers exactly the rows below the horizon.
    points = np.array([[-500.0, 5, -50], [500, 5, -50], [0, 5, 900]], np.float32)
    rast = rasterize(clip_positions(points, 64.0, np.array([32.0, 32.0]), (64, 64)), np.array([[0, 1, 2]]), (64, 64))
    covered = rast[..., 3] > 0
    assert covered[34:, 32].all() and not covered[:32].any()
    depth = interpolate(points[:, 2:], rast, np.array([[0, 1, 2]]))[..., 0]
    rows = np.arange(34, 64)
    np.testing.assert_allclose(depth[34:, 32], 5.0 * 64.0 / (rows + 0.5 - 32.0), rtol=1e-4)
    behind = points - np.float32([0, 0, 2000])
    clip = clip_positions(behind, 64.0, np.array([32.0, 32.0]), (64, 64))
    assert not rasterize(clip, np.array([[0, 1, 2]]), (64, 64)).any()


def test_degenerate_and_broken_triangles_draw_nothing() -> None:
    clip = np.array([[-1, -1, 0, 1], [1, -1, 0, 1], [0, -1, 0, 1], [np.nan, 1, 0, 1]], np.float32)
    assert not rasterize(clip, np.array([[0, 1, 2], [0, 0, 1], [0, 1, 3]]), (16, 16)).any()
    with pytest.raises(ValueError, match="vertices"):
        rasterize(clip, np.array([[0, 1, 4]]), (16, 16))


def test_batches_and_oblong_images() -> None:
    vertices, tri = bumpy_sphere(8)
    clips = [clip_positions(vertices + np.float32([0, 0, z]), 60.0, np.array([40.0, 20.0]), (40, 80)) for z in (20, 40)]
    both = rasterize(np.stack(clips), tri, (40, 80))
    assert both.shape == (2, 40, 80, 4)
    for one, clip in zip(both, clips, strict=True):
        assert (one == rasterize(clip, tri, (40, 80))).all()


def test_bilinear_reads_texels_at_their_centres() -> None:
    texture = np.random.default_rng(0).uniform(size=(4, 8, 3)).astype(np.float32)
    columns, rows = np.meshgrid((np.arange(8) + 0.5) / 8, (np.arange(4) + 0.5) / 4)
    np.testing.assert_allclose(bilinear(texture, np.stack([columns, rows], -1)), texture, atol=1e-6)
    np.testing.assert_allclose(bilinear(texture, np.array([[0.0, 0.0], [1.0, 1.0]])), texture[[0, -1], [0, -1]])
    middle = bilinear(texture, np.array([[1 / 8, 1 / 4]]))[0]
    np.testing.assert_allclose(middle, texture[:2, :2].mean(axis=(0, 1)), atol=1e-6)
