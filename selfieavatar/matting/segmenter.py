"""Segment the person by MediaPipe's selfie model, which is part of its wheel (Apache-2.0, nothing to download).

The network sees 256 x 256 pixels, so its edge is good to about 1/256 of the image; `selfieavatar.matting.refine`
sharpens it.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.stderr import quiet_stderr

MODEL_SIZE_PX = 256
"""Side of the network's input."""


class SelfieSegmenter:
    """Segment single images to soft person masks; a context manager, one instance per clip.

    The graph of mediapipe 0.10.21 is stateless, those of other versions smooth over time: a fresh instance per clip is
    correct with all of them.

    Raises:
        UserError: mediapipe is missing or another version.
    """

    def __init__(self) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")  # read when mediapipe's library is loaded
        try:
            from mediapipe.python.solutions import selfie_segmentation
        except ImportError as error:
            raise UserError(
                "matting.method mediapipe needs mediapipe with mp.solutions: install mediapipe==0.10.21"
            ) from error
        with quiet_stderr():
            self._graph = selfie_segmentation.SelfieSegmentation(model_selection=0)
            # The delegate writes a note at the first image.
            self._graph.process(np.zeros((MODEL_SIZE_PX, MODEL_SIZE_PX, 3), np.uint8))

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """Segment a square image (H,W,3) uint8 RGB: mask (256,256) float32 in [0,1], 1 on the person."""
        size = (MODEL_SIZE_PX, MODEL_SIZE_PX)
        shrinks = rgb.shape[0] > MODEL_SIZE_PX
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return np.clip(self._graph.process(small).segmentation_mask, 0.0, 1.0).astype(np.float32)

    def close(self) -> None:
        """Free the graph."""
        self._graph.close()

    def __enter__(self) -> SelfieSegmenter:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()
