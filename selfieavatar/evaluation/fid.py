"""Compute the Fréchet inception distance (Heusel et al. 2017) with torch-fidelity's port of the Inception network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.linalg
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from selfieavatar.settings.assets import asset_path


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float | None:
    """Compute |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of features (N,D), (M,D); None for fewer than two."""
    if min(len(first), len(second)) < 2:
        return None
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    a, b = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
    # tr (C1 C2)^(1/2) is the sum of the singular values of A B^T, since C1 C2 = A^T A B^T B has the eigenvalues of
    # (A B^T)(A B^T)^T: no root of a singular 2048 x 2048 matrix, which a few hundred frames always give. Of more
    # frames than features, the triangular factor has the same A^T A.
    a, b = (np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x for x in (a, b))
    cross = scipy.linalg.svdvals(a @ b.T).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(a).sum() + np.square(b).sum() - 2.0 * cross
    return float(max(distance, 0.0))


class FidScore:
    """Collector of Inception features of the truth and of several methods' images, region by region."""

    label = "inception-2015-12-05"

    def __init__(self, device: torch.device | str) -> None:
        """Load Inception's published weights; UserError with what to do where they are missing."""
        path = asset_path("inception_fid")
        with torch.random.fork_rng():
            self.net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
        self.net.eval().to(device)
        self.device = torch.device(device)
        # Apart from one another: a method may have any name, "truth" as well.
        self._truth: dict[str, list[np.ndarray]] = {}
        self._methods: dict[str, dict[str, list[np.ndarray]]] = {}

    def add_truth(self, images: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
        """Add N true images (N,H,W,3) float in [0,1]; masks: region -> (N,H,W) bool.

        Outside a region images are black; frames whose region is empty do not count.
        """
        self._add(self._truth, images, masks)

    def add(self, method: str, images: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
        """Add N images of a method, as `add_truth`; masks: the truth's."""
        self._add(self._methods.setdefault(method, {}), images, masks)

    def _add(self, found: dict[str, list[np.ndarray]], images: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
        for region, mask in masks.items():
            keep = mask.any(axis=(1, 2))
            shown = np.where(mask[keep][..., None], images[keep], 0.0)
            found.setdefault(region, []).append(self._extract(shown))

    def value(self, method: str, region: str) -> float | None:
        """Compute the distance of a method from the truth; None for fewer than two frames."""
        truth, mine = self._truth.get(region), self._methods.get(method, {}).get(region)
        if not truth or not mine:
            return None
        return frechet_distance(np.concatenate(mine), np.concatenate(truth))

    @torch.no_grad()
    def _extract(self, images: np.ndarray) -> np.ndarray:
        if not len(images):
            return np.zeros((0, 2048), np.float32)
        bytes_ = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
        (features,) = self.net(torch.from_numpy(bytes_.transpose(0, 3, 1, 2).copy()).to(self.device))
        return features.cpu().numpy()
