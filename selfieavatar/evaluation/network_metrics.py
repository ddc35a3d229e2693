"""Compute LPIPS, EfficientNet distance, FID and identity similarity by region, or say why one cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.evaluation.regions import REGIONS, mean_or_none

if TYPE_CHECKING:
    import torch

    from selfieavatar.evaluation.effnet_distance import EffnetDistance
    from selfieavatar.evaluation.fid import FidScore
    from selfieavatar.evaluation.identity_similarity import FaceFeatures
    from selfieavatar.evaluation.lpips import LpipsScore


class _Labelled(Protocol):
    label: str


Tool = TypeVar("Tool", bound=_Labelled)

# Metric -> its network, as `weights` of metrics.json names it.
NETWORKS = {
    "lpips": "alexnet",
    "effnet_distance": "efficientnet_lite0",
    "fid": "inception",
    "identity_similarity": "identity_network",
}
REGION_METRICS = ("lpips", "effnet_distance")  # of single frames, over every region
# Small boxes on black say nothing to a network that was trained on whole images.
FID_REGIONS = ("full", "person", "face")
# Inception's features: of fewer frames the covariance is singular, and FID is biased upwards.
FID_ENOUGH = 2048


class NetworkScores:
    """Metrics that need published weights. `weights`: network -> label or None; `notes`: metric -> why it lacks."""

    def __init__(self, device: torch.device | str, wanted: bool = True) -> None:
        self.notes: dict[str, str] = {}
        self.weights: dict[str, str | None] = dict.fromkeys(NETWORKS.values())
        self._lpips: LpipsScore | None = None
        self._effnet: EffnetDistance | None = None
        self._fid: FidScore | None = None
        self._faces: FaceFeatures | None = None
        self._count = 0
        self._parts: dict[tuple[str, str, str], list[np.ndarray]] = {}  # method, region, metric
        if wanted:
            self._load(device)
        else:
            self.notes = dict.fromkeys(NETWORKS, "left out by evaluate.network_metrics: false")

    def _load(self, device: torch.device | str) -> None:
        # Imported here: the packages are slow to import.
        from selfieavatar.evaluation.effnet_distance import EffnetDistance
        from selfieavatar.evaluation.fid import FidScore
        from selfieavatar.evaluation.identity_similarity import FaceFeatures
        from selfieavatar.evaluation.lpips import LpipsScore

        def made(metric: str, make: Callable[[torch.device | str], Tool]) -> Tool | None:
            try:
                tool = make(device)
            except UserError as error:
                self.notes[metric] = str(error)
                return None
            self.weights[NETWORKS[metric]] = tool.label
            return tool

        self._lpips = made("lpips", LpipsScore)
        self._effnet = made("effnet_distance", EffnetDistance)
        self._fid = made("fid", FidScore)
        self._faces = made("identity_similarity", FaceFeatures)

    def add(self, methods: Mapping[str, np.ndarray], truth: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
        """Score N more frames of every method; images (N,H,W,3) float in [0,1], masks region -> (N,H,W) bool."""
        shown = {region: mask for region, mask in masks.items() if region in FID_REGIONS}
        if self._fid is not None:
            self._fid.add_truth(truth, shown)
            self._count += len(truth)
        person = None if self._faces is None else self._faces(truth, masks["face"])
        for method, images in methods.items():
            if self._fid is not None:
                self._fid.add(method, images, shown)
            for metric, distance in zip(REGION_METRICS, (self._lpips, self._effnet), strict=True):
                if distance is not None:
                    for region, values in distance(images, truth, masks).items():
                        self._parts.setdefault((method, region, metric), []).append(values)
            if self._faces is not None and person is not None:
                alike = (person * self._faces(images, masks["face"])).sum(axis=1)
                self._parts.setdefault((method, "face", "identity_similarity"), []).append(alike)

    def warnings(self) -> list[str]:
        """List what to bear in mind about the metrics that there are."""
        if self._fid is None or self._count >= FID_ENOUGH:
            return []
        return [
            f"fid: of {self._count} frames, fewer than the {FID_ENOUGH} features, which biases it upwards; compare it "
            "with metrics of the same number of frames only"
        ]

    def per_frame(self, method: str, region: str, metric: str) -> np.ndarray:
        """List a metric of each frame, in the order of adding; NaN for an empty region, nothing without weights."""
        return np.concatenate(self._parts.get((method, region, metric), [np.zeros(0)]))

    def summary(self, method: str) -> dict[str, dict[str, float | None]]:
        """Average: {region: {"lpips", "effnet_distance": mean or None, "fid": value or None}}.

        The boxes have no "fid"; the face has "identity_similarity", too.
        """
        found: dict[str, dict[str, float | None]] = {}
        for region in REGIONS:
            found[region] = {name: mean_or_none(self.per_frame(method, region, name)) for name in REGION_METRICS}
            if region in FID_REGIONS:
                found[region]["fid"] = None if self._fid is None else self._fid.value(method, region)
        found["face"]["identity_similarity"] = mean_or_none(self.per_frame(method, "face", "identity_similarity"))
        return found
