"""The base of networks that only judge: frozen, always in eval mode, with a fixed normalisation of their input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class FrozenNetwork(nn.Module):
    """Frozen feature network; `label` says where its weights came from.

    It sees (scale * image - mean) / std of images in [0,1], mean and std in its own order of channels; scale is 255
    where its publisher counts in bytes. bgr: it comes from Caffe and sees blue first.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        scale: float = 1.0,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.label, self.scale, self.bgr = "none", scale, bgr
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stay in eval mode whatever the caller asks: batch statistics of a loss network must never move."""
        del mode
        return super().train(False)

    def freeze(self, label: str) -> None:
        """Fix every parameter and note where the weights came from."""
        self.label = label
        self.requires_grad_(False)
        self.eval()

    def normalise(self, image: Tensor) -> Tensor:
        """Normalise (B,3,H,W) RGB in [0,1] to what the network was trained on."""
        return (self.scale * (image.flip(1) if self.bgr else image) - self.mean) / self.std
