"""The discriminator: is this picture, beside its 3DMM rendering, a real frame?

One network on cat[picture, I_R] in Haar space, after StyleAvatar's: a 1x1 FromRGB at every level added to the features,
ConvBlocks with blurred halving, the minibatch deviation of Karras et al. 2018 at 4 px, then two linear layers to one
logit. Activations carry the sqrt(2) gain of StyleGAN2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.graphics.haar import haar
from stages.nets.blocks import Conv, ConvBlock, haar_down, width_at


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Appends the mean deviation over groups of the batch as one channel: (B,C,h,w) -> (B,C+1,h,w).

    The group shrinks to the largest size that divides the batch.
    """
    batch, channels, height, width = x.shape
    group = max(size for size in range(1, min(group, batch) + 1) if batch % size == 0)
    y = x.float().view(group, -1, channels, height, width)
    y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)  # (B/group,1,1,1)
    return torch.cat([x, y.repeat(group, 1, height, width).to(x.dtype)], 1)


class Discriminator(nn.Module):
    """(B,3,S,S) picture in [-1,1] with (B,3,S,S) rendering in [0,1] -> logits (B,1), larger = more real."""

    def __init__(self, network: dict, size_px: int) -> None:
        super().__init__()
        base, limit = network["disc_channel_base"], network["disc_channel_max"]
        equalized = network["equalized"]
        px, width = size_px // 2, width_at(size_px, base, limit)
        self.from_rgb, self.blocks = nn.ModuleList(), nn.ModuleList()
        while px > 4:
            out = width_at(px // 2, base, limit)
            self.from_rgb.append(Conv(24, width, kernel=1, equalized=equalized))
            self.blocks.append(ConvBlock(width, out, blur=True, equalized=equalized))
            px, width = px // 2, out
        last = width_at(4, base, limit)
        self.final = Conv(width + 1, last, equalized=equalized)
        self.linear = nn.Linear(last * 16, last)
        self.logit = nn.Linear(last, 1)

    def forward(self, picture: Tensor, render: Tensor) -> Tensor:
        rgb = haar(torch.cat([picture, 2 * render - 1], 1))
        x: Tensor | None = None
        for from_rgb, block in zip(self.from_rgb, self.blocks, strict=True):
            entry = from_rgb(rgb)
            x = block(entry if x is None else x + entry)
            rgb = haar_down(rgb)
        x = self.final(minibatch_deviation(x)).flatten(1)
        x = F.leaky_relu(self.linear(x), 0.2) * math.sqrt(2)
        return self.logit(x)
