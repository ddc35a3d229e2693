"""Person segmentation by MediaPipe's selfie model, which travels inside the wheel (Apache-2.0, nothing to download).

The network sees 256 x 256 pixels, so its edge is only good to about 1/256 of the image; `selfieavatar.matting.refine`
sharpens it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from selfieavatar.errors import UserError

MODEL_SIZE_PX = 256
"""Side of the square that the network sees: detail below 1/256 of the image is not in its mask."""


class SelfieSegmenter:
    """Soft person mask of single images; use as a context manager, one instance per clip.

    The graph of mediapipe 0.10.21 keeps nothing between calls, but graphs of other versions smooth over time: a fresh
    instance per clip is correct with all of them.
    """

    def __init__(self) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")  # read once, when mediapipe's library is loaded
        try:
            from mediapipe.python.solutions import selfie_segmentation
        except ImportError as error:
            raise UserError(
                "matting.method mediapipe needs mediapipe with mp.solutions: install mediapipe==0.10.21"
            ) from error
        with quiet_native_stderr():
            self._graph = selfie_segmentation.SelfieSegmentation(model_selection=0)
            # The delegate announces itself at the first image only.
            self._graph.process(np.zeros((MODEL_SIZE_PX, MODEL_SIZE_PX, 3), np.uint8))

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """Mask (256,256) float32 in [0,1], 1 on the person, of a square image (H,W,3) uint8 RGB."""
        size = (MODEL_SIZE_PX, MODEL_SIZE_PX)
        shrinks = rgb.shape[0] > MODEL_SIZE_PX
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return np.clip(self._graph.process(small).segmentation_mask, 0.0, 1.0).astype(np.float32)

    def close(self) -> None:
        """Frees the graph."""
        self._graph.close()

    def __enter__(self) -> SelfieSegmenter:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()


@contextmanager
def quiet_native_stderr() -> Iterator[None]:
    """Sends what native libraries write to file descriptor 2 to nowhere; Python's own output is flushed first."""
    sys.stderr.flush()
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
