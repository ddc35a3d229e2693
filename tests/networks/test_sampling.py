"""Looking maps up: the loops of the CPU against grid_sample."""

import pytest
import torch
import torch.nn.functional as F

from selfieavatar.networks.feature_generator import MapBank
from selfieavatar.networks.sampling import sample
from tests.networks.settings import tiny


@pytest.mark.parametrize("shape", [(1, 5, 16, 48), (1, 3, 8, 8), (1, 2, 1, 4)])
def test_values_and_gradients_are_those_of_grid_sample(shape):
    torch.manual_seed(0)
    texture = torch.randn(shape, requires_grad=True)
    grid = 2.4 * torch.rand(2, 7, 9, 2) - 1.2  # beyond the border, too
    grid[0, 0, 0] = torch.tensor([-1.0, 1.0])
    weight, given = torch.rand(2, 1, 7, 9), torch.randn(2, shape[1], 7, 9)
    weight[1, 0, 2] = 0
    twin = texture.detach().clone().requires_grad_()
    expected = F.grid_sample(twin.expand(2, -1, -1, -1), grid, padding_mode="border", align_corners=False) * weight
    found = sample(texture, grid, "bilinear", weight)
    assert torch.allclose(found, expected, atol=1e-5)
    found.backward(given)
    expected.backward(given)
    assert torch.allclose(texture.grad, twin.grad, atol=1e-4)


def test_maps_that_learn_nothing_give_the_same_values():
    torch.manual_seed(0)
    texture, grid = torch.randn(1, 4, 16, 16), 2 * torch.rand(3, 6, 6, 2) - 1
    learning = texture.clone().requires_grad_()
    assert torch.allclose(sample(texture, grid, "bilinear"), sample(learning, grid, "bilinear"), atol=1e-5)


def test_generators_of_maps_learn_from_what_is_looked_up(monkeypatch):
    """The gradient comes channels last, in which torch's own normalisation has a wrong one."""
    settings = tiny()
    grid, given = 2 * torch.rand(2, 8, 8, 2) - 1, torch.randn(2, 8, 8, 8)

    def gradients():
        torch.manual_seed(0)
        bank = MapBank(16, 8, settings).to(memory_format=torch.channels_last)
        sample(bank()["feature"], grid, "bilinear").backward(given)
        return {name: p.grad for name, p in bank.named_parameters() if p.grad is not None}

    found = gradients()
    plain = lambda texture, grid, share: F.grid_sample(  # noqa: E731
        texture.expand(2, -1, -1, -1), grid, padding_mode="border", align_corners=False
    )
    monkeypatch.setattr("selfieavatar.networks.sampling._Bilinear.apply", plain)
    expected = gradients()
    assert found.keys() == expected.keys() and "generator.constant" in found
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-4, rtol=1e-3, msg=name)
