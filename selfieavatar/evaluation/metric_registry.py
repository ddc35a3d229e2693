"""List the metrics that are measured, and collect them over frames.

A metric of single frames is a function (predicted, truth, masks) -> {region: (N,)}; adding one to FRAME_METRICS is all
that it takes to have it measured, averaged and written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from selfieavatar.evaluation.bootstrap import Block, frame_interval
from selfieavatar.evaluation.psnr import psnr_db
from selfieavatar.evaluation.regions import REGIONS, mean_or_none
from selfieavatar.evaluation.sharpness import sharpness
from selfieavatar.evaluation.ssim import ssim, ssim_uniform7

FrameMetric = Callable[[np.ndarray, np.ndarray, Mapping[str, np.ndarray]], dict[str, np.ndarray]]

FRAME_METRICS: dict[str, FrameMetric] = {
    "ssim": ssim,
    "ssim_uniform7": ssim_uniform7,
    "psnr_db": psnr_db,
    "sharpness": sharpness,
}

# Where more is better; for all others less is.
MORE_IS_BETTER = frozenset(
    {"ssim", "ssim_uniform7", "psnr_db", "identity_similarity", "mask_iou", "lid_correlation", "lip_correlation"}
)


@dataclass
class ScoreSheet:
    """Metrics of one method, frame by frame."""

    metrics: Mapping[str, FrameMetric] = field(default_factory=lambda: dict(FRAME_METRICS))
    _parts: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)

    def add(self, predicted: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
        """Score N more frames: (N,H,W,3) float in [0,1]; masks: region -> (N,H,W) bool."""
        for name, metric in self.metrics.items():
            for region, values in metric(predicted, truth, masks).items():
                self._parts.setdefault((region, name), []).append(values)

    def per_frame(self, region: str, name: str) -> np.ndarray:
        """List all values of a metric, in the order of adding; NaN where the region was empty."""
        return np.concatenate(self._parts.get((region, name), [np.zeros(0)]))

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Average: {region: {metric: mean over the frames that have the region, or None}}."""
        return {r: {name: mean_or_none(self.per_frame(r, name)) for name in self.metrics} for r in REGIONS}

    def frames(self) -> dict[str, int]:
        """Count: {region: number of frames that have it}."""
        return {r: int(np.isfinite(self.per_frame(r, "psnr_db")).sum()) for r in REGIONS}

    def intervals(self, clips: Sequence[str], block: Block) -> dict[str, dict[str, list[float] | None]]:
        """Bootstrap: {region: {metric: 95 % interval of the mean, or None}}; clips, block: see `frame_interval`."""
        return {
            r: {name: frame_interval(self.per_frame(r, name), clips, block) for name in self.metrics} for r in REGIONS
        }
