"""Compute the implicit diversified Markov random field loss, eq. 6.

Wang et al., Image Inpainting via Generative Multi-column CNNs, 2018.

For one layer, with features g_j of the generated image and t_i of the target (one vector per position):

    d_ij  = (1 - cos(g_j - m, t_i - m)) / 2            m: mean of the target features, per channel
    d~_ij = d_ij / (min_k d_kj + eps)                  relative to the best match of j among the targets
    w_ij  = exp((1 - d~_ij) / h)
    CS_ij = w_ij / sum_k w_kj                          normalised over the targets
    L     = -log( mean_i max_j CS_ij )                 every target patch wants some generated patch of its own

Total: style (relu3_2 + relu4_2) plus content (relu4_2). The centring follows the authors' code (mean over batch and
positions), the taps are truly conv3_2 and conv4_2, and the batch is averaged, so that the weight does not depend on the
batch size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

STYLE_LAYERS = {"relu3_2": 1.0, "relu4_2": 1.0}
CONTENT_LAYERS = {"relu4_2": 1.0}

# Added in quadrature to each norm. Features have norms of ten and more; a patch that equals the mean (flat areas) has
# none at all.
_NORM_EPS = 1e-2


def _unit(features: Tensor) -> Tensor:
    """Normalise (B,C,N) to unit length over C; 0 stays 0 and has a finite gradient."""
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + _NORM_EPS**2)


def mrf_layer(
    generated: Tensor, target: Tensor, bandwidth: float = 0.5, eps: float = 1e-5, mean: Tensor | None = None
) -> Tensor:
    """Compute ID-MRF of one layer: (B,), each in [0, ln N].

    generated, target: (B,C,N), feature vectors at N positions. mean: (1,C,1), the centre; None takes that of target.
    """
    mean = target.mean(dim=(0, 2), keepdim=True) if mean is None else mean
    unit_generated = _unit(generated - mean)
    unit_target = _unit(target - mean)
    similarity = torch.bmm(unit_target.transpose(1, 2), unit_generated)  # (B, i: target, j: generated)
    distance = ((1.0 - similarity) / 2.0).clamp_min(0.0)
    relative = distance / (distance.amin(dim=1, keepdim=True) + eps)
    # softmax over the targets of (1 - d~)/h is w_ij / sum_k w_kj, without the overflow
    share = torch.softmax((1.0 - relative) / bandwidth, dim=1)
    return -torch.log(share.amax(dim=2).mean(dim=1))


class IDMRFLoss(nn.Module):
    """ID-MRF on VGG19 features; backbone maps (B,3,H,W) in [0,1] to {"relu3_2": ..., "relu4_2": ...}.

    bandwidth: h of the formula. max_positions: most positions compared per image and layer (memory grows with its
    square), 0 for all; where a map has more, the same random ones are taken from both images. Images are compared
    one by one and again on the way back, so that memory does not grow with the batch: at 4096 positions about 0.3 GB.
    """

    def __init__(
        self, backbone: nn.Module, bandwidth: float = 0.5, eps: float = 1e-5, max_positions: int = 4096
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.bandwidth = bandwidth
        self.eps = eps
        self.max_positions = max_positions

    def forward(self, image: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compare masked foregrounds: a scalar >= 0, the mean over the batch, least where they agree.

        image, target: (B,3,H,W) in [0,1]; only image receives gradients. generator: a CPU generator that draws the
        positions.
        """
        with torch.autocast(image.device.type, enabled=False):
            fake = self.backbone(_full_precision(image))
            with torch.no_grad():
                real = self.backbone(_full_precision(target))
            total = image.new_zeros((), dtype=torch.float32)
            for name in dict.fromkeys((*STYLE_LAYERS, *CONTENT_LAYERS)):
                weight = STYLE_LAYERS.get(name, 0.0) + CONTENT_LAYERS.get(name, 0.0)
                a, b = fake[name].flatten(2), real[name].flatten(2)
                places = self._positions(a.shape[2], generator)
                if places is not None:
                    places = places.to(a.device)
                    a, b = a[:, :, places], b[:, :, places]
                mean = b.mean(dim=(0, 2), keepdim=True)
                values = [
                    checkpoint(mrf_layer, one, other, self.bandwidth, self.eps, mean, use_reentrant=False)
                    for one, other in zip(a.split(1), b.split(1), strict=True)
                ]
                total = total + weight * torch.cat(values).mean()
        return total

    def _positions(self, count: int, generator: torch.Generator | None) -> Tensor | None:
        """Draw the positions to compare, or None for all."""
        if not self.max_positions or count <= self.max_positions:
            return None
        return torch.randperm(count, generator=generator)[: self.max_positions]


def _full_precision(image: Tensor) -> Tensor:
    """Cast half precisions to float32, since small distances need it; float64 stays for gradient checks."""
    return image if image.dtype == torch.float64 else image.float()
