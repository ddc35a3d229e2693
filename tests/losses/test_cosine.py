"""Sign, range and gradients of the cosine loss; torch's own cosine similarity is the oracle."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfieavatar.losses.cosine import CosineLoss, cosine_distance


class TwoStages(nn.Module):
    """A stand-in for ResNet50: means over cells, signs kept, so that opposite images have opposite features."""

    def forward(self, image):
        first = F.avg_pool2d(image - 0.5, 4)
        return {"layer1": first, "layer4": F.avg_pool2d(first, 2)}


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_distance_agrees_with_torch():
    a, b = noise(0, 6, 50), noise(1, 6, 50)
    torch.testing.assert_close(cosine_distance(a, b), 1 - F.cosine_similarity(a, b), rtol=1e-5, atol=1e-5)


def test_zero_at_equality_two_when_opposed():
    a = noise(2, 4, 30)
    assert cosine_distance(a, a).abs().max() < 1e-6
    assert cosine_distance(a, -a).sub(2).abs().max() < 1e-5
    zero = torch.zeros(1, 30)
    assert cosine_distance(zero, zero).abs().max() < 1e-6


@pytest.mark.parametrize("layers", ["pooled", "multiscale"])
def test_loss_falls_as_images_agree(layers):
    loss = CosineLoss(TwoStages(), layers, size_px=32)
    target = (0.5 + 0.2 * noise(3, 2, 3, 32, 32) + torch.tensor([0.3, -0.2, 0.1]).view(3, 1, 1)).clamp(0, 1)
    other = (1 - target).clamp(0, 1)
    values = [loss(target + s * (other - target), target).item() for s in (0.0, 0.45, 0.55, 1.0)]
    assert values[0] == pytest.approx(0.0, abs=1e-5)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(2.0, abs=1e-2)


@pytest.mark.parametrize("layers", ["pooled", "multiscale"])
def test_gradients_are_finite_for_flat_images_and_reach_only_the_generated_one(layers):
    loss = CosineLoss(TwoStages(), layers, size_px=32)
    image = torch.full((1, 3, 48, 48), 0.5, requires_grad=True)
    target = torch.rand(1, 3, 48, 48, requires_grad=True)
    loss(image, target).backward()
    assert torch.isfinite(image.grad).all()
    assert target.grad is None


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="multiscale"):
        CosineLoss(TwoStages(), "all")


@pytest.mark.parametrize("layers", ["pooled", "multiscale"])
def test_half_precision_and_autocast_are_computed_in_float32(layers):
    loss = CosineLoss(TwoStages(), layers, size_px=32)
    target = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    image = (target + 0.01 * noise(1, 1, 3, 48, 48)).clamp(0, 1)
    plain = loss(image, target)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(image, target), plain)
    assert loss(image.bfloat16(), target).dtype == torch.float32
