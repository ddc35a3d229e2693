"""Run Robust Video Matting (Lin et al., WACV 2022, arXiv:2108.11515) by onnxruntime.

Its weights are GPL-3.0 and downloaded by the user; this project contains none of its code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError

STATES = 4
"""Number of recurrent feature maps, `r1` to `r4`."""


class RecurrentMatting:
    """Matte a video by the recurrent network: one instance per clip, or `reset` between clips.

    Args:
        weights: ONNX file with inputs `src` (1,3,H,W) RGB in [0,1], `r1i`..`r4i`, `downsample_ratio` (1,) and outputs
            `fgr`, `pha` (1,1,H,W), `r1o`..`r4o`.
        downsample_ratio: scale of the image for the backbone; 0 = 512 / the longer side, at most 1.
        threads: CPU cores for onnxruntime.

    Raises:
        UserError: the file is unreadable or another network.
    """

    def __init__(self, weights: Path | str, downsample_ratio: float = 0.0, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = [p for p in onnxruntime.get_available_providers() if p.startswith(("CUDA", "CPU"))]
        try:
            self._session = onnxruntime.InferenceSession(str(weights), options, providers=providers)
        except Exception as error:  # onnxruntime raises a family of classes of its own
            raise UserError(f"{weights} is not an ONNX network that onnxruntime can load: {error}") from error
        self._check(weights)
        self._ratio = float(downsample_ratio)
        self._states: list[Any] = []
        self.reset()

    def _check(self, weights: Path | str) -> None:
        """Check the names of inputs and outputs; UserError for another network."""
        numbers = range(1, STATES + 1)
        inputs = {node.name for node in self._session.get_inputs()}
        outputs = {node.name for node in self._session.get_outputs()}
        missing = {"src", "downsample_ratio", *(f"r{n}i" for n in numbers)} - inputs
        missing |= {"pha", *(f"r{n}o" for n in numbers)} - outputs
        if missing:
            raise UserError(
                f"{weights} is not the ONNX export of Robust Video Matting: it has no {', '.join(sorted(missing))}"
            )

    def reset(self) -> None:
        """Clear the recurrent state, as at every start of a clip."""
        self._states = [np.zeros((1, 1, 1, 1), np.float32) for _ in range(STATES)]

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """Compute alpha (H,W) float32 in [0,1] of the next image (H,W,3) uint8 RGB."""
        height, width = rgb.shape[:2]
        source = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], dtype=np.float32) / 255.0
        ratio = self._ratio or min(1.0, 512.0 / max(height, width))
        feed = {"src": source, "downsample_ratio": np.array([ratio], np.float32)}
        feed |= {f"r{n + 1}i": state for n, state in enumerate(self._states)}
        alpha, *self._states = self._session.run(["pha", *(f"r{n + 1}o" for n in range(STATES))], feed)
        return np.clip(alpha[0, 0], 0.0, 1.0)
