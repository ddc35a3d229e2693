"""Measure the fidelity of expression and pose: track the avatar's own images again, and compare with what was asked.

AKD, AED and APD (average keypoint, expression and pose distance; Siarohin et al. 2019, Ren et al. 2021), here in units
that do not hang on the model or the image's size: see each function. The tracker errs, too: on the true images
these metrics are not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np

from selfieavatar.detection.landmarks import FaceDetector
from selfieavatar.evaluation.regions import mean_or_none
from selfieavatar.fitting.landmark_measures import BLINK_SHARE, inter_ocular_distance, openings, usual_opening
from selfieavatar.fitting.landmark_solver import FitResult, SolverSettings, fit_landmarks
from selfieavatar.geometry.camera import Camera, rotation_matrix
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, LandmarkSet, landmark_set, landmark_weights
from selfieavatar.morphable.model import MorphableModel

METRICS = ("akd", "aed", "apd_deg", "jitter", "jitter_truth")
OPENINGS = ("lids", "lids_truth", "lips", "lips_truth")  # of each frame, over the distance of the outer eye corners
STILL = 0.01  # standard deviation of an opening below which it is the tracker's noise
FOLLOWING = ("lid_correlation", "lid_amplitude", "lid_closing", "lip_correlation", "lip_amplitude")


class Tracker:
    """Landmark tracker of the images of one clip, in order; the detector belongs to the clip.

    side_px: to which smaller images are enlarged, since detectors look for faces of a usual size.
    """

    def __init__(self, detector: FaceDetector, side_px: int = 512) -> None:
        self.detector, self.side_px = detector, side_px
        self._count = landmark_set(detector.set_name).count
        self._points: list[np.ndarray] = []

    def add(self, images: Iterable[np.ndarray]) -> None:
        """Track one more image (S,S,3) uint8."""
        for image in images:
            zoom = max(1.0, self.side_px / image.shape[0])
            side = round(image.shape[0] * zoom)
            shown = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) if zoom > 1 else image
            face = self.detector.detect(shown)
            lost = np.full((self._count, 2), np.nan)
            self._points.append(lost if face is None else face.points_px * (image.shape[0] / side))

    @property
    def points(self) -> np.ndarray:
        """List the landmarks (N, L, 2) px of the images as they were given, NaN where no face was found."""
        return np.stack(self._points) if self._points else np.zeros((0, self._count, 2))


def fit_points(model: MorphableModel, camera: Camera, points: np.ndarray, set_name: str) -> FitResult:
    """Fit pose and expression of each frame for itself to landmarks (N, L, 2) px; NaN rows stay NaN."""
    distance = np.nan_to_num(inter_ocular_distance(points, set_name)) if len(points) else np.zeros(0)
    apart = np.zeros(max(len(points) - 1, 0), bool)
    settings = replace(SolverSettings(), temporal=0.0)
    return fit_landmarks(model, camera, points, landmark_weights(set_name), distance, apart, settings)


def keypoint_distance(points: np.ndarray, wanted: np.ndarray, set_name: str) -> np.ndarray:
    """Compute AKD (N,): mean distance of landmarks (N, L, 2) over the inter-ocular distance of the wanted ones."""
    return np.linalg.norm(points - wanted, axis=2).mean(1) / inter_ocular_distance(wanted, set_name)


def expression_distance(expression: np.ndarray, wanted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Compute AED (N,): mean absolute difference of coefficients (N, E), in standard deviations `scale` (E,)."""
    return np.abs((expression - wanted) / np.maximum(scale, 1e-6)).mean(1)


def pose_distance_deg(rotation: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Compute APD (N,): angle between two rotations (N, 3) axis-angle, in degrees."""
    known = np.isfinite(rotation).all(1) & np.isfinite(wanted).all(1)
    turn = np.swapaxes(rotation_matrix(np.nan_to_num(wanted)), 1, 2) @ rotation_matrix(np.nan_to_num(rotation))
    # From the sine as well: the arc cosine alone loses small angles to rounding.
    sine = np.linalg.norm(turn - np.swapaxes(turn, 1, 2), axis=(1, 2)) / (2 * np.sqrt(2))
    angle = np.degrees(np.arctan2(sine, (np.trace(turn, axis1=1, axis2=2) - 1) / 2))
    return np.where(known, angle, np.nan)


def jitter(points: np.ndarray, order: np.ndarray, set_name: str) -> np.ndarray:
    """Compute jitter (N,): mean length of the landmarks' second difference over the inter-ocular distance.

    It is taken over each frame and its two neighbours; NaN where one of them is missing or has no face.

    points: (N, L, 2) px. order: (N,) number of each image; neighbours are one apart.
    """
    found = np.full(len(points), np.nan)
    middle = np.flatnonzero((np.diff(order[:-1]) == 1) & (np.diff(order[1:]) == 1)) + 1
    second = points[middle - 1] - 2 * points[middle] + points[middle + 1]
    found[middle] = np.linalg.norm(second, axis=2).mean(1) / inter_ocular_distance(points[middle], set_name)
    return found


def following(opening: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Compare how far lids or lips (N,) open in the avatar and in the truth; NaN where that is not known.

    Returns:
        Correlation and amplitude, the ratio of both standard deviations, where the truth moves by more than STILL;
        closing, the mean share of the truth's closing that the avatar reaches in frames where the truth is closed.
    """
    known = np.isfinite(opening) & np.isfinite(truth)
    mine, true = opening[known], truth[known]
    correlation = amplitude = closing = float("nan")
    if len(mine) and true.std() > STILL:
        correlation = float(np.corrcoef(mine, true)[0, 1]) if mine.std() > 1e-9 else 0.0
        amplitude = float(mine.std() / true.std())
    usual, true_usual = usual_opening(mine), usual_opening(true)
    closed = true < BLINK_SHARE * true_usual
    if closed.any() and usual > 0:
        shares = ((usual - mine[closed]) / usual) / ((true_usual - true[closed]) / true_usual)
        closing = float(shares.mean())
    return correlation, amplitude, closing


class Retracking:
    """Tracker of the avatar's images and of the true ones alike, clip by clip, which compares both.

    model, camera: of the avatar. detector: makes a fresh detector for each clip. side_px: see `Tracker`.
    """

    def __init__(
        self, model: MorphableModel, camera: Camera, detector: Callable[[], FaceDetector], side_px: int
    ) -> None:  # fmt: skip
        self.model, self.camera, self._detector, self._side_px = model, camera, detector, side_px
        self._clips: list[tuple[Tracker, Tracker, list[np.ndarray]]] = []
        self._frames: dict[str, np.ndarray] | None = None

    def start_clip(self) -> None:
        """Start another clip."""
        self._close()
        mine, true = (Tracker(self._detector(), self._side_px) for _ in range(2))
        self._clips.append((mine, true, []))

    def add(self, order: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Track N frames of the clip: order as of `TemporalSheet.add`, images (N,S,S,3) float in [0,1]."""
        for tracker, images in zip(self._clips[-1][:2], (predicted, truth), strict=True):
            tracker.add(np.round(images * 255).astype(np.uint8))
        self._clips[-1][2].append(order)

    def _close(self) -> None:
        for tracker in self._clips[-1][:2] if self._clips else ():
            tracker.detector.close()

    def per_frame(self) -> dict[str, np.ndarray]:
        """List {metric: (N,)} of all frames, in the order of adding, NaN without a face; no more can be added.

        The images of repeated frames do not count for the jitter, nor do frames without two neighbours.
        """
        if self._frames is None:
            self._close()
            clips = [self._compare(mine, true, np.concatenate(orders)) for mine, true, orders in self._clips]
            names = (*METRICS, *OPENINGS)
            self._frames = {name: np.concatenate([np.zeros(0), *(clip[name] for clip in clips)]) for name in names}
        return self._frames

    def summary(self) -> dict[str, float | int | None]:
        """Average over frames, count those with a face in both images, and tell how lids and lips follow."""
        frames = self.per_frame()
        found = int(np.isfinite(frames["akd"]).sum())
        lids, lips = (following(frames[name], frames[f"{name}_truth"]) for name in ("lids", "lips"))
        # lips are closed most of the time: their closing says nothing
        followed = dict(zip(FOLLOWING, (*lids, *lips[:2]), strict=True))
        means = {name: mean_or_none(frames[name]) for name in METRICS}
        return {"found": found} | means | {name: value if value == value else None for name, value in followed.items()}

    def notes(self) -> list[str]:
        """Say why metrics are None."""
        why = dict.fromkeys((*METRICS, *FOLLOWING), "no frame shows a face both in the image and in the truth")
        why["jitter"] = why["jitter_truth"] = "no three frames that follow each other show a face"
        summary = self.summary()
        if summary["found"]:
            why |= dict.fromkeys(FOLLOWING[:2], "the true lids hardly move") | {
                "lid_closing": "no true eyes are closed"
            }
            why |= dict.fromkeys(FOLLOWING[3:], "the true lips hardly move")
        return [f"{name}: {why[name]}" for name in (*METRICS, *FOLLOWING) if summary[name] is None]

    def _compare(self, mine: Tracker, true: Tracker, order: np.ndarray) -> dict[str, np.ndarray]:
        name = mine.detector.set_name
        fits = [fit_points(self.model, self.camera, tracker.points, name) for tracker in (mine, true)]
        expressions, rotations = ([getattr(fit, part) for fit in fits] for part in ("expression", "rotation"))
        new = np.concatenate([[True], np.diff(order) > 0])
        trembling = [np.full(len(order), np.nan) for _ in range(2)]
        for values, tracker in zip(trembling, (mine, true), strict=True):
            values[new] = jitter(tracker.points[new], order[new], name)
        unknown = np.full((len(order), 3), np.nan)
        opened = [found if (found := openings(t.points, name)) is not None else unknown for t in (mine, true)]
        lids, lips = ([values[:, part] for values in opened] for part in (slice(0, 2), 2))
        return dict(zip(OPENINGS, (*(values.mean(1) for values in lids), *lips), strict=True)) | {
            "akd": keypoint_distance(mine.points, true.points, name),
            "aed": expression_distance(expressions[0], expressions[1], self.model.expression_scale),
            "apd_deg": pose_distance_deg(*rotations),
            "jitter": trembling[0],
            "jitter_truth": trembling[1],
        }


class Tracked(Protocol):
    """Interface of an avatar here: the model that its person was tracked with."""

    @property
    def model(self) -> MorphableModel:
        """Return the face model."""

    @property
    def camera(self) -> Camera:
        """Return the camera of the images."""

    @property
    def landmark_set(self) -> LandmarkSet:
        """Return the landmarks that the model has."""


def retracking_of(
    avatar: Tracked, detector: Callable[[], FaceDetector], side_px: int
) -> tuple[Retracking | None, str]:  # fmt: skip
    """Build what tracks an avatar's images again with MediaPipe (`detector`), or None and the reason."""
    if not side_px:
        return None, "tracked: left out by evaluate.retrack_px: 0"
    if avatar.landmark_set.name != MEDIAPIPE:
        return None, f"tracked: images are tracked again by MediaPipe, not by {avatar.landmark_set.name}"
    return Retracking(avatar.model, avatar.camera, detector, side_px), ""
