"""L1 on picture gradients at several scales: not in the paper, off in `paper-1024`; sharpens where minutes are few."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def gradient_loss(image: Tensor, target: Tensor, validity: Tensor | None = None, scales: int = 2) -> Tensor:
    """Mean absolute difference of horizontal and vertical steps between (B,3,H,W) pictures in [0,1], summed over
    scales.

    validity: (B,1,H,W); a step counts where both of its pixels are known. Scale k compares pictures averaged over
    2^k x 2^k pixels.
    """
    error = image - target  # steps are linear: those of the difference are the difference of the steps
    known = validity
    total = error.new_zeros(())
    for scale in range(scales):
        if scale:
            error = F.avg_pool2d(error, 2)
            known = None if known is None else -F.max_pool2d(-known, 2)
        across, down = (error[..., 1:] - error[..., :-1]).abs(), (error[..., 1:, :] - error[..., :-1, :]).abs()
        if known is not None:
            across, down = across * known[..., 1:] * known[..., :-1], down * known[..., 1:, :] * known[..., :-1, :]
        total = total + across.mean() + down.mean()
    return total
