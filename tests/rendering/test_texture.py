"""Test that unwrapping recovers the texture of the frames in spite of outliers."""

import numpy as np
import pytest

from selfieavatar.identity import Identity
from selfieavatar.rendering.raster_cpu import bilinear
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.texture import MOST_FRAMES, fill_holes, unwrap, weighted_median
from tests.rendering.faces import identity

FLAT_LIGHT = np.eye(9)[:, :1].repeat(3, axis=1) / 0.282095


def _footage(turns: list[float]) -> tuple[dict, Renderer, list[np.ndarray], list[np.ndarray]]:
    arrays = identity(size_px=160)
    arrays["tri_part"] = np.zeros_like(arrays["tri_part"])
    renderer = Renderer(Identity.from_arrays(arrays), light=FLAT_LIGHT)
    poses = [(np.array([0.0, turn, 0.0]), np.array([0.0, 0.0, 45.0]), np.zeros(2)) for turn in turns]
    return arrays, renderer, [renderer.vertices(*p) for p in poses], [renderer.render(*p).image for p in poses]


def _error(arrays: dict, texture: np.ndarray, weight: np.ndarray) -> np.ndarray:
    centres = (np.arange(len(texture)) + 0.5) / len(texture)
    columns, rows = np.meshgrid(centres, centres)
    truth = bilinear(arrays["texture"], np.stack([columns, rows], axis=-1))
    return np.abs(texture - truth).mean(axis=2)[weight > 0.1]


def test_the_texture_comes_back() -> None:
    arrays, renderer, points, images = _footage([-0.6, -0.3, 0.0, 0.3, 0.6])
    texture, weight = unwrap(points, images, renderer.tri, renderer.uv, renderer.focal_px, renderer.principal, 64)
    assert texture.shape == (64, 64, 3) and texture.dtype == np.uint8 and weight.dtype == np.float32
    assert (weight > 0.1).mean() > 0.6 and _error(arrays, texture, weight).mean() < 3.0


def test_spoilt_frames_and_other_people_do_not_matter() -> None:
    arrays, renderer, points, images = _footage([-0.2, -0.1, 0.0, 0.1, 0.2])
    images[1] = 255 - images[1]
    alpha = [np.full(p.shape[:2], 255, np.uint8) for p in images]
    alpha[3][:] = 0
    images[3] = np.zeros_like(images[3])
    camera = renderer.focal_px, renderer.principal
    texture, weight = unwrap(points, images, renderer.tri, renderer.uv, *camera, 64, alpha=alpha)
    assert _error(arrays, texture, weight).mean() < 3.0


def test_hidden_and_foreshortened_texels_have_no_weight() -> None:
    _, renderer, points, images = _footage([1.1])
    camera = renderer.focal_px, renderer.principal
    _, weight = unwrap(points, images, renderer.tri, renderer.uv, *camera, 64)
    left, right = weight[:, 4:20].sum(), weight[:, 44:60].sum()
    assert min(left, right) < 0.2 * max(left, right)
    _, nothing = unwrap([], [], renderer.tri, renderer.uv, *camera, 64)
    assert not nothing.any()
    with pytest.raises(ValueError, match="frames"):
        unwrap(points * (MOST_FRAMES + 1), images * (MOST_FRAMES + 1), renderer.tri, renderer.uv, *camera, 8)


def test_weighted_median_equals_repetition() -> None:
    generator = np.random.default_rng(0)
    values, weights = generator.integers(0, 255, (9, 20, 3)), generator.integers(0, 4, (9, 20))
    weights[:, 5] = 0
    ours = weighted_median(values.astype(np.uint8), weights.astype(np.float32))
    for texel in range(20):
        for channel in range(3):
            repeated = np.sort(np.repeat(values[:, texel, channel], weights[:, texel]))
            assert ours[texel, channel] == (repeated[(len(repeated) - 1) // 2] if len(repeated) else 0)


def test_holes_fill_smoothly_and_known_texels_stay() -> None:
    rows, columns = np.mgrid[:48, :48].astype(np.float32)
    image = np.stack([rows * 3, columns * 3, rows + columns], axis=-1)
    known = np.ones((48, 48), bool)
    known[15:30, 12:33] = False
    filled = fill_holes(np.where(known[..., None], image, 0.0), known)
    np.testing.assert_allclose(filled[known], image[known])
    assert np.abs(filled - image)[~known].mean() < 12
    one = np.zeros((16, 16), bool)
    one[3, 4] = True
    np.testing.assert_allclose(fill_holes(np.full((16, 16, 3), 77.0, np.float32), one), 77.0, atol=1e-3)
    assert (fill_holes(np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), bool)) == 128).all()
