"""Test matting's compiled loops against OpenCV and NumPy."""

import cv2
import numpy as np
import pytest

from selfieavatar.matting.colour_line import colour_line
from selfieavatar.matting.guided import guided_filter, pixels
from selfieavatar.matting.kernels import enlarge_at, window_models


@pytest.mark.parametrize(("coarse", "size"), [((128, 128), (512, 512)), ((37, 53), (191, 133)), ((1, 2), (5, 7))])
@pytest.mark.parametrize("channels", [1, 4])
def test_enlarging_at_pixels_equals_opencv(coarse, size, channels):
    rng = np.random.default_rng(0)
    maps = rng.random((*coarse, channels), np.float32)
    where = np.flatnonzero(rng.random(size[0] * size[1]) < 0.3)
    whole = cv2.resize(maps, size, interpolation=cv2.INTER_LINEAR).reshape(-1, channels)
    assert np.abs(enlarge_at(maps, size, where) - whole[where].T).max() < 1e-6


def test_nothing_is_enlarged_at_no_pixel():
    assert enlarge_at(np.ones((4, 4, 3), np.float32), (8, 8), np.empty(0, np.int64)).shape == (3, 0)


def test_colours_are_picked_in_the_unit_range():
    image = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    where, unit = np.array([0, 7, 29]), image.astype(np.float32) * np.float32(1.0 / 255.0)
    assert np.array_equal(pixels(image, where), unit.reshape(-1, 3)[where].T)
    assert np.array_equal(pixels(unit, where), unit.reshape(-1, 3)[where].T)


def test_window_models_solve_the_normal_equations():
    rng = np.random.default_rng(2)
    samples = rng.random((50, 4))  # colour and mask of one window
    colours, mask = samples[:, :3], samples[:, 3]
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3)]
    means = [*samples.mean(0), *((samples[:, i] * samples[:, j]).mean() for i, j in pairs)]
    models = window_models(tuple(np.full((2, 3), mean, np.float32) for mean in means), np.float32(1e-2))
    covariance = np.cov(colours.T, bias=True) + 1e-2 * np.eye(3)
    slope = np.linalg.solve(covariance, ((colours - colours.mean(0)) * (mask - mask.mean())[:, None]).mean(0))
    expected = [*slope, mask.mean() - slope @ colours.mean(0)]
    assert models.reshape(4, -1).T == pytest.approx(np.tile(expected, (6, 1)), abs=1e-4)


def scene():
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (64, 48, 3)).astype(np.uint8)
    person = np.zeros((64, 48), np.uint8)
    person[24:, 16:32] = 255
    return rng, image, person


def test_images_of_integers_and_of_floats_give_the_same():
    rng, image, person = scene()
    where, unit = np.flatnonzero(rng.random(image[..., 0].size) < 0.5), image.astype(np.float32) / 255.0
    mask = person / np.float32(255.0)
    of_integers, of_floats = (guided_filter(guide, mask, 4, 1e-3, where) for guide in (image, unit))
    assert of_integers == pytest.approx(of_floats, abs=1e-4)


@pytest.mark.parametrize("with_plate", [False, True])
def test_chosen_pixels_have_the_alpha_that_they_have_among_all(with_plate):
    rng, image, person = scene()
    plate = (rng.integers(0, 256, image.shape).astype(np.uint8), rng.random(person.shape) < 0.9) if with_plate else None
    where = np.flatnonzero(rng.random(person.size) < 0.3)
    arguments = image, person, 255 - cv2.dilate(person, np.ones((9, 9), np.uint8)), 8
    some, everywhere = (colour_line(*arguments, at, plate) for at in (where, np.arange(person.size)))
    assert all(np.array_equal(part, whole[where]) for part, whole in zip(some, everywhere, strict=True))
