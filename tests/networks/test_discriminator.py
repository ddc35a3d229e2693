"""The discriminator: the minibatch deviation against its definition, odd batches, and the derivative that R1 needs."""

import pytest
import torch

from selfieavatar.losses.adversarial import r1_penalty
from selfieavatar.networks.discriminator import Discriminator, minibatch_deviation
from tests.networks.settings import tiny


def test_minibatch_deviation_is_the_mean_deviation_of_its_group():
    x = torch.randn(8, 3, 4, 4)
    out = minibatch_deviation(x, 4)
    assert out.shape == (8, 4, 4, 4)
    for half in range(2):
        # groups are interleaved: samples half, half + 2, half + 4, half + 6
        expected = x[half::2].std(0, unbiased=False).mean()
        for k in range(half, 8, 2):
            torch.testing.assert_close(out[k, 3], expected.expand(4, 4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 4, 6])
def test_any_batch_size_gives_one_logit_per_image(batch):
    disc = Discriminator(tiny(), 32)
    assert disc(torch.randn(batch, 3, 32, 32), torch.rand(batch, 3, 32, 32)).shape == (batch, 1)


def test_identical_images_have_no_deviation():
    out = minibatch_deviation(torch.ones(4, 2, 4, 4))
    assert out[:, 2].abs().max() < 1e-3


def test_r1_penalty_reaches_the_weights():
    disc, image = Discriminator(tiny(), 32), torch.randn(2, 3, 32, 32, requires_grad=True)
    r1_penalty(disc(image, torch.rand(2, 3, 32, 32)), image).backward()
    assert disc.from_rgb[0].weight.grad.abs().max() > 0


def test_patches_judge_their_surroundings():
    torch.manual_seed(0)
    disc = Discriminator(tiny(disc_patch_px=8, disc_detail_gain=8.0), 64)
    image, render = torch.randn(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    changed = image.clone()
    changed[..., :8, :8] += torch.randn(3, 8, 8)
    with torch.no_grad():
        difference = (disc(changed, render) - disc(image, render)).abs()[0, 0]
    assert difference.shape == (8, 8)
    assert difference[0, 0] > 10 * difference[-1, -1]
