"""L1 over the known part of the image."""

import pytest
import torch

from selfieavatar.losses.l1 import l1_loss


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


def test_processes_that_share_a_batch_count_its_known_pixels_together():
    image, target = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    validity = torch.ones(2, 1, 8, 8)
    validity[0, ..., 2:] = 0
    each = [
        l1_loss(image[k : k + 1], target[k : k + 1], validity[k : k + 1], lambda known: validity.sum() / 2)
        for k in range(2)
    ]
    assert (sum(each) / 2).item() == pytest.approx(l1_loss(image, target, validity).item())


def test_nothing_known_is_zero_not_nan():
    image = torch.rand(1, 3, 4, 4)
    assert l1_loss(image, image + 1, torch.zeros(1, 1, 4, 4)).item() == 0.0
