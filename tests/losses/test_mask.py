"""Polarity and reduction of the mask loss (eq. 5)."""

import pytest
import torch

from selfieavatar.losses.mask import foreground_target, mask_loss


def person():
    alpha = torch.zeros(2, 1, 32, 32)
    alpha[:, :, 8:24, 12:28] = 1.0
    return alpha


@pytest.mark.parametrize("kind", ["binary", "soft"])
def test_perfect_foreground_is_zero_and_its_inverse_one(kind):
    alpha = person()  # 1 on the person
    foreground = alpha[:, :, ::2, ::2]
    assert mask_loss(foreground, alpha, kind).item() == 0.0
    assert mask_loss(1.0 - foreground, alpha, kind).item() == 1.0


def test_target_is_one_minus_the_background():
    background = torch.tensor([0.0, 0.3, 0.7, 1.0])
    torch.testing.assert_close(foreground_target(1 - background, "soft"), torch.tensor([1.0, 0.7, 0.3, 0.0]))
    torch.testing.assert_close(foreground_target(1 - background, "binary"), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="binary"):
        foreground_target(background, "hard")


def test_soft_edge_counts_only_for_the_soft_target():
    alpha = torch.full((1, 1, 8, 8), 0.75)
    foreground = torch.full((1, 1, 8, 8), 0.75)
    assert mask_loss(foreground, alpha, "soft").item() == pytest.approx(0.0)
    assert mask_loss(foreground, alpha, "binary").item() == pytest.approx(0.25)


def test_unknown_border_does_not_count():
    alpha = person()
    foreground = alpha.clone()
    foreground[..., :4] = 1.0  # wrong, but only where nothing is known
    validity = torch.ones_like(alpha)
    validity[..., :4] = 0.0
    assert mask_loss(foreground, alpha, "binary", validity).item() == 0.0
    assert mask_loss(foreground, alpha, "binary").item() == pytest.approx(4 / 32)


def test_processes_that_share_a_batch_count_its_known_pixels_together():
    alpha, foreground = person(), torch.rand(2, 1, 16, 16)
    validity = torch.ones_like(alpha)
    validity[0, ..., 8:] = 0

    def shared(_known):
        return validity.sum() / 8  # at a quarter of the pixels, of one of two processes

    each = [mask_loss(foreground[k : k + 1], alpha[k : k + 1], "soft", validity[k : k + 1], shared) for k in range(2)]
    assert (sum(each) / 2).item() == pytest.approx(mask_loss(foreground, alpha, "soft", validity).item())
