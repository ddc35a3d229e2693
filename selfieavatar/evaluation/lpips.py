"""Compute LPIPS (Zhang et al. 2018) with AlexNet, as the paper reports it.

The package brings its five linear heads; AlexNet's published weights come through the asset rule. With any other
weights the metric would be something else under the same name, so there is none.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import lpips
import numpy as np
import torch
from torch import nn

from selfieavatar.errors import UserError
from selfieavatar.evaluation.regions import mean_over
from selfieavatar.settings.assets import asset_path


class LpipsScore:
    """LPIPS per image and region, on a device."""

    label = "imagenet"

    def __init__(self, device: torch.device | str) -> None:
        """Load AlexNet's published weights; UserError with what to do where they are missing."""
        path = asset_path("alexnet_imagenet")
        self.device = torch.device(device)
        with warnings.catch_warnings():
            # the package still passes torchvision's former argument `pretrained`
            warnings.simplefilter("ignore", UserWarning)
            with torch.random.fork_rng():
                self.net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        _load_alexnet(self.net.net, torch.load(path, map_location="cpu", weights_only=True), str(path))
        self.net.requires_grad_(False).eval().to(self.device)

    @torch.no_grad()
    def __call__(
        self, predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Compare predicted and truth (N,H,W,3) in [0,1]; masks: region -> (N,H,W) bool. Region -> (N,) float64.

        "full" is the published metric; other regions take the mean of the per-pixel distances (layers enlarged to the
        image) over the region's pixels, NaN where it is empty.
        """
        a, b = (
            torch.from_numpy(np.ascontiguousarray(p.transpose(0, 3, 1, 2))).to(self.device) for p in (predicted, truth)
        )
        scores: dict[str, np.ndarray] = {}
        self.net.spatial = False
        scores["full"] = self.net(a, b, normalize=True).flatten().double().cpu().numpy()
        self.net.spatial = True
        distance = self.net(a, b, normalize=True)[:, 0].cpu().numpy()
        scores.update({region: mean_over(distance, mask) for region, mask in masks.items() if region != "full"})
        return scores


def _load_alexnet(trunk: nn.Module, published: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy torchvision's AlexNet features into the package's slices, whose members keep torchvision's numbers."""
    state = trunk.state_dict()
    for key in state:
        source = "features." + key.split(".", 1)[1]
        if source not in published or published[source].shape != state[key].shape:
            raise UserError(f"{where} does not hold torchvision's AlexNet: {source} is missing; fetch the file again")
        state[key] = published[source]
    trunk.load_state_dict(state)
