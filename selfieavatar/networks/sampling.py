"""Look maps up at a grid of places, bilinearly or at the nearest texel.

Training on a CPU spends its time on what happens around the convolutions. There the maps are looked up by loops of our
own: texels lie channels last, as convolutions take them, and the gradient is added up texel by texel, in a quarter of
the time of `grid_sample`, whose result would have to be transposed. Elsewhere `grid_sample` does the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.io.compiled import njit
from selfieavatar.networks.haar import haar, inverse_haar


def sample(texture: Tensor, grid: Tensor, mode: str, weight: Tensor | None = None) -> Tensor:
    """Sample one map (1,C,M,N) at grid (B,h,w,2) in [-1,1], times weight (B,1,h,w): (B,C,h,w).

    Only the map gets a gradient. The border is continued. mode: "bilinear" or "nearest".
    """
    if texture.requires_grad and texture.device.type == "cpu" and texture.dtype == torch.float32 and mode == "bilinear":
        share = torch.ones_like(grid[..., 0]) if weight is None else weight.detach()[:, 0]
        return _Bilinear.apply(texture, grid.detach().float(), share.float())
    batch, height, width, _ = grid.shape
    # the batch is laid out in one tall grid: no copy of the map per frame
    grid = grid.reshape(1, batch * height, width, 2)
    out = F.grid_sample(texture, grid, mode=mode, padding_mode="border", align_corners=False)
    out = out.view(texture.shape[1], batch, height, width).transpose(0, 1)
    return out if weight is None else out * weight


def sample_window(
    feature: Tensor, skip: Tensor, shift_px: Tensor | None, size_px: int, batch: int
) -> tuple[Tensor, Tensor]:
    """Cut background maps (1,C,f,f), (1,12,f,f) by the sliding window of an image of size_px: (B,C,f,f), (B,12,f,f)."""
    feature_px = feature.shape[-1]
    if shift_px is None:
        return feature.expand(batch, -1, -1, -1), skip.expand(batch, -1, -1, -1)
    theta = torch.zeros(batch, 2, 3, device=feature.device, dtype=feature.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = -2 * shift_px.to(feature.dtype) / size_px
    grid, fine = (
        F.affine_grid(theta, [batch, 1, side, side], align_corners=False) for side in (feature_px, 2 * feature_px)
    )
    # the skip moves as RGB: wavelet coefficients do not stand a shift
    return sample(feature, grid, "bilinear"), haar(sample(inverse_haar(skip), fine, "bilinear"))


class _Bilinear(torch.autograd.Function):
    """Bilinear lookup on the CPU, channels last; only the map gets a gradient."""

    @staticmethod
    def forward(ctx: Any, texture: Tensor, grid: Tensor, weight: Tensor) -> Tensor:
        """Look texture (1,C,M,N) up at grid (B,h,w,2), times weight (B,h,w): (B,C,h,w), channels last."""
        _, channels, rows, columns = texture.shape
        texels = texture.permute(0, 2, 3, 1).contiguous()[0].numpy()
        places, shares = grid.reshape(-1, 2).contiguous().numpy(), weight.reshape(-1).contiguous().numpy()
        ctx.places, ctx.shares, ctx.shape = places, shares, (rows, columns, channels)
        out = np.empty((len(places), channels), np.float32)
        _gather(texels, places, shares, out)
        return torch.from_numpy(out).view(*grid.shape[:3], channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Add the gradient (B,C,h,w) up in the texels that were looked up."""
        given = gradients[0].permute(0, 2, 3, 1).float().contiguous().numpy()
        texels = np.zeros(ctx.shape, np.float32)
        _scatter(given.reshape(-1, ctx.shape[2]), ctx.places, ctx.shares, texels)
        return torch.from_numpy(texels).permute(2, 0, 1)[None], None, None


@njit(inline="always")
def _taps(x, y, rows, columns):
    """Find the texel above left of a place in [-1,1], and how far it lies towards the next: (column, row, fx, fy)."""
    across = min(max(((x + 1) * columns - 1) / 2, np.float32(0)), np.float32(columns - 1))
    down = min(max(((y + 1) * rows - 1) / 2, np.float32(0)), np.float32(rows - 1))
    column, row = min(int(across), max(columns - 2, 0)), min(int(down), max(rows - 2, 0))
    return column, row, np.float32(across - column), np.float32(down - row)


@njit()
def _gather(texels, places, shares, out):
    """Mix four texels of (M,N,C) for each of P places (P,2), times shares (P,), into out (P,C)."""
    rows, columns, channels = texels.shape
    for n in range(places.shape[0]):
        column, row, fx, fy = _taps(places[n, 0], places[n, 1], rows, columns)
        right, below = min(column + 1, columns - 1), min(row + 1, rows - 1)
        one, share = np.float32(1), shares[n]
        a, b = share * (one - fx) * (one - fy), share * fx * (one - fy)
        c, d = share * (one - fx) * fy, share * fx * fy
        for k in range(channels):
            out[n, k] = (
                a * texels[row, column, k] + b * texels[row, right, k]
                + c * texels[below, column, k] + d * texels[below, right, k]
            )  # fmt: skip


@njit()
def _scatter(given, places, shares, texels):
    """Add given (P,C) to the four texels of (M,N,C) that each place was mixed of."""
    rows, columns, channels = texels.shape
    for n in range(places.shape[0]):
        share = shares[n]
        if share == 0:
            continue
        column, row, fx, fy = _taps(places[n, 0], places[n, 1], rows, columns)
        right, below = min(column + 1, columns - 1), min(row + 1, rows - 1)
        one = np.float32(1)
        a, b = share * (one - fx) * (one - fy), share * fx * (one - fy)
        c, d = share * (one - fx) * fy, share * fx * fy
        for k in range(channels):
            value = given[n, k]
            texels[row, column, k] += a * value
            texels[row, right, k] += b * value
            texels[below, column, k] += c * value
            texels[below, right, k] += d * value
