"""Measure the frames of a clip as they are decoded: face box, sharpness, repeated frames, static camera."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from selfieavatar.detection.face_finder import FaceFinder, background_masks, sharpness
from selfieavatar.video.stillness import COMPARE_PX, image_difference, is_static, repeated_frames
from selfieavatar.video.window import cut_window

_COMPARED = 6  # parts of the clip, at whose beginnings and end a face is kept to compare
_RECENT = 5  # frames for which a detected face stays expected in its place


@dataclass
class Observer:
    """Measure each frame in order: face box, sharpness, difference from the frame before, static camera."""

    finder: FaceFinder
    size_px: int  # of the frames written
    expected: np.ndarray  # (4,) face box in frame px that the crop was made for
    kept: int  # frames from the first on that tell whether the camera is static: those not held out
    stride: int  # of the ones of these that are compared
    count: int  # frames of the clip, of which a handful of faces are kept
    boxes: list[np.ndarray] = field(default_factory=list)
    sharp: list[float] = field(default_factory=list)
    changes: list[tuple[float, float]] = field(default_factory=list)
    faces_max: int = 0
    still: dict[int, np.ndarray] = field(default_factory=dict)
    faces: dict[int, np.ndarray] = field(default_factory=dict)  # small images of a handful of rows, for recognition
    _before: np.ndarray | None = None

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Shrink a crop (P, P, 3) uint8 RGB, P >= COMPARE_PX, and detect its faces, ahead and in any order."""
        small = shrink(image, COMPARE_PX)
        return small, self.finder.detect(small)

    def add(self, image: np.ndarray, small: np.ndarray, detected: tuple[np.ndarray, np.ndarray]) -> None:
        """Measure the next image, with the results of `detect`."""
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        recent = next((b for b in reversed(self.boxes[-_RECENT:]) if np.isfinite(b[0])), None)
        to_small = COMPARE_PX / self.size_px
        last = None if recent is None else recent * to_small
        found = self.finder.find_near(small, last, detected) / to_small
        box = self._nearest(found, self.expected if recent is None else recent)
        tall = box[3] - box[1]
        self.faces_max = max(self.faces_max, sum(bool(b[3] - b[1] > 0.3 * tall) for b in found))
        self.boxes.append(box)
        self.sharp.append(sharpness(image, box * (image.shape[0] / self.size_px)) if np.isfinite(tall) else 0.0)
        self.changes.append((0.0, 0.0) if self._before is None else image_difference(grey, self._before))
        if len(self.boxes) <= self.kept and (len(self.boxes) - 1) % self.stride == 0 and np.isfinite(tall):
            self.still[len(self.boxes) - 1] = small
        due = len(self.faces) * (self.count - 1) // _COMPARED
        if len(self.boxes) > due and len(self.faces) <= _COMPARED and np.isfinite(tall):
            self.faces[len(self.boxes) - 1] = small
        self._before = grey

    def static_camera(self, face: np.ndarray) -> bool:
        """Detect a static camera from the images compared, of frames whose `face` (N,) is True."""
        still = [image for row, image in self.still.items() if face[row]]
        return is_static([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in still], background_masks(still))

    def columns(self, split: np.ndarray) -> dict[str, np.ndarray]:
        """Make the columns of decode's manifest that are measured here; `split` (N,): "train" where not held out."""
        boxes = np.array(self.boxes, dtype=np.float32).reshape(-1, 4)
        changes = np.array(self.changes).reshape(-1, 2)
        repeated = np.zeros(len(boxes), dtype=bool)
        for rows in (split == "train", split != "train"):  # of each part by itself
            boxes[np.flatnonzero(rows)[flashes(np.isfinite(boxes[rows, 0]))]] = np.nan
            repeated[rows] = repeated_frames(changes[rows, 0], changes[rows, 1])
        sharp = np.array(self.sharp, dtype=np.float32)
        return {"face": np.isfinite(boxes[:, 0]), "face_box_px": boxes, "duplicate": repeated, "sharpness": sharp}

    @staticmethod
    def _nearest(found: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Choose the box nearest to the last one in position and size; NaN if there is none."""
        if not len(found):
            return np.full(4, np.nan)
        tall = np.maximum(found[:, 3] - found[:, 1], 1e-3)
        far = np.linalg.norm((found[:, :2] + found[:, 2:] - last[:2] - last[2:]) / 2, axis=1) / (last[3] - last[1])
        return found[np.argmin(far + np.abs(np.log(tall / (last[3] - last[1]))))]


def shrink(image: np.ndarray, size_px: int) -> np.ndarray:
    """Shrink a square image (P, P, 3) uint8 to (size_px, size_px, 3)."""
    return cut_window(image, (0, 0, image.shape[0]), size_px)


def flashes(face: np.ndarray, longest: int = 2, alone: int = 5) -> np.ndarray:
    """Find false detections: runs of at most `longest` frames of `face` (N,) bool, alone within `alone` frames.

    A person stays longer than 1/10 s; a texture that is mistaken for a face comes and goes.
    """
    padded = np.concatenate([np.zeros(alone, bool), face, np.zeros(alone, bool)])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], padded, [False]]).astype(np.int8)))
    result = np.zeros_like(padded)
    for start, end in edges.reshape(-1, 2):
        lonely = not padded[start - alone : start].any() and not padded[end : end + alone].any()
        if end - start <= longest and lonely and face.sum() > longest:
            result[start:end] = True
    return result[alone:-alone]
