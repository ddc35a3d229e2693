"""Compute the cosine loss on features of a network, L_cos of eq. 4 and 7: 1 - cos(features of I_A, of I_RA).

The paper writes "cosine similarity ... as a training loss" and names both multi-scale and high-dimensional features; a
loss must fall as images agree, hence 1 - cos, and the layers are a choice: "pooled" (the averaged features of the last,
2048 of ResNet50 as DECA's identity loss has it, the descriptor of dlib's network) or "multiscale" (every position of
every stage, and dlib's descriptor).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TINY = 1e-6


def cosine_distance(a: Tensor, b: Tensor, dim: int = 1) -> Tensor:
    """Compute 1 - cos of the angle between tensors along ``dim``: 0 where they agree, 2 where they are opposed.

    Where both vectors are zero they agree and the distance is 0. Gradients are finite everywhere.
    """
    square_a, square_b = a.square().sum(dim), b.square().sum(dim)
    return 1.0 - ((a * b).sum(dim) + _TINY) * torch.rsqrt((square_a + _TINY) * (square_b + _TINY))


class CosineLoss(nn.Module):
    """Cosine loss of two images; backbone maps (B,3,h,w) in [0,1] to {name: (B,C,h',w')} in order of depth."""

    def __init__(self, backbone: nn.Module, layers: str = "pooled", size_px: int = 224) -> None:
        super().__init__()
        if layers not in ("pooled", "multiscale"):
            raise ValueError(f"layers must be 'pooled' or 'multiscale', not {layers!r}")
        self.backbone = backbone
        self.layers = layers
        self.size_px = size_px

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Compare image and target (B,3,H,W) in [0,1]; gradients for image alone. Scalar in [0,2], 0 at equality."""
        with torch.autocast(image.device.type, enabled=False):  # 1 - cos of what is alike is lost in half precision
            fake = self._features(image.float())
            with torch.no_grad():
                real = self._features(target.float())
            if self.layers == "pooled":
                last = list(fake)[-1]
                return cosine_distance(fake[last].mean(dim=(2, 3)), real[last].mean(dim=(2, 3))).mean()
            return torch.stack([cosine_distance(fake[name], real[name]).mean() for name in fake]).mean()

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        if image.shape[-2:] != (self.size_px, self.size_px):
            image = F.interpolate(image, size=(self.size_px, self.size_px), mode="bilinear", antialias=True)
        return self.backbone(image)
