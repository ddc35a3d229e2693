"""Define G_fa and G_b (eq. 1 and 2): a constant and a latent -> one learned feature map with its Haar-space RGB skip.

Both are unconditional, so within one subject each gives a single map. It is learned through the generator for the first
part of the training (`network.maps_until` images), then cached; what runs at test time is the cached map. At small
scale a free residual is added to the generator's output (`MapBank`), because a map that is a free parameter learns
several times faster per minute on a CPU than one that is reached only through a generator; the paper's form is
`free_maps: false`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from selfieavatar.networks.blocks import Mapping, StyledConv, ToRGB
from selfieavatar.networks.haar import haar
from selfieavatar.networks.sizes import width_at
from selfieavatar.settings.train_section import Networks


class FeatureGenerator(nn.Module):
    """StyleGAN-like generator of one map: const 4x4 -> (StyledConv up, StyledConv, ToRGB) per octave.

    Features leave with zero mean and unit deviation per channel: with a batch of one constant map that is what the
    published batch norm does, and it stays the same when the map is cached.
    """

    def __init__(
        self,
        map_px: int,
        channels: int,
        *,
        base: int,
        limit: int,
        latent: int,
        mapping_layers: int,
        noise: bool,
        equalized: bool,
    ) -> None:
        super().__init__()
        start = width_at(4, base, limit)
        self.constant = nn.Parameter(torch.randn(1, start, 4, 4))
        self.mapping = Mapping(latent, mapping_layers)
        self.register_buffer("latent", torch.randn(1, latent))
        self.ups, self.convs, self.to_rgb = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.noises: list[str] = []
        width = start
        for octave in range(3, int(math.log2(map_px)) + 1):
            px = 2**octave
            out = channels if px == map_px else width_at(px, base, limit)
            self.ups.append(StyledConv(width, out, latent, up=True, equalized=equalized))
            self.convs.append(StyledConv(out, out, latent, equalized=equalized))
            self.to_rgb.append(ToRGB(out, latent, equalized=equalized))
            if noise:  # epsilon_f and epsilon_b: drawn once, since the map is one constant
                self.register_buffer(f"noise_{px}", torch.randn(2, 1, px, px))
                self.noises.append(f"noise_{px}")
            width = out

    def forward(self) -> tuple[Tensor, Tensor]:
        """Generate feature (1, C, map_px, map_px), of unit variance, and Haar skip (1, 12, map_px, map_px)."""
        style = self.mapping(self.latent)
        x: Tensor = self.constant
        image: Tensor | None = None
        for k, (up, conv, rgb) in enumerate(zip(self.ups, self.convs, self.to_rgb, strict=True)):
            noise = getattr(self, self.noises[k])[:, None] if self.noises else (None, None)
            x = conv(up(x, style, noise[0]), style, noise[1])
            image = rgb(x, style, image)
        assert image is not None  # there is one octave at least
        return _normalise(x.float()), haar(image.float())


def _normalise(feature: Tensor) -> Tensor:
    """Give each channel zero mean and unit deviation, as `instance_norm` does.

    Its gradient on a CPU is wrong (torch 2.15) where what it gets lies channels last and its input does not.
    """
    centred = feature - feature.mean((2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean((2, 3), keepdim=True) + 1e-5)


class MapBank(nn.Module):
    """Maps of one region: the generator while it is trained, the cached copy afterwards.

    A free residual is added where asked for.
    """

    feature: Tensor
    skip: Tensor

    def __init__(self, map_px: int, channels: int, settings: Networks) -> None:
        super().__init__()
        self.generator: FeatureGenerator | None = FeatureGenerator(
            map_px,
            channels,
            base=settings.net_map_channel_base,
            limit=settings.net_map_channel_max,
            latent=settings.net_latent,
            mapping_layers=settings.net_mapping_layers,
            noise=settings.net_map_noise,
            equalized=settings.net_equalized,
        )
        self.register_buffer("feature", torch.zeros(1, channels, map_px, map_px))
        self.register_buffer("skip", torch.zeros(1, 12, map_px, map_px))
        self.free = settings.net_free_maps
        if self.free:
            self.feature_free = nn.Parameter(torch.zeros(1, channels, map_px, map_px))
            self.skip_free = nn.Parameter(torch.zeros(1, 12, map_px, map_px))

    def forward(self) -> dict[str, Tensor]:
        """Return {"feature": (1,C,M,M), "skip": (1,12,M,M), in Haar space}."""
        feature, skip = (self.feature, self.skip) if self.generator is None else self.generator()
        if self.free:
            feature, skip = feature + self.feature_free, skip + self.skip_free
        return {"feature": feature, "skip": skip}

    @torch.no_grad()
    def freeze(self) -> None:
        """Cache the generator's output and drop the generator; a free residual stays trainable."""
        if self.generator is not None:
            feature, skip = self.generator()
            self.feature.copy_(feature)
            self.skip.copy_(skip)
            self.generator = None

    @torch.no_grad()
    def cached(self) -> dict[str, Tensor]:
        """Copy the maps as they are now: {"feature", "skip"}, detached, on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self().items()}


class NoMap(nn.Module):
    """In place of a `MapBank`, for a generator that takes no maps."""

    generator = None

    def forward(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    cached = forward

    def freeze(self) -> None:
        """Do nothing: there is nothing to cache."""
