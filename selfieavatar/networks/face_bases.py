"""Let the maps of the face follow the expression: map = base + sum over k of w_k basis_k (not in the paper).

One static map has to show open and closed lids, lips and teeth alike, and the decoder has to guess them from a blur. K
bases are learned beside it, and a code w (B,K) of each frame, read from the encoder of the rendering, weighs them.

To be cheap, the bases are combined for the face alone and at few channels: colours have three, and features, of low
rank, are mixed to their full number only where they have been sampled. One matrix product combines them, which takes
half the time of sampling each basis for itself: a frame sees fewer points than K bases have, but scattering the
gradient of a sample costs far more than multiplying.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.networks.blocks import LEAK
from selfieavatar.networks.sizes import bases_px, fused_channels
from selfieavatar.settings.train_section import Networks

HIDDEN = 32  # width of the network from the encoder's features to the code
START = 0.02  # deviation of a fresh basis
START_CODE = 0.1  # deviation of the code's last weights: with zeros, neither bases nor code would get a gradient


class Bases(NamedTuple):
    """Bases of the face's maps; those of one basis lie below each other, channel by channel.

    So they have three dimensions: what has four is laid out channels last, and could not be combined as it lies.
    """

    feature: Tensor  # (K, C' N, N), C' channels of N px
    colour: Tensor  # (K, 3 * 2M, 2M) RGB; (K, 12 M, M) in Haar space where the network looks colours up so
    mix: Tensor  # (C, C') from the channels of the bases to those of the face's features
    low: Tensor | None = None  # (K,) least and largest code that training saw; None does not limit it
    high: Tensor | None = None


def has_bases(settings: Networks) -> bool:
    """Say whether the networks take bases of the face's maps; the baseline has no maps at all."""
    return settings.net_face_bases > 0 and settings.net_generator == "style"


def bases_shapes(settings: Networks) -> dict[str, tuple[int, ...]]:
    """List the shapes of the fields of `Bases`."""
    count, channels, side, map_px = (
        settings.net_face_bases, settings.net_bases_channels, bases_px(settings), settings.net_map_px
    )  # fmt: skip
    # as `AvatarGenerator.atlas` lays colours out
    colour = (12 * map_px, map_px) if settings.net_warp_scale == 1 else (3 * 2 * map_px, 2 * map_px)
    face = fused_channels(settings) // settings.net_warp_scale**2
    return {
        "feature": (count, channels * side, side),
        "colour": (count, *colour),
        "mix": (face, channels),
        "low": (count,),
        "high": (count,),
    }


class FaceBases(nn.Module):
    """The bases while they are learned: free parameters, which no generator gives and nothing freezes."""

    def __init__(self, settings: Networks) -> None:
        super().__init__()
        shapes = bases_shapes(settings)
        self.feature_bases = nn.Parameter(START * torch.randn(shapes["feature"]))
        self.colour_bases = nn.Parameter(START * torch.randn(shapes["colour"]))
        self.mix = nn.Parameter(torch.randn(shapes["mix"]) / settings.net_bases_channels**0.5)

    def forward(self) -> Bases:
        """Return the bases, with a code that is not limited."""
        return Bases(self.feature_bases, self.colour_bases, self.mix)

    @torch.no_grad()
    def cached(self) -> dict[str, Tensor]:
        """Copy the bases to the CPU, by the names of `Bases`; the code's range is all that there can be."""
        ends = torch.ones(len(self.feature_bases))
        copies = {name: value.detach().cpu().clone() for name, value in self()._asdict().items() if value is not None}
        return copies | {"low": -ends, "high": ends}


class ExpressionCode(nn.Module):
    """From the bottom features of the rendering's encoder to the weights of the bases."""

    def __init__(self, cin: int, count: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(cin, HIDDEN), nn.Linear(HIDDEN, count)
        nn.init.normal_(self.last.weight, std=START_CODE)
        nn.init.zeros_(self.last.bias)

    def forward(self, bottom: Tensor) -> Tensor:
        """Compute the code (B,K) in (-1,1) of features (B,C,h,w), in float32 whatever their precision."""
        with _full_precision(self.first.weight):
            return torch.tanh(self.last(F.leaky_relu(self.first(bottom.float().mean((2, 3))), LEAK)))


def bases_of(parts: Mapping[str, Tensor], device: torch.device) -> Bases:
    """Take bases from a table of tensors, such as `FaceBases.cached` gives."""
    return Bases(**{name: parts[name].to(device) for name in Bases._fields})


def sample_bases(bases: Bases, code: Tensor, grid: Tensor, weight: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """Sample what the bases add to the maps of the face, each frame by its code.

    Args:
        code: (B,K). grid: (B,h,w,2) in [-1,1] on the face's maps, of which weight (B,1,h,w) is taken.
        mode: "bilinear" or "nearest".

    Returns:
        features (B,C,h,w) and colours (B,3,h,w), or (B,12,h,w) in Haar space.
    """
    if bases.low is not None and bases.high is not None:
        code = torch.minimum(torch.maximum(code, bases.low), bases.high)
    feature, colour = (_sample(_combine(maps, code), grid, mode) * weight for maps in (bases.feature, bases.colour))
    return F.conv2d(feature, bases.mix[:, :, None, None]), colour


def _combine(bases: Tensor, code: Tensor) -> Tensor:
    """Weigh bases (K, c N, N) by the code (B,K), and sum them: (B,c,N,N)."""
    with _full_precision(bases):
        return (code.float() @ bases.flatten(1)).view(code.shape[0], -1, bases.shape[2], bases.shape[2])


def _sample(maps: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=False)


def _full_precision(values: Tensor) -> torch.autocast:
    """Keep products in float32 while the networks around train in bfloat16: these are small, and their sums fine."""
    return torch.autocast("cuda" if values.is_cuda else "cpu", enabled=False)
