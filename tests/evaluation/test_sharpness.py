"""Sharpness: 1 for the truth, less when blurred, more when noisy."""

import cv2
import numpy as np
import pytest

from selfieavatar.evaluation.sharpness import gradient_magnitude, sharpness


def test_gradient_of_a_ramp_is_its_slope():
    ramp = np.broadcast_to((np.arange(16) * 0.01).astype(np.float32)[None, None, :, None], (1, 8, 16, 3))
    np.testing.assert_allclose(gradient_magnitude(ramp)[0, :-1, :-1], 0.01, rtol=1e-3)


def test_blur_lowers_and_noise_raises_it():
    rng = np.random.default_rng(0)
    truth = cv2.GaussianBlur(rng.random((64, 64, 3), np.float32), (0, 0), 1)[None]
    full = {"full": np.ones((1, 64, 64), bool)}
    blurred = cv2.GaussianBlur(truth[0], (0, 0), 2)[None]
    noisy = truth + rng.normal(0, 0.1, truth.shape).astype(np.float32)
    assert sharpness(truth, truth, full)["full"][0] == pytest.approx(1.0)
    assert sharpness(blurred, truth, full)["full"][0] < 0.5
    assert sharpness(noisy, truth, full)["full"][0] > 1.2


def test_flat_truth_and_empty_region_say_nothing():
    flat = np.full((1, 8, 8, 3), 0.5, np.float32)
    scores = sharpness(flat, flat, {"full": np.ones((1, 8, 8), bool), "face": np.zeros((1, 8, 8), bool)})
    assert np.isnan(scores["full"][0]) and np.isnan(scores["face"][0])
