"""All generators of one avatar together: G_fa, G_b and G_style, and how a batch goes through them (paper eq. 1 to
3)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from stages.nets.avatar_generator import AvatarGenerator, map_channels
from stages.nets.feature_generator import MapBank


class AvatarNetworks(nn.Module):
    """G_fa (`face`), G_b (`back`) and G_style (`style`)."""

    def __init__(self, network: dict[str, Any], size_px: int) -> None:
        super().__init__()
        channels = map_channels(network)
        self.face = MapBank(network["map_px"], channels["face"], network)
        self.back = MapBank(network["feature_px"], channels["back"], network)
        self.style = AvatarGenerator(network, size_px)

    def forward(
        self, render: Tensor, uv: Tensor, time: Tensor | None = None, shift_px: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `AvatarGenerator.forward`: picture (B,3,S,S) in about [-1,1] and background mask (B,1,f,f) in [-1,1]."""
        face, back = (dict(zip(("feature", "skip"), bank(), strict=True)) for bank in (self.face, self.back))
        return self.style(face, back, render, uv, time, shift_px)

    def freeze_maps(self) -> None:
        """Caches what G_fa and G_b give; from here on only their free residuals (if any) are trained."""
        self.face.freeze()
        self.back.freeze()

    @property
    def maps_frozen(self) -> bool:
        """G_fa and G_b are cached."""
        return self.face.generator is None
