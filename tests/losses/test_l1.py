"""L1 over the known part of the picture."""

import pytest
import torch

from stages.losses.l1 import l1_loss


def test_mean_absolute_difference():
    image = torch.full((2, 3, 4, 4), 0.25)
    assert l1_loss(image, torch.full_like(image, 1.0)).item() == pytest.approx(0.75)


def test_only_known_pixels_count_and_receive_gradients():
    image = torch.zeros(1, 3, 4, 4, requires_grad=True)
    target = torch.ones(1, 3, 4, 4)
    target[..., :2] = 0.5
    validity = torch.ones(1, 1, 4, 4)
    validity[..., 2:] = 0.0
    loss = l1_loss(image, target, validity)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert (image.grad[..., 2:] == 0).all()
    assert (image.grad[..., :2] != 0).all()


def test_nothing_known_is_zero_not_nan():
    image = torch.rand(1, 3, 4, 4)
    assert l1_loss(image, image + 1, torch.zeros(1, 1, 4, 4)).item() == 0.0
