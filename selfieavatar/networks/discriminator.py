"""Define the discriminator: is this image, beside its 3DMM rendering, a real frame?

One network on cat[image, I_R] in Haar space, after StyleAvatar's: a 1x1 FromRGB at every level added to the features,
ConvBlocks with blurred halving, the minibatch deviation of Karras et al. 2018 at 4 px, then two linear layers to one
logit. Activations carry the sqrt(2) gain of StyleGAN2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.networks.blocks import Conv, ConvBlock, haar_down
from selfieavatar.networks.haar import haar
from selfieavatar.networks.sizes import width_at
from selfieavatar.settings.train_section import Networks


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Append the mean deviation over groups of the batch as one channel: (B,C,h,w) -> (B,C+1,h,w).

    The group shrinks to the largest size that divides the batch.
    """
    batch, channels, height, width = x.shape
    group = max(size for size in range(1, min(group, batch) + 1) if batch % size == 0)
    y = x.float().view(group, -1, channels, height, width)
    y = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)  # (B/group,1,1,1)
    return torch.cat([x, y.repeat(group, 1, height, width).to(x.dtype)], 1)


class Discriminator(nn.Module):
    """Patch discriminator: (B,3,S,S) image in [-1,1] with rendering in [0,1] -> logits, larger = more real.

    The published form judges the whole image: (B,1). With `disc_patch_px` it stops there and judges each place
    by its surroundings, (B,1,p,p): a few thousand images, all that a CPU sees in its minutes, teach that, but not the
    whole. `disc_detail_gain` scales the difference bands of the Haar transform, in which real and painted images
    differ, but which are small beside the mean band.
    """

    def __init__(self, settings: Networks, size_px: int) -> None:
        super().__init__()
        base, limit = settings.net_disc_channel_base, settings.net_disc_channel_max
        equalized, self.gain, self.patch = (
            settings.net_equalized,
            settings.net_disc_detail_gain,
            settings.net_disc_patch_px > 0,
        )
        px, width = size_px // 2, width_at(size_px, base, limit)
        self.from_rgb, self.blocks = nn.ModuleList(), nn.ModuleList()
        while px > max(4, settings.net_disc_patch_px):
            out = width_at(px // 2, base, limit)
            self.from_rgb.append(Conv(24, width, kernel=1, equalized=equalized))
            self.blocks.append(ConvBlock(width, out, blur=True, equalized=equalized))
            px, width = px // 2, out
        self.final = Conv(width + 1, width, equalized=equalized)
        self.logit: nn.Module
        if self.patch:
            self.logit = Conv(width, 1, kernel=1, active=False, equalized=equalized)
        else:
            self.linear, self.logit = nn.Linear(width * px * px, width), nn.Linear(width, 1)

    def forward(self, image: Tensor, render: Tensor) -> Tensor:
        """Compute the logits."""
        bands = haar(torch.cat([image, 2 * render - 1], 1))
        gains = bands.new_tensor(6 * [1.0] + 18 * [self.gain]).view(1, -1, 1, 1)
        x: Tensor | None = None
        for from_rgb, block in zip(self.from_rgb, self.blocks, strict=True):
            entry = from_rgb(bands * gains)
            x = block(entry if x is None else x + entry)
            bands = haar_down(bands)
        assert x is not None  # there is one block at least
        x = self.final(minibatch_deviation(x))
        if self.patch:
            return self.logit(x)
        return self.logit(F.leaky_relu(self.linear(x.flatten(1)), 0.2) * math.sqrt(2))
