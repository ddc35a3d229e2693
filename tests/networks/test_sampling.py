"""Looking maps up: the loops of the CPU against grid_sample."""

import pytest
import torch
import torch.nn.functional as F

from selfieavatar.networks.sampling import sample


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
