"""Compute the adversarial terms of eq. 7.

Non-saturating logistic losses (Goodfellow et al. 2014) and the R1 penalty (Mescheder et al. 2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(logits_fake: Tensor) -> Tensor:
    """Compute L_g = mean softplus(-D(fake)); logits of any shape, larger = more real. Scalar."""
    return F.softplus(-logits_fake.float()).mean()


def discriminator_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """Compute L_d = mean softplus(-D(real)) + mean softplus(D(fake)). Scalar; 2 ln 2 for a blind discriminator."""
    return F.softplus(-logits_real.float()).mean() + F.softplus(logits_fake.float()).mean()


def r1_penalty(logits_real: Tensor, real_images: Tensor) -> Tensor:
    """Average |d D(x) / d x|^2 over a batch of real images.

    Its factor (gamma / 2, times the interval where it is lazy) is left out.

    logits_real: (B,...) computed from real_images (B,C,H,W), which must require gradients. Differentiable. Scalar.
    """
    (gradient,) = torch.autograd.grad(logits_real.sum(), real_images, create_graph=True)
    return gradient.float().square().flatten(1).sum(dim=1).mean()
