"""Collects every figure of the avatar and of the methods beside it, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stages.metrics.network import NetworkScores
from stages.metrics.registry import ScoreSheet
from stages.metrics.retrack import Retracking
from stages.metrics.temporal import TemporalSheet


class Results:
    """Sheets of scores by method (the first is the avatar), and the frames in the order in which they were added."""

    def __init__(self, methods: Sequence[str], network: NetworkScores, retracking: Retracking | None = None) -> None:
        self.avatar = methods[0]
        self.sheets = {name: ScoreSheet() for name in methods}
        self.network, self.temporal, self.retracking = network, TemporalSheet(), retracking
        self.clips: list[str] = []
        self.frames: list[int] = []
        self.notes: list[str] = []
        self.fps, self.block = 0.0, 25

    def add(
        self,
        clip: str,
        frames: np.ndarray,
        order: np.ndarray,
        truth: np.ndarray,
        masks: Mapping[str, np.ndarray],
        shown: Mapping[str, np.ndarray],
    ) -> None:
        """N more frames (N,) of a clip, whose batches come one after the other. order: (N,), see TemporalSheet.add.

        truth: (N,H,W,3) float in [0,1]; masks: region -> (N,H,W) bool; shown: each method's pictures, shaped as truth.
        """
        if not self.clips or clip != self.clips[-1]:
            self.temporal.start_clip()
            if self.retracking is not None:
                self.retracking.start_clip()
        for name, sheet in self.sheets.items():
            sheet.add(shown[name], truth, masks)
        self.network.add(shown, truth, masks)
        self.temporal.add(order, shown[self.avatar], truth, masks["face"])
        if self.retracking is not None:
            self.retracking.add(order, shown[self.avatar], truth)
        self.clips += [clip] * len(frames)
        self.frames += frames.tolist()

    def all_notes(self) -> list[str]:
        """Why figures are missing, and what to bear in mind about others."""
        missing = [f"{name}: {why}" for name, why in self.network.notes.items()]
        return missing + self.network.warnings() + self.notes
