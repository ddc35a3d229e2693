"""Stack what a network sees of the driver: I_R, I_UV and the pixels' coordinates, as the settings choose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfieavatar.networks.resample import downsample2

_CHANNELS = {"render": 3, "uv": 3, "coordinates": 2}


def input_channels(names: Sequence[str]) -> int:
    """Count the channels of `driving_inputs`."""
    return sum(_CHANNELS[name] for name in names)


def driving_inputs(names: Sequence[str], render: Tensor, uv: Tensor, side_px: int) -> Tensor:
    """Stack inputs in [-1,1], halved until they are at most side_px wide: (B,C,h,h).

    names: of "render", "uv", "coordinates". render, uv: (B,3,S,S) in [0,1].
    """
    images = [2 * image - 1 for name, image in (("render", render), ("uv", uv)) if name in names]
    x = torch.cat(images, 1) if images else render[:, :0]
    while x.shape[-1] > side_px:
        x = downsample2(x)
    if "coordinates" in names:
        axis = torch.linspace(-1, 1, x.shape[-1], device=x.device, dtype=x.dtype)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))
        x = torch.cat([x, grid[None].expand(x.shape[0], -1, -1, -1)], 1)
    return x
