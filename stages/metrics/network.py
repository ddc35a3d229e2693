"""LPIPS and FID of several methods over the regions, or the reason why a figure cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from stages.core.errors import UserError
from stages.metrics.regions import REGIONS, mean_or_none

if TYPE_CHECKING:
    import torch

NETWORKS = {"lpips": "alexnet", "fid": "inception"}


class NetworkScores:
    """Scores that need published weights. `weights`: network -> label or None; `notes`: figure -> why it is missing."""

    def __init__(self, device: torch.device | str, wanted: bool = True) -> None:
        self.notes: dict[str, str] = {}
        self.weights: dict[str, str | None] = dict.fromkeys(NETWORKS.values())
        self._lpips = self._fid = None
        self._parts: dict[tuple[str, str], list[np.ndarray]] = {}
        if not wanted:
            self.notes = dict.fromkeys(NETWORKS, "left out by evaluate.network_metrics: false")
            return
        # Imported here: both packages are slow to import and most machines have no weights for them.
        try:
            from stages.metrics.lpips import LABEL, LpipsScore

            self._lpips = LpipsScore(device)
            self.weights["alexnet"] = LABEL
        except UserError as error:
            self.notes["lpips"] = str(error)
        try:
            from stages.metrics.fid import LABEL, FidScore

            self._fid = FidScore(device)
            self.weights["inception"] = LABEL
        except UserError as error:
            self.notes["fid"] = str(error)

    def add(self, methods: Mapping[str, np.ndarray], truth: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
        """Score N more frames of every method; pictures (N,H,W,3) float in [0,1], masks region -> (N,H,W) bool."""
        if self._fid is not None:
            self._fid.add("truth", truth, masks)
        for method, pictures in methods.items():
            if self._fid is not None:
                self._fid.add(method, pictures, masks)
            if self._lpips is not None:
                for region, values in self._lpips(pictures, truth, masks).items():
                    self._parts.setdefault((method, region), []).append(values)

    def summary(self, method: str) -> dict[str, dict[str, float | None]]:
        """{region: {"lpips": mean or None, "fid": value or None}}."""
        return {
            region: {
                "lpips": mean_or_none(np.concatenate(self._parts.get((method, region), [np.zeros(0)]))),
                "fid": None if self._fid is None else self._fid.value(method, region),
            }
            for region in REGIONS
        }
