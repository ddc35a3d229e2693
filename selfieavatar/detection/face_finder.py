"""Detect face boxes, for the crop and the face flag of each frame, and segment sure background (MediaPipe's models)."""

import os
import threading
from typing import Any

import cv2
import numpy as np

from selfieavatar.video.window import cut_window

# Boxes that overlap more than this show the same face.
_SAME = 0.3


class FaceFinder:
    """Detect faces in single images as boxes (K, 4) x0, y0, x1, y1 in pixels, largest first.

    Threads may share a finder: each gets a graph of its own. A box counts as a face from `confidence` on; `find_near`
    accepts half of it where a face was just before.
    """

    def __init__(self, confidence: float = 0.5):
        os.environ.setdefault("GLOG_minloglevel", "2")  # it reports every model it loads
        self.confidence = confidence
        self._local = threading.local()
        self._graphs: list[Any] = []

    def _graph(self) -> Any:
        from mediapipe.python.solutions.face_detection import FaceDetection

        if not hasattr(self._local, "graph"):
            self._local.graph = FaceDetection(model_selection=1, min_detection_confidence=0.5 * self.confidence)
            self._graphs.append(self._local.graph)
        return self._local.graph

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Detect boxes (K, 4) in pixels, largest first, with scores (K,) of at least half the confidence."""
        height, width = image.shape[:2]
        found = self._graph().process(np.ascontiguousarray(image)).detections or []
        boxes = [d.location_data.relative_bounding_box for d in found]
        boxes = [(b.xmin, b.ymin, b.xmin + b.width, b.ymin + b.height) for b in boxes]
        result = np.array(boxes, dtype=np.float64).reshape(-1, 4) * [width, height, width, height]
        order = np.argsort(result[:, 1] - result[:, 3], kind="stable")
        return result[order], np.array([d.score[0] for d in found], dtype=np.float64)[order]

    def find(self, image: np.ndarray) -> np.ndarray:
        """Detect the faces of an image (H, W, 3) uint8 RGB as boxes (K, 4)."""
        boxes, scores = self.detect(image)
        return boxes[scores >= self.confidence]

    def find_near(
        self, image: np.ndarray, last: np.ndarray | None, detected: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Detect faces with hysteresis: where `last` (4,) was a face, half the confidence is enough.

        This keeps the face through single frames of a blink, a laugh or a turned head. `detected` is what `detect`
        returns for the image; it may be computed ahead of time.
        """
        boxes, scores = detected
        sure = scores >= self.confidence
        if last is not None:
            sure |= np.array([overlap(box, last) > _SAME for box in boxes], dtype=bool)
        if sure.any() or last is None:
            return boxes[sure]
        # A face that fills the image is detected more reliably in a wider view.
        side = 2 * round(1.25 * (last[3] - last[1]))
        window = _window_around(last, side)
        boxes = _to_image(self.detect(cut_window(image, window, 256))[0], window)
        return boxes[[overlap(box, last) > _SAME for box in boxes]] if len(boxes) else boxes

    def find_precisely(self, image: np.ndarray) -> np.ndarray:
        """Detect faces, then refine each in an enlarged crop; search parts of the image if there is none.

        The detector works at 192 px: a head that is small in a large image is localised coarsely, or missed.
        """
        boxes = self.find(image)
        if not len(boxes):
            boxes = self._find_in_parts(image)
        refined = [self._refine(image, box) for box in boxes]
        return np.array(refined, dtype=np.float64).reshape(-1, 4)

    def _find_in_window(self, image: np.ndarray, window: tuple[int, int, int]) -> np.ndarray:
        return _to_image(self.find(cut_window(image, window, 256)), window)

    def _refine(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        window = _window_around(box, max(2, round(2.5 * (box[3] - box[1]))))
        again = [b for b in self._find_in_window(image, window) if overlap(b, box) > _SAME]
        return again[0] if again else box

    def _find_in_parts(self, image: np.ndarray) -> np.ndarray:
        """Detect faces in half-overlapping square parts, each half as wide as the shorter side."""
        height, width = image.shape[:2]
        side = min(height, width) // 2
        if side < 64:
            return np.empty((0, 4))
        found: list[np.ndarray] = []
        for y0 in range(0, height - side + 1, max(side // 2, 1)):
            for x0 in range(0, width - side + 1, max(side // 2, 1)):
                for box in self._find_in_window(image, (x0, y0, side)):
                    if all(overlap(box, other) < _SAME for other in found):
                        found.append(box)
        found.sort(key=lambda b: b[1] - b[3])
        return np.array(found, dtype=np.float64).reshape(-1, 4)

    def close(self) -> None:
        """Free the graphs of all threads."""
        for graph in self._graphs:
            graph.close()

    def __enter__(self) -> "FaceFinder":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _window_around(box: np.ndarray, side: float) -> tuple[int, int, int]:
    middle = (box[:2] + box[2:]) / 2
    return round(middle[0] - side / 2), round(middle[1] - side / 2), round(side)


def _to_image(boxes: np.ndarray, window: tuple[int, int, int]) -> np.ndarray:
    """Map boxes (K, 4) from a window's view of 256 px to the image."""
    return boxes * (window[2] / 256) + np.array([window[0], window[1]] * 2)


def background_masks(images: list[np.ndarray], margin: float = 0.025) -> list[np.ndarray]:
    """Segment the sure background of images (H, W, 3) uint8 RGB by MediaPipe's selfie model.

    Returns (H, W) bool masks, True at least `margin` of the width away from any person.
    """
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    masks = []
    with SelfieSegmentation(model_selection=0) as segmenter:
        for image in images:
            person = segmenter.process(np.ascontiguousarray(image)).segmentation_mask
            side = 2 * max(1, round(margin * image.shape[1])) + 1
            masks.append(cv2.erode((person < 0.1).astype(np.uint8), np.ones((side, side))).astype(bool))
    return masks


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the intersection over union of two boxes (4,)."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / max(float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared, 1e-9)


def sharpness(image: np.ndarray, box: np.ndarray, size_px: int = 128) -> float:
    """Compute the variance of the Laplacian of a face, grey in [0,1], resampled to `size_px` so that sizes compare.

    Focus measure of Pech-Pacheco et al. 2000. Compare it within a clip: a face smaller than `size_px` in the source is
    enlarged and counts as less sharp.
    """
    side = max(float(box[3] - box[1]), 2.0)
    face = cut_window(image, _window_around(box, side), size_px)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
