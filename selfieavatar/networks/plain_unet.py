"""Define a plain U-Net from I_R and I_UV to image and mask: the baseline that an avatar of learned maps must beat.

Encoder and decoder with a skip connection at every level (Ronneberger et al. 2015), two convolutions a level, widths
from the same settings as G_style's, which gives 0.6 to 0.9 times its parameters. It sees what G_style's encoder sees,
but has nothing to look up: no maps of G_fa and G_b, no style.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.networks.blocks import Conv, fold
from selfieavatar.networks.driving_inputs import driving_inputs, input_channels
from selfieavatar.networks.resample import upsample2
from selfieavatar.networks.sizes import width_at
from selfieavatar.settings.train_section import Networks


def _pair(cin: int, cout: int, equalized: bool) -> nn.Sequential:
    return nn.Sequential(Conv(cin, cout, equalized=equalized), Conv(cout, cout, equalized=equalized))


class PlainUNet(nn.Module):
    """U-Net with the interface of `AvatarGenerator`, so that training, the runtime and the measuring take either."""

    def __init__(self, settings: Networks, size_px: int) -> None:
        super().__init__()
        self.settings, self.size_px = settings, size_px
        equalized, px = settings.net_equalized, size_px
        widths = []
        while px >= settings.net_bottom_px:
            widths.append(width_at(px, settings.net_channel_base, settings.net_channel_max))
            px //= 2
        self.shrinks = nn.ModuleList(
            _pair(cin, cout, equalized)
            for cin, cout in zip([input_channels(settings.net_render_inputs), *widths], widths, strict=False)
        )
        self.grows = nn.ModuleList(
            _pair(below + here, here, equalized) for here, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.out = Conv(widths[0], 4, kernel=1, active=False, equalized=equalized)

    def forward(
        self,
        atlas: None,
        back: dict[str, Tensor],
        render: Tensor,
        uv: Tensor,
        time: Tensor | None = None,
        shift_px: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Paint as `AvatarGenerator.forward`, of which only render and uv (B,3,S,S) in [0,1] are looked at.

        Returns:
            image (B,3,S,S) in about [-1,1], and the background mask (B,1,S,S) in [-1,1], 1 on background.
        """
        del atlas, back, time, shift_px
        x = driving_inputs(self.settings.net_render_inputs, render, uv, self.size_px)
        kept: list[Tensor] = []
        for shrink in self.shrinks:
            x = shrink(F.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        kept.pop()
        for grow in self.grows:
            x = grow(torch.cat([upsample2(x), kept.pop()], 1))
        x = self.out(x).float()
        return x[:, :3], torch.tanh(x[:, 3:])

    def atlas(self, face: dict[str, Tensor], off_face: object = None, bases: object = None) -> None:
        """Return None: there are no maps to look up."""
        del face, off_face, bases

    def fold(self, dtype: torch.dtype = torch.float32) -> None:
        """Fix the network for test time (see `blocks.fold`)."""
        fold(self, None, dtype)
