"""Closed forms of the adversarial terms."""

import math

import pytest
import torch

from selfieavatar.losses.adversarial import discriminator_loss, generator_loss, r1_penalty


def test_undecided_discriminator():
    zero = torch.zeros(4, 1)
    assert generator_loss(zero).item() == pytest.approx(math.log(2))
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))


def test_signs():
    sure = torch.full((4, 1), 5.0)
    assert generator_loss(sure) < generator_loss(-sure)
    assert discriminator_loss(sure, -sure) < discriminator_loss(-sure, sure)


def test_generator_gradient_does_not_vanish_when_the_discriminator_is_sure():
    logits = torch.full((1, 1), -20.0, requires_grad=True)
    generator_loss(logits).backward()
    assert logits.grad.item() == pytest.approx(-1.0, abs=1e-6)


def test_r1_of_a_linear_discriminator_is_the_square_of_its_weights():
    weights = torch.randn(3 * 8 * 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    images = torch.rand(5, 3, 8, 8, requires_grad=True)
    penalty = r1_penalty(images.flatten(1) @ weights, images)
    assert penalty.item() == pytest.approx(weights.square().sum().item(), rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(weights.grad, 2 * weights.detach())
