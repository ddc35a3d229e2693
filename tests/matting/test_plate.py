"""Test the background plate against a known wall."""

import cv2
import numpy as np
import pytest

from selfieavatar.matting.plate import PlateBuilder, inpaint, masked_median
from tests.matting.shapes import composite, head_and_shoulders

SIZE = 128


@pytest.fixture(scope="module")
def wall():
    rng = np.random.default_rng(0)
    return cv2.resize(rng.random((9, 9, 3)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def test_plate_equals_the_wall_where_it_was_seen(wall):
    rng = np.random.default_rng(1)
    builder = PlateBuilder(capacity=16)
    ever = np.zeros((SIZE, SIZE), bool)
    for step in range(40):
        alpha = head_and_shoulders(SIZE, hairs=0, shift=int(30 * np.sin(step / 3)))
        image = np.clip(composite(alpha, np.full_like(wall, 0.1), wall) + rng.normal(0, 2, wall.shape), 0, 255)
        builder.add(image.astype(np.uint8), alpha if builder.wants_next() else None)
        ever |= alpha < 0.1
    assert builder.sample_count <= 16
    plate, seen = builder.plate()
    error = np.abs(plate.astype(float) / 255 - wall)
    assert plate.shape == (SIZE, SIZE, 3) and 0.2 < seen.mean() < 1.0
    assert not (seen & ~ever).any()
    assert error[seen].mean() < 0.006 and error[seen].max() < 0.05


def test_samples_stay_spread_over_a_clip_of_unknown_length():
    builder = PlateBuilder(capacity=8)
    for number in range(250):
        builder.add(np.full((8, 8, 3), number, np.uint8), np.zeros((8, 8), np.float32))
    assert 4 <= builder.sample_count <= 8
    # The lower median of evenly spread numbers is near the middle, not near either end.
    assert 80 <= builder.plate()[0][0, 0, 0] <= 170


def test_one_passer_by_does_not_matter():
    images = np.full((5, 4, 4, 3), 100, np.uint8)
    images[2] = 250
    assert (masked_median(images, np.ones((5, 4, 4), bool)) == 100).all()


def test_masked_median_ignores_hidden_samples():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2).repeat(3, 3)
    clear = np.zeros((5, 2, 2), bool)
    clear[1:4, 0, 0] = True
    found = masked_median(images, clear)
    assert (found[0, 0] == 2).all() and (found[1, 1] == 0).all()


def test_inpainting_keeps_the_known_and_continues_it():
    image = np.full((64, 64, 3), 120, np.uint8)
    known = np.ones((64, 64), bool)
    known[20:40, 20:40] = False
    hidden = image.copy()
    hidden[~known] = 0
    assert np.abs(inpaint(hidden, known).astype(int) - 120).max() <= 1
    assert (inpaint(hidden, np.zeros_like(known)) == 128).all()


def test_no_sample_is_an_error():
    with pytest.raises(ValueError, match="sample"):
        PlateBuilder().plate()
