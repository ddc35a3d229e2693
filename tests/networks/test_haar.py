"""The Haar transform is orthonormal and exactly undone by its inverse."""

import pytest
import torch

from selfieavatar.networks.haar import haar, inverse_haar


def test_inverse_undoes_forward_both_ways() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    bands = haar(image)
    assert bands.shape == (2, 12, 8, 12)
    torch.testing.assert_close(inverse_haar(bands), image, rtol=0, atol=1e-14)
    torch.testing.assert_close(haar(inverse_haar(bands)), bands, rtol=0, atol=1e-14)


def test_energy_is_kept() -> None:
    image = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(haar(image).square().sum(), image.square().sum())


def test_bands_mean_what_they_say() -> None:
    flat = haar(torch.ones(1, 1, 4, 4))
    assert torch.equal(flat[0, 0], torch.full((2, 2), 2.0)) and not flat[0, 1:].any()
    stripes = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(1, 1, 4, 4)
    assert haar(stripes)[0, :, 0, 0].tolist() == [0.0, 2.0, 0.0, 0.0]
    assert haar(stripes.transpose(2, 3))[0, :, 0, 0].tolist() == [0.0, 0.0, 2.0, 0.0]


def test_odd_sizes_and_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        haar(torch.zeros(1, 3, 5, 4))
    with pytest.raises(ValueError, match="multiple of 4"):
        inverse_haar(torch.zeros(1, 6, 4, 4))
