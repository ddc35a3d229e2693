"""All generators of one avatar together: G_fa, G_b and G_style, and how a batch goes through them (paper eq. 1 to
3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from stages.nets.avatar_generator import AvatarGenerator, map_channels
from stages.nets.feature_generator import MapBank

PREFIX = "net_"


def network_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The keys net_* of the train section, without their prefix."""
    return {key[len(PREFIX) :]: value for key, value in settings.items() if key.startswith(PREFIX)}


def check_sizes(network: Mapping[str, Any], size_px: int) -> str | None:
    """What is wrong with the sizes of the networks for pictures of size_px, in words for the user; None where all
    fit."""
    powers = {name: network[name] for name in ("feature_px", "map_px", "render_px", "render_bottom_px", "bottom_px")}
    odd = [
        f"net_{name} {value}"
        for name, value in (powers | {"size": size_px}).items()
        if value & (value - 1) or value < 4
    ]
    if odd:
        return f"sizes must be powers of two of at least 4, but {', '.join(odd)} is not"
    if not network["bottom_px"] < network["feature_px"] <= size_px // 2:
        return f"net_feature_px must lie above net_bottom_px and at most at half of {size_px} px"
    if network["feature_px"] * network["warp_scale"] > size_px or network["render_px"] > size_px:
        return f"net_feature_px * net_warp_scale and net_render_px must not exceed the size {size_px} px"
    if (
        not network["render_bottom_px"] < network["render_px"] // 2
        or network["render_bottom_px"] >= network["feature_px"]
    ):
        return "net_render_bottom_px must lie below net_render_px / 2 and below net_feature_px"
    return None


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
