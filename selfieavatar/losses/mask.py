"""Compute the foreground mask loss, eq. 5 of the paper: L_mask = MAE(I_FM, 1 - I_back)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Size, Tensor


def foreground_target(alpha: Tensor, kind: str) -> Tensor:
    """Turn a matte, 1 on the person, into the target 1 - I_back of eq. 5 and 6, in [0,1].

    kind: "soft" keeps it, "binary" cuts it at one half (as StyleAvatar).
    """
    if kind == "soft":
        return alpha
    if kind == "binary":
        return (alpha > 0.5).to(alpha.dtype)
    raise ValueError(f"mask target must be 'binary' or 'soft', not {kind!r}")


def cell_target(alpha: Tensor, size: tuple[int, ...] | Size, kind: str) -> Tensor:
    """Turn a matte (B,1,H,W) into the target of a mask of (h,w): (B,1,h,w).

    It is averaged first, since a binary choice per cell should follow its majority.
    """
    return foreground_target(F.interpolate(alpha, size=tuple(size), mode="area"), kind)


def mask_loss(
    mask_fg: Tensor,
    alpha: Tensor,
    kind: str = "binary",
    validity: Tensor | None = None,
    shared: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Average the absolute error between the predicted foreground and the matte.

    mask_fg: (B,1,h,w) I_FM in [0,1], 1 on the person. alpha: (B,1,H,W) matte, 1 on the person; I_back = 1 - alpha.
    validity: (B,1,H,W), 0 where the image holds nothing known (shifted-in border), or None. shared: as of `l1_loss`.
    Returns a scalar; 0 for a perfect mask, 1 for its inverse.
    """
    size = mask_fg.shape[-2:]
    error = (mask_fg - cell_target(alpha, size, kind)).abs()
    if validity is None:
        return error.mean()
    weight = F.interpolate(validity, size=size, mode="area")
    known = weight.sum() if shared is None else shared(weight.sum())
    return (error * weight).sum() / known.clamp_min(1.0)
