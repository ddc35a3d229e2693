"""Adversarial terms of eq. 7: non-saturating logistic losses (Goodfellow et al. 2014) and the R1 penalty (Mescheder et
al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(logits_fake: Tensor) -> Tensor:
    """L_g = mean softplus(-D(fake)); logits of any shape, larger = more real. Scalar."""
    return F.softplus(-logits_fake.float()).mean()


def discriminator_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """L_d = mean softplus(-D(real)) + mean softplus(D(fake)). Scalar; 2 ln 2 where the discriminator knows nothing."""
    return F.softplus(-logits_real.float()).mean() + F.softplus(logits_fake.float()).mean()


def r1_penalty(logits_real: Tensor, real_images: Tensor) -> Tensor:
    """Mean over the batch of |d D(x) / d x|^2 on real images, without its factor (gamma / 2, times the interval where
    it is lazy).

    logits_real: (B,...) computed from real_images (B,C,H,W), which must require gradients. Differentiable. Scalar.
    """
    (gradient,) = torch.autograd.grad(logits_real.sum(), real_images, create_graph=True)
    return gradient.float().square().flatten(1).sum(dim=1).mean()
