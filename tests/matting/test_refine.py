"""Test the refinement against images of known alpha."""

import numpy as np
import pytest

from selfieavatar.matting.closed_form import closed_form
from selfieavatar.matting.refine import RefineOptions, levels, refine, tidy
from tests.matting.shapes import coarse_mask, composite, head_and_shoulders

SIZE = 256
HAIR = np.array([0.25, 0.15, 0.10])
WALL = np.array([0.80, 0.78, 0.70])


@pytest.fixture(scope="module")
def scene():
    alpha = head_and_shoulders(SIZE)
    rng = np.random.default_rng(1)
    image = composite(alpha, np.broadcast_to(HAIR, (SIZE, SIZE, 3)), np.broadcast_to(WALL, (SIZE, SIZE, 3)))
    noisy = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    return alpha, noisy, coarse_mask(alpha)


def upsampled(mask):
    return np.kron(mask, np.ones((SIZE // mask.shape[0],) * 2, np.float32))


def test_alpha_is_one_on_the_person_and_near_the_truth(scene):
    alpha, image, mask = scene
    found = refine(image, mask, RefineOptions())
    assert found.dtype == np.float32 and found.shape == alpha.shape
    assert found[200, 128] == 1.0 and found[20, 20] == 0.0
    before, after = np.abs(upsampled(mask) - alpha).mean(), np.abs(found - alpha).mean()
    assert after < 0.25 * before


def test_loose_hair_comes_back(scene):
    alpha, image, mask = scene
    hair = (alpha > 0.5) & (upsampled(mask) < 0.5)
    found = refine(image, mask, RefineOptions())
    assert hair.sum() > 50
    assert found[hair].mean() > 0.7
    assert refine(image, mask, RefineOptions(colour_line=0.0))[hair].mean() < found[hair].mean()


def test_plate_separates_a_textured_wall(scene):
    alpha, _, mask = scene
    rng = np.random.default_rng(2)
    wall = np.clip(np.kron(rng.random((32, 32, 3)), np.ones((8, 8, 1))) * 0.6 + 0.35, 0, 1)
    image = composite(alpha, np.broadcast_to(HAIR, (SIZE, SIZE, 3)), wall)
    plate = np.rint(wall * 255).astype(np.uint8), np.ones((SIZE, SIZE), bool)
    without = np.abs(refine(image, mask, RefineOptions()) - alpha).mean()
    with_plate = np.abs(refine(image, mask, RefineOptions(), plate) - alpha).mean()
    assert with_plate < 0.6 * without


def test_a_wrong_plate_is_ignored(scene):
    alpha, image, mask = scene
    rng = np.random.default_rng(3)
    plate = rng.integers(0, 255, image.shape).astype(np.uint8), np.ones((SIZE, SIZE), bool)
    without = np.abs(refine(image, mask, RefineOptions()) - alpha).mean()
    assert np.abs(refine(image, mask, RefineOptions(), plate) - alpha).mean() < 1.2 * without + 1e-3


def test_nobody_gives_zero():
    image = np.full((64, 64, 3), 90, np.uint8)
    assert not refine(image, np.zeros((32, 32), np.float32), RefineOptions()).any()


def test_everybody_gives_one():
    image = np.full((64, 64, 3), 90, np.uint8)
    assert (refine(image, np.ones((32, 32), np.float32), RefineOptions()) == 1.0).all()


def test_tidy_drops_islands_and_fills_holes():
    mask = np.zeros((100, 100), np.float32)
    mask[30:, 30:70] = 1.0
    mask[60:64, 48:52] = 0.0
    mask[5:12, 5:12] = 1.0
    clean = tidy(mask, hole_share=0.01, reach_px=5)
    assert clean[62, 50] == 1.0 and not clean[:20, :20].any()
    kept = tidy(mask, hole_share=0.0001, reach_px=5)
    assert kept[62, 50] == 0.0


def test_an_opening_to_the_border_is_not_a_hole():
    mask = np.ones((60, 60), np.float32)
    mask[50:, 28:32] = 0.0
    assert tidy(mask, hole_share=0.5, reach_px=5)[55, 30] == 0.0


def test_levels_clean_the_ends():
    assert levels(np.array([0.05, 0.51, 0.97], np.float32)) == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.slow
def test_closed_form_is_near_the_truth(scene):
    alpha, image, mask = scene
    found = closed_form(image, mask, RefineOptions())
    assert np.abs(found - alpha).mean() < 0.3 * np.abs(upsampled(mask) - alpha).mean()
