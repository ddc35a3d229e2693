"""Join the generator with its constant maps to what runs for each frame: driving images in, image and alpha out."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.networks.avatar_generator import AvatarGenerator, Maps
from selfieavatar.networks.plain_unet import PlainUNet


class Painting(nn.Module):
    """A folded generator and the maps that it looks up, of which none changes from frame to frame.

    This is what `Avatar.paint` runs and what an export holds.
    """

    def __init__(self, network: AvatarGenerator | PlainUNet, atlas: Any, back: Maps, size_px: int) -> None:
        super().__init__()
        self.network, self.atlas, self.back, self.size_px = network, atlas, back, size_px

    def forward(self, render: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
        """Paint render, uv (B,3,S,S) in [0,1] -> image (B,3,S,S), alpha (B,1,S,S), float32 in [0,1]."""
        image, background = self.network(self.atlas, self.back, render, uv)
        alpha = F.interpolate((1 - background.float()) / 2, size=self.size_px, mode="bilinear", align_corners=False)
        return (image.float() / 2 + 0.5).clamp(0, 1), alpha.clamp(0, 1)
