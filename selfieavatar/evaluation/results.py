"""Collect every metric of the avatar and of the methods beside it, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from selfieavatar.evaluation.bootstrap import Block, frame_interval
from selfieavatar.evaluation.mask_error import MaskSheet
from selfieavatar.evaluation.metric_registry import ScoreSheet
from selfieavatar.evaluation.network_metrics import REGION_METRICS, NetworkScores
from selfieavatar.evaluation.psnr import CEILING_DB
from selfieavatar.evaluation.retrack import Retracking
from selfieavatar.evaluation.temporal import TemporalSheet
from selfieavatar.io.shared_text import without_folders


class Results:
    """Score sheets by method (the first is the avatar), and the frames in the order in which they were added."""

    def __init__(self, methods: Sequence[str], network: NetworkScores, retracking: Retracking | None = None) -> None:
        self.avatar = methods[0]
        self.sheets = {name: ScoreSheet() for name in methods}
        self.network, self.temporal, self.retracking = network, TemporalSheet(), retracking
        self.mask = MaskSheet()
        self.clips: list[str] = []
        self.frames: list[int] = []
        self.notes: list[str] = []
        self.fps = 0.0
        self.block: Block = 25  # frames of a second, in all clips or in each

    def add(
        self,
        clip: str,
        frames: np.ndarray,
        order: np.ndarray,
        truth: np.ndarray,
        masks: Mapping[str, np.ndarray],
        shown: Mapping[str, np.ndarray],
        alpha: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Add N frames (N,) of a clip, whose batches come one after the other. order: (N,), see TemporalSheet.add.

        truth: (N,H,W,3) float in [0,1]; masks: region -> (N,H,W) bool; shown: each method's images, shaped as truth.
        alpha: (N,H,W) of the avatar and of the truth, if the avatar gives one.
        """
        if not self.clips or clip != self.clips[-1]:
            self.temporal.start_clip()
            if self.retracking is not None:
                self.retracking.start_clip()
        for name, sheet in self.sheets.items():
            sheet.add(shown[name], truth, masks)
        self.network.add(shown, truth, masks)
        self.temporal.add(order, shown[self.avatar], truth, masks["face"])
        if alpha is not None:
            self.mask.add(*alpha)
        if self.retracking is not None:
            self.retracking.add(order, shown[self.avatar], truth)
        self.clips += [clip] * len(frames)
        self.frames += frames.tolist()

    def intervals(self, method: str) -> dict[str, dict[str, list[float] | None]]:
        """Bootstrap: {region: {metric: 95 % interval of the mean, or None}} of every metric that single frames have."""
        found = self.sheets[method].intervals(self.clips, self.block)
        for region, metrics in found.items():
            for name in REGION_METRICS:
                metrics[name] = self._interval(self.network.per_frame(method, region, name))
        alike = self.network.per_frame(method, "face", "identity_similarity")
        found["face"]["identity_similarity"] = self._interval(alike)
        return found

    def further(self) -> dict[str, dict[str, np.ndarray]]:
        """List {"temporal", "tracked", "mask": {metric: (N,)}}: the avatar's metrics of frames that have no regions."""
        tracked = {} if self.retracking is None else self.retracking.per_frame()
        return {"temporal": self.temporal.per_frame(), "tracked": tracked, "mask": self.mask.per_frame()}

    def further_intervals(self) -> dict[str, dict[str, list[float] | None]]:
        """Bootstrap 95 % intervals of the means of `further`, or None."""
        return {
            part: {name: self._interval(values) for name, values in metrics.items()}
            for part, metrics in self.further().items()
        }

    def _interval(self, values: np.ndarray) -> list[float] | None:
        return frame_interval(values, self.clips, self.block) if len(values) else None

    def _equal_frames(self) -> list[str]:
        """Note images that equal the truth, whose PSNR no number can be."""
        score = self.sheets[self.avatar].per_frame("full", "psnr_db")
        count = int((score >= CEILING_DB).sum())
        if not count:
            return []
        equal = f"{count} of {len(score)} images equal the truth"
        return [f"psnr_db: {equal}; their PSNR, which is infinite, counts as {CEILING_DB:g} dB"]

    def all_notes(self) -> list[str]:
        """List why metrics are missing, and what to bear in mind about others; nobody's folders are named."""
        missing = [f"{name}: {why}" for name, why in self.network.notes.items()]
        missing += self.temporal.notes() + self.mask.notes()
        missing += [] if self.retracking is None else self.retracking.notes()
        return [without_folders(x) for x in missing + self.network.warnings() + self._equal_frames() + self.notes]
