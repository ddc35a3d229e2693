"""Test the temporal filter: less flicker where the image is static, no lag where it moves."""

import numpy as np
import pytest

from selfieavatar.matting.temporal import TemporalBlend
from tests.matting.shapes import composite, head_and_shoulders

SIZE = 128
PERSON, WALL = np.full((SIZE, SIZE, 3), 0.2), np.full((SIZE, SIZE, 3), 0.8)


def noisy(image, rng, sigma=1.5):
    return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def test_static_noisy_sequence_flickers_less():
    rng = np.random.default_rng(0)
    alpha = head_and_shoulders(SIZE, hairs=0)
    image = composite(alpha, PERSON, WALL)
    flicker = {}
    for strength in (0.0, 0.8):
        blend = TemporalBlend(strength)
        found = []
        for _ in range(30):
            unsteady = np.clip(alpha + rng.normal(0, 0.05, alpha.shape), 0, 1).astype(np.float32)
            found.append(blend(noisy(image, rng), unsteady)[1])
        assert np.isnan(found[0])
        flicker[strength] = np.mean(found[5:])
    # White noise through a recursive filter of weight w changes by (1 - w) / sqrt(1 + w) as much as without: here 0.15.
    assert flicker[0.8] < 0.35 * flicker[0.0]


def test_moving_edge_is_not_delayed():
    rng = np.random.default_rng(1)
    blend = TemporalBlend(0.9)
    for shift in range(0, 24, 2):
        alpha = head_and_shoulders(SIZE, hairs=0, shift=shift)
        found, _ = blend(noisy(composite(alpha, PERSON, WALL), rng), alpha)
    assert np.abs(found - alpha).max() < 0.05


def test_slow_movement_is_followed():
    blend = TemporalBlend(0.9)
    ramp = np.linspace(0, 1, SIZE, dtype=np.float32)[None].repeat(SIZE, 0)
    for step in range(60):  # a soft edge that creeps: each step alone is below the noise
        alpha = np.clip(ramp * 4 - 1.0 - step * 0.02, 0, 1).astype(np.float32)
        found, _ = blend(composite(alpha, PERSON, WALL), alpha)
    assert np.abs(found - alpha).max() < 0.15


def test_a_cut_resets_the_filter():
    blend = TemporalBlend(0.9)
    blend(np.full((64, 64, 3), 20, np.uint8), np.ones((64, 64), np.float32))
    found, flicker = blend(np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64), np.float32))
    assert not found.any() and np.isnan(flicker)


def test_flicker_is_the_change_of_alpha_where_nothing_moved():
    blend = TemporalBlend(0.0)
    image = np.full((64, 64, 3), 80, np.uint8)
    blend(image, np.full((64, 64), 0.5, np.float32))
    assert blend(image, np.full((64, 64), 0.6, np.float32))[1] == pytest.approx(0.1, abs=1e-6)


def test_strength_of_one_is_refused():
    with pytest.raises(ValueError, match="strength"):
        TemporalBlend(1.0)
