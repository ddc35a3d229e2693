"""Test that crops are exact to a fraction of a pixel, with the first pixel's centre at (0.5, 0.5)."""

import cv2
import numpy as np
import pytest

from selfieavatar.video.window import cut_window


def ramp(height: int = 96, width: int = 128) -> np.ndarray:
    """Make a uint16 image of coordinates: channel 0 is 256 x, channel 1 is 256 y at the pixel centre."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([256 * x, 256 * y, 0 * x], axis=-1).astype(np.uint16)


@pytest.mark.parametrize(
    "crop, size",
    [
        ((20, 10, 64), 64),  # copied
        ((20, 10, 64), 32),  # shrunk, whole factor
        ((20, 10, 60), 37),  # shrunk, odd factor
        ((20, 10, 32), 80),  # enlarged
        ((20.3, 10.7, 40.0), 40),  # shifted by a fraction
        ((20.3, 10.7, 55.5), 24),  # shrunk and shifted
        ((20.3, 10.7, 24.5), 60),  # enlarged and shifted
    ],
)
def test_samples_where_it_says(crop, size):
    got = cut_window(ramp(), crop, size).astype(float) / 256
    centre = (np.arange(size) + 0.5) * crop[2] / size
    inside = slice(3, -3)  # enlarging bends a cut-off ramp at the rim
    for axis in (0, 1):
        error = got[..., axis] - crop[axis] - (centre[None] if axis == 0 else centre[:, None])
        error = error[inside, inside]
        assert abs(error.mean()) < 0.03  # no shift
        assert np.abs(error).max() < 0.08  # ripple of box averaging and of the cubic kernel


def test_whole_window_of_equal_size_is_a_copy():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut_window(image, (7, 3, 30), 30), image[3:33, 7:37])


def test_shrinking_by_two_is_the_mean_of_four():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mean = image.reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(cut_window(image, (0, 0, 40), 20) - mean).max() <= 0.5


@pytest.mark.parametrize("crop", [(-10, -6, 60), (-10.5, -6.25, 60), (20, 20, 90), (-100, 5, 30), (300, 200, 16)])
def test_border_is_repeated_outside(crop):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    side, pad = crop[2], 400
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    expected = cut_window(padded, (crop[0] + pad, crop[1] + pad, side), side)
    np.testing.assert_array_equal(cut_window(image, crop, side), expected)


def test_refuses_an_empty_window():
    with pytest.raises(ValueError, match="positive"):
        cut_window(ramp(), (0, 0, 0), 8)
