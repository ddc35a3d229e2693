"""Fidelity of expression and pose: the avatar's own pictures are tracked again, and compared with what was asked.

AKD, AED and APD (average keypoint, expression and pose distance; Siarohin et al. 2019, Ren et al. 2021), here in units
that do not hang on the model or the picture's size: see each function. The tracker errs, too: on the true pictures
these figures are not zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from stages.face.camera import Camera, rotation_matrix
from stages.face.clip import eye_span
from stages.face.detector import FaceDetector
from stages.face.landmark_sets import landmark_set, landmark_weights
from stages.face.morphable import MorphableModel
from stages.face.solver import FitResult, SolverSettings, fit_landmarks


class Tracker:
    """Landmarks of the pictures of one clip, in order; the detector belongs to the clip.

    side_px: to which smaller pictures are enlarged, since detectors look for faces of a usual size.
    """

    def __init__(self, detector: FaceDetector, side_px: int = 512) -> None:
        self.detector, self.side_px = detector, side_px
        self._count = landmark_set(detector.set_name).count
        self._points: list[np.ndarray] = []

    def add(self, pictures: Iterable[np.ndarray]) -> None:
        """More pictures (S,S,3) uint8."""
        for picture in pictures:
            zoom = max(1.0, self.side_px / picture.shape[0])
            side = round(picture.shape[0] * zoom)
            shown = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC) if zoom > 1 else picture
            face = self.detector.detect(shown)
            lost = np.full((self._count, 2), np.nan)
            self._points.append(lost if face is None else face.points_px * (picture.shape[0] / side))

    @property
    def points(self) -> np.ndarray:
        """(N, L, 2) px of the pictures as they were given, NaN where no face was found."""
        return np.stack(self._points) if self._points else np.zeros((0, self._count, 2))


def fit_points(model: MorphableModel, camera: Camera, points: np.ndarray, set_name: str) -> FitResult:
    """Pose and expression of each frame for itself from landmarks (N, L, 2) px; NaN rows stay NaN."""
    span = eye_span(points, set_name) if len(points) else np.zeros(0)
    apart = np.zeros(max(len(points) - 1, 0), bool)
    settings = replace(SolverSettings(), temporal=0.0)
    return fit_landmarks(model, camera, points, landmark_weights(set_name), np.nan_to_num(span), apart, settings)


def keypoint_distance(points: np.ndarray, wanted: np.ndarray, set_name: str) -> np.ndarray:
    """(N,) AKD: mean distance of the landmarks (N, L, 2) over the wanted ones' outer eye corner distance."""
    return np.linalg.norm(points - wanted, axis=2).mean(1) / eye_span(wanted, set_name)


def expression_distance(expression: np.ndarray, wanted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(N,) AED: mean absolute difference of the coefficients (N, E), in standard deviations `scale` (E,)."""
    return np.abs((expression - wanted) / np.maximum(scale, 1e-6)).mean(1)


def pose_distance_deg(rotation: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,) APD: angle between two rotations (N, 3) axis-angle, in degrees."""
    known = np.isfinite(rotation).all(1) & np.isfinite(wanted).all(1)
    turn = np.swapaxes(rotation_matrix(np.nan_to_num(wanted)), 1, 2) @ rotation_matrix(np.nan_to_num(rotation))
    # From the sine as well: the arc cosine alone loses small angles to rounding.
    sine = np.linalg.norm(turn - np.swapaxes(turn, 1, 2), axis=(1, 2)) / (2 * np.sqrt(2))
    angle = np.degrees(np.arctan2(sine, (np.trace(turn, axis1=1, axis2=2) - 1) / 2))
    return np.where(known, angle, np.nan)


def jitter(points: np.ndarray, order: np.ndarray, set_name: str) -> np.ndarray:
    """(M,) trembling: mean length of the landmarks' second difference over the outer eye corner distance, of the M
    triples of neighbouring frames; NaN where a frame has no face.

    points: (N, L, 2) px. order: (N,) number of each picture; neighbours are one apart.
    """
    middle = np.flatnonzero((np.diff(order[:-1]) == 1) & (np.diff(order[1:]) == 1)) + 1
    second = points[middle - 1] - 2 * points[middle] + points[middle + 1]
    return np.linalg.norm(second, axis=2).mean(1) / eye_span(points[middle], set_name)
