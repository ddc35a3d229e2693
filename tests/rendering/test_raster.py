"""Test the differentiable rasteriser: finite differences, antialiasing against areas, parity with CUDA."""

import numpy as np
import pytest
import torch

from selfieavatar.errors import UserError
from selfieavatar.rendering import raster_cpu
from selfieavatar.rendering.raster import CpuBackend, NvdiffrastBackend, backend_for, camera_to_clip
from selfieavatar.rendering.raster_autograd import opposite_vertices
from tests.rendering.meshes import bumpy_sphere

SIZE = (24, 32)


def _clip(double: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    vertices, tri = bumpy_sphere(5)
    points = torch.from_numpy(vertices)[None] + torch.tensor([0.3, 0.2, 25.0])
    points = points.double() if double else points
    return camera_to_clip(points, 45.0, (15.7, 12.4), SIZE), torch.from_numpy(tri)


def _finite_difference(function, value: torch.Tensor, index: tuple[int, ...], step: float) -> float:
    above, below = value.detach().clone(), value.detach().clone()
    above[index] += step
    below[index] -= step
    return float((function(above) - function(below)).detach() / (2 * step))


def test_forward_equals_the_numpy_path() -> None:
    clip, tri = _clip(double=False)
    backend = CpuBackend()
    rast = backend.rasterize(clip, tri, SIZE)
    expected = raster_cpu.rasterize(clip[0].numpy(), tri.numpy(), SIZE)
    np.testing.assert_allclose(rast[0].numpy(), expected, atol=2e-5)
    colours = torch.rand(1, clip.shape[1], 5)
    drawn = backend.interpolate(colours, rast, tri)
    np.testing.assert_allclose(drawn[0], raster_cpu.interpolate(colours[0].numpy(), expected, tri.numpy()), atol=1e-4)
    texture, uv = torch.rand(1, 6, 9, 3), torch.rand(1, *SIZE, 2)
    read = backend.texture(texture, uv)[0].numpy()
    np.testing.assert_allclose(read, raster_cpu.bilinear(texture[0].numpy(), uv[0].numpy()), atol=1e-5)


def test_gradients_of_positions_equal_finite_differences() -> None:
    clip, tri = _clip()
    backend = CpuBackend()
    seen = backend.rasterize(clip, tri, SIZE)[..., 3]
    colours = torch.rand(1, clip.shape[1], 3, dtype=torch.float64)
    wanted = torch.rand(1, *SIZE, 3, dtype=torch.float64)

    def loss(positions: torch.Tensor) -> torch.Tensor:
        rast = backend.rasterize(positions, tri, SIZE)
        # Away from the pixels whose triangle changes, where only antialiasing has a derivative.
        kept = (rast[..., 3:] == seen[..., None]) & (seen[..., None] > 0)
        return ((backend.interpolate(colours, rast, tri) - wanted) ** 2 * kept).sum()

    positions = clip.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(positions), positions)
    visible = torch.unique(tri[seen[seen > 0].long() - 1])
    for vertex in visible[::3].tolist():
        for axis in (0, 1, 3):
            expected = _finite_difference(loss, clip, (0, vertex, axis), 1e-7)
            assert float(gradient[0, vertex, axis]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_gradients_of_attributes_and_texture_equal_finite_differences() -> None:
    clip, tri = _clip()
    backend = CpuBackend()
    rast = backend.rasterize(clip, tri, SIZE)
    texture = torch.rand(1, 7, 7, 2, dtype=torch.float64, requires_grad=True)
    uv = torch.rand(1, clip.shape[1], 2, dtype=torch.float64, requires_grad=True)

    def loss(maps: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        return (backend.texture(maps, backend.interpolate(coordinates, rast, tri)) ** 2).sum()

    by_texture, by_uv = torch.autograd.grad(loss(texture, uv), (texture, uv))
    for index in ((0, 3, 3, 0), (0, 1, 5, 1)):
        expected = _finite_difference(lambda value: loss(value, uv), texture, index, 1e-6)
        assert float(by_texture[index]) == pytest.approx(expected, rel=1e-3)
    busiest = by_uv[0].abs().sum(1).topk(4).indices.tolist()
    for vertex in busiest:
        expected = _finite_difference(lambda value: loss(texture, value), uv, (0, vertex, 0), 1e-7)
        assert float(by_uv[0, vertex, 0]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def _triangle(corners: list[list[float]], size: int) -> torch.Tensor:
    points = torch.tensor(corners, dtype=torch.float64) / size * 2 - 1
    return torch.cat([points, torch.zeros(3, 1), torch.ones(3, 1)], dim=1)[None]


def test_antialiasing_measures_the_covered_area_and_its_derivative() -> None:
    backend, size, tri = CpuBackend(), 64, torch.tensor([[0, 1, 2]])
    clip = _triangle([[10.2, 8.1], [55.3, 20.4], [21.7, 57.9]], size).requires_grad_(True)

    def area(positions: torch.Tensor) -> torch.Tensor:
        rast = backend.rasterize(positions, tri, (size, size))
        white = (rast[..., 3:] > 0).to(positions.dtype)
        return backend.antialias(white, rast, positions, tri).sum()

    def exact(positions: torch.Tensor) -> torch.Tensor:
        a, b, c = ((positions[0, :, :2] + 1) * size / 2).unbind(0)
        return 0.5 * ((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]).abs()

    hard = float((backend.rasterize(clip, tri, (size, size))[..., 3] > 0).sum())
    true = float(exact(clip).detach())
    assert abs(float(area(clip).detach()) - true) < 2.0 and abs(hard - true) < 30.0
    (gradient,) = torch.autograd.grad(area(clip), clip)
    (expected,) = torch.autograd.grad(exact(clip), clip)
    torch.testing.assert_close(gradient[..., :2], expected[..., :2], rtol=0.05, atol=0.05 * float(expected.abs().max()))
    for index in ((0, 0, 0), (0, 1, 1), (0, 2, 0)):
        assert float(gradient[index]) == pytest.approx(_finite_difference(area, clip, index, 1e-8), rel=1e-3)


def test_antialiasing_leaves_inner_edges_alone() -> None:
    clip, tri = _clip()
    backend = CpuBackend()
    rast = backend.rasterize(clip, tri, SIZE)
    colours = torch.rand(1, *SIZE, 3, dtype=torch.float64)
    changed = (backend.antialias(colours, rast, clip, tri) != colours).any(-1)[0].numpy()
    covered = (rast[0, ..., 3] > 0).numpy().astype(np.uint8)
    padded = np.pad(covered, 1)
    around = sum(padded[1 + r : 25 + r, 1 + c : 33 + c] for r, c in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)))
    border = (around > 0) & (around < 5)
    # On a nearly convex ball silhouettes lie only where face meets background.
    assert changed.any() and (changed & ~border).sum() <= 0.02 * covered.sum()


def test_opposite_vertices() -> None:
    assert opposite_vertices(np.array([[0, 1, 2], [2, 1, 3]])).tolist() == [[3, -1, -1], [-1, -1, 0]]


def test_camera_to_clip_equals_the_numpy_one() -> None:
    points = np.random.default_rng(0).uniform(5, 30, (2, 9, 3))
    ours = camera_to_clip(torch.from_numpy(points), 70.0, (30.0, 20.0), SIZE)
    np.testing.assert_allclose(ours, raster_cpu.clip_positions(points, 70.0, np.array([30.0, 20.0]), SIZE), rtol=1e-6)


def test_backends_are_chosen_by_device() -> None:
    assert backend_for("cpu").name == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="NVIDIA"):
            backend_for("cuda:0")


@pytest.mark.gpu
def test_nvdiffrast_agrees_with_the_reference() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU that torch can use")
    pytest.importorskip("nvdiffrast", reason="needs nvdiffrast, which is built from source")
    vertices, tri_array = bumpy_sphere(24)
    points = torch.from_numpy(vertices)[None] + torch.tensor([0.5, -0.3, 30.0])
    clip, tri = camera_to_clip(points, 260.0, (61.3, 66.1), (128, 128)), torch.from_numpy(tri_array)
    reference, gpu = CpuBackend(), NvdiffrastBackend()
    expected, rast = reference.rasterize(clip, tri, (128, 128)), gpu.rasterize(clip, tri, (128, 128))
    same = expected[..., 3] == rast[..., 3].cpu()
    assert same.float().mean() > 0.998
    torch.testing.assert_close(rast.cpu()[same], expected[same], atol=1e-3, rtol=0)
    colours = torch.rand(1, len(vertices), 3)
    drawn, wanted = gpu.interpolate(colours, rast, tri), reference.interpolate(colours, expected, tri)
    torch.testing.assert_close(drawn.cpu()[same], wanted[same], atol=2e-3, rtol=0)
    smooth, smooth_wanted = gpu.antialias(drawn, rast, clip, tri), reference.antialias(wanted, expected, clip, tri)
    assert (smooth.cpu() - smooth_wanted).abs().mean() < 2e-3
    texture, uv = torch.rand(1, 16, 16, 3), torch.rand(1, 128, 128, 2)
    read = gpu.texture(texture, uv.cuda()).cpu()
    torch.testing.assert_close(read, reference.texture(texture, uv), atol=5e-3, rtol=0)
