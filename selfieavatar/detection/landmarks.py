"""Detect facial landmarks by MediaPipe's face mesh (478 points) or by face-alignment (68 points)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.stderr import quiet_stderr
from selfieavatar.morphable.landmark_sets import IBUG, MEDIAPIPE, landmark_set

_MOST_PX = 1 << 15  # of a side: from there on, MediaPipe ends the process

TRACKED, REDETECTED, ENLARGED = 1.0, 0.8, 0.6  # confidence by detection mode, since MediaPipe gives no score
MOST_FACES = 4
ENLARGED_PX = 512
_LEAST_EYE_DISTANCE_PX = 4.0  # between the outer eye corners: smaller faces carry no shape


@dataclass
class Detection:
    """Hold the landmarks of one face.

    Attributes:
        points_px: (K, 2) float32 in pixels of the image, the first pixel's centre at (0.5, 0.5).
        depth: (K,) float32 in the same pixels, relative, nearer is smaller; zeros for 2D landmark sets.
        confidence: in [0, 1].
    """

    points_px: np.ndarray
    depth: np.ndarray
    confidence: float


class FaceDetector(Protocol):
    """Define a landmark detector. Call `detect` with the frames of one clip in order, then `close`."""

    set_name: str

    def detect(self, image: np.ndarray) -> Detection | None:
        """Detect the landmarks of an image (H, W, 3) uint8 RGB; None where there is no face."""

    def close(self) -> None:
        """Free what the detector holds."""


def choose_face(faces: list[Detection], shape: Sequence[int], previous: Detection | None = None) -> Detection:
    """Choose the face nearest to the previous one, else the largest, with a preference for the image's centre.

    Args:
        faces: at least one.
        shape: (height, width) of the image.
        previous: the face of the frame before, if there was one.
    """
    middle = np.array([shape[1], shape[0]]) / 2.0
    target = middle if previous is None else previous.points_px.mean(0)

    def merit(face: Detection) -> float:
        size = float(np.linalg.norm(np.ptp(face.points_px, axis=0)))
        distance = float(np.linalg.norm(face.points_px.mean(0) - target))
        relative = min(distance / float(np.linalg.norm(middle)), 1.0)
        return -distance if previous is not None else size * (1.0 - 0.7 * relative)

    return max(faces, key=merit)


class MediaPipeDetector:
    """Detect MediaPipe's face mesh with irises: 478 points at sub-pixel resolution, tracked within a clip.

    A lost face is detected again without tracking, then in an enlarged crop around its last position. Where there are
    several faces, all are tracked and the one nearest to the last is kept.
    """

    set_name = MEDIAPIPE

    def __init__(self, min_confidence: float = 0.5) -> None:
        os.environ.setdefault("GLOG_minloglevel", "3")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        self.min_confidence = min_confidence
        self._meshes: dict[tuple[bool, int], Any] = {}
        self._faces = 0  # number that the tracker follows, 0 before its start
        self._last: Detection | None = None

    def _mesh(self, static: bool, faces: int) -> tuple[Any, bool]:
        """Get the MediaPipe graph of a mode and whether it is new: a graph's first run writes to stderr."""
        key = (static, faces)
        new = key not in self._meshes
        if new:
            with quiet_stderr():
                from mediapipe.python.solutions.face_mesh import FaceMesh

                self._meshes[key] = FaceMesh(
                    static_image_mode=static, max_num_faces=faces, refine_landmarks=True,
                    min_detection_confidence=self.min_confidence, min_tracking_confidence=self.min_confidence,
                )  # fmt: skip
        return self._meshes[key], new

    def _run(self, image: np.ndarray, static: bool, faces: int, confidence: float) -> list[Detection]:
        if max(image.shape[:2]) >= _MOST_PX:
            height, width = image.shape[:2]
            raise UserError(f"an image of {width} x {height} px is too large to look for a face in; shrink it")
        mesh, new = self._mesh(static, faces)
        with quiet_stderr() if new else contextlib.nullcontext():
            answer = mesh.process(image)
        height, width = image.shape[:2]
        found = []
        for face in answer.multi_face_landmarks or ():
            xyz = np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32)
            xyz *= np.array([width, height, width], np.float32)  # z has about the scale of x
            detection = Detection(xyz[:, :2].copy(), xyz[:, 2].copy(), confidence)
            if _plausible(detection, (height, width)):
                found.append(detection)
        return found

    def detect(self, image: np.ndarray) -> Detection | None:
        """See `FaceDetector.detect`."""
        image = np.ascontiguousarray(image)
        if self._faces == 0:
            seen = self._run(image, True, MOST_FACES, REDETECTED)
            self._faces = MOST_FACES if len(seen) > 1 else 1
        faces = self._run(image, False, self._faces, TRACKED)
        if not faces:
            faces = self._run(image, True, MOST_FACES, REDETECTED) or self._enlarged(image)
            self._faces = 0  # to be counted anew in the next image
        if not faces:
            self._last = None
            return None
        self._last = choose_face(faces, image.shape[:2], self._last)
        return self._last

    def _enlarged(self, image: np.ndarray) -> list[Detection]:
        """Detect faces in an enlarged square around the last face that are near it and about as large."""
        if self._last is None:
            return []
        low, high = self._last.points_px.min(0), self._last.points_px.max(0)
        centre, extent = (low + high) / 2, float((high - low).max())
        side = 1.8 * extent
        x0, y0 = (max(0, int(round(v - side / 2))) for v in centre)
        crop = image[y0 : y0 + int(side) + 1, x0 : x0 + int(side) + 1]
        if min(crop.shape[:2]) < 16:
            return []
        scale = ENLARGED_PX / max(crop.shape[:2])
        big = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        factor = np.array([crop.shape[1] / big.shape[1], crop.shape[0] / big.shape[0]], np.float32)
        found = []
        for face in self._run(np.ascontiguousarray(big), True, MOST_FACES, ENLARGED):
            points = face.points_px * factor + np.array([x0, y0], np.float32)
            near = np.linalg.norm((points.min(0) + points.max(0)) / 2 - centre) < 0.5 * extent
            if near and 0.7 < np.ptp(points, axis=0).max() / extent < 1.4:
                found.append(Detection(points, face.depth * factor[0], face.confidence))
        return found

    def close(self) -> None:
        """See `FaceDetector.close`."""
        for mesh in self._meshes.values():
            mesh.close()
        self._meshes.clear()


class FaceAlignmentDetector:
    """Detect the 68 iBUG points by the face-alignment package (Bulat and Tzimiropoulos 2017), with depth 0.

    Args:
        network: of `load_face_alignment`, or anything with its `get_landmarks_from_image`.
    """

    set_name = IBUG

    def __init__(self, network: Any) -> None:
        self._network = network
        self._last: Detection | None = None

    def detect(self, image: np.ndarray) -> Detection | None:
        """See `FaceDetector.detect`."""
        landmarks, scores, _ = self._network.get_landmarks_from_image(
            np.ascontiguousarray(image), return_bboxes=True, return_landmark_score=True
        )
        faces = [
            # The network returns pixel indices: the first pixel's centre is 0 there and 0.5 here.
            Detection(points[:, :2].astype(np.float32) + 0.5, np.zeros(len(points), np.float32),
                      float(np.clip(np.mean(np.asarray(score)), 0, 1)))
            for points, score in zip(landmarks or [], scores or [], strict=True)
        ]  # fmt: skip
        self._last = choose_face(faces, image.shape[:2], self._last) if faces else None
        return self._last

    def close(self) -> None:
        """See `FaceDetector.close`."""
        self._network = None


def load_face_alignment(weights: str, detector_weights: str, device: str) -> Any:
    """Load face-alignment's network from two local files of weights.

    Args:
        weights: state dictionary of 2DFAN-4.
        detector_weights: state dictionary of the S3FD face detector.
        device: "cpu" or "cuda:0".
    """
    import torch
    from face_alignment import api

    class LocalFaceAlignment(api.FaceAlignment):
        """Read the network's weights from a file where the package would download them."""

        def _load_native(
            self, network_name: str, network_size: int, device: str, dtype: torch.dtype
        ) -> torch.nn.Module:
            network = api.FAN(network_size)
            network.load_state_dict(torch.load(weights, map_location=device, weights_only=True))
            return network.to(device, dtype=dtype).eval()

    return LocalFaceAlignment(
        api.LandmarksType.TWO_D, device=device, flip_input=False, compile=False,
        face_detector_kwargs={"path_to_detector": detector_weights},
    )  # fmt: skip


def _plausible(detection: Detection, shape: tuple[int, int]) -> bool:
    """Check that a detection is finite, large enough and mostly inside the image (height, width)."""
    points = detection.points_px
    if not np.isfinite(points).all() or not np.isfinite(detection.depth).all():
        return False
    right, left = landmark_set(MEDIAPIPE).outer_eyes
    if np.linalg.norm(points[right] - points[left]) < _LEAST_EYE_DISTANCE_PX:
        return False
    inside = (points >= 0).all(1) & (points[:, 0] < shape[1]) & (points[:, 1] < shape[0])
    return bool(inside.mean() > 0.5)
