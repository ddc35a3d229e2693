"""Compute the L1 loss over the whole image, the third term of eq. 4 and 7."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def l1_loss(
    image: Tensor, target: Tensor, validity: Tensor | None = None, shared: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Average the absolute difference of two images over the valid pixels; a scalar.

    image, target: (B,3,H,W) in [0,1]. validity: (B,1,H,W), 1 where the target is known.

    shared: the mean over several processes. Their known pixels are counted together, so that the mean of their losses
    is the loss of all their images.
    """
    error = (image - target).abs()
    if validity is None:
        return error.mean()
    known = validity.sum() if shared is None else shared(validity.sum())
    return (error * validity).sum() / (known * error.shape[1]).clamp_min(1.0)
