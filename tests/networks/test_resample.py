"""Resampling against scipy's upfirdn, the reference implementation of the same operation in one dimension."""

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn

from selfieavatar.networks.resample import BLUR, area_downsample, downsample2, upfirdn2d, upsample2


def _scipy(image: np.ndarray, up: int, down: int, pad: tuple[int, int], gain: float) -> np.ndarray:
    taps = np.array(BLUR) / np.sum(BLUR)
    for axis in (0, 1):
        length = image.shape[axis]
        full = upfirdn(taps, image, up=up, down=1, axis=axis)
        # scipy pads by len(taps)-1 on both sides (and inserts no zeros after the last sample): cut to our padding.
        first = len(taps) - 1 - pad[0]
        count = length * up + pad[0] + pad[1] - len(taps) + 1
        index = np.arange(first, first + count)
        full = np.concatenate([full, np.zeros_like(np.take(full, [0] * (up + 1), axis=axis))], axis=axis)
        image = np.take(full, index[::down], axis=axis)
    return image * gain


@pytest.mark.parametrize("up, down, pad, gain", [(2, 1, (2, 1), 4.0), (1, 2, (1, 1), 1.0), (2, 2, (3, 2), 1.0)])
def test_upfirdn2d_equals_scipy(up: int, down: int, pad: tuple[int, int], gain: float) -> None:
    image = np.random.default_rng(0).normal(size=(10, 14))
    ours = upfirdn2d(torch.from_numpy(image)[None, None], BLUR, up, down, pad, gain)[0, 0].numpy()
    np.testing.assert_allclose(ours, _scipy(image, up, down, pad, gain), atol=1e-12)


def test_shortcuts_equal_the_general_operation() -> None:
    image = torch.randn(2, 3, 12, 8, dtype=torch.float64)
    torch.testing.assert_close(upsample2(image), upfirdn2d(image, BLUR, up=2, pad=(2, 1), gain=4.0))
    assert downsample2(image).shape == (2, 3, 6, 4)
    torch.testing.assert_close(downsample2(image), upfirdn2d(image, BLUR, down=2, pad=(1, 1)))


def test_a_flat_image_stays_flat_inside() -> None:
    flat = torch.ones(1, 1, 16, 16)
    assert torch.allclose(upsample2(flat)[..., 2:-2, 2:-2], torch.tensor(1.0))
    assert torch.allclose(downsample2(flat)[..., 1:-1, 1:-1], torch.tensor(1.0))


def test_second_derivatives_exist() -> None:
    image = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: downsample2(upsample2(x)) ** 2, image, fast_mode=True)


def test_area_downsample_is_the_block_mean() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert area_downsample(image, 2)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    with pytest.raises(ValueError, match="multiples"):
        area_downsample(image, 3)
