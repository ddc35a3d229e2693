"""One clip from landmarks to smooth coefficients: fit, gaps, gaze, smoothing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from selfieavatar.fitting import smoothing
from selfieavatar.fitting.gaze import conjugate, gaze_angles
from selfieavatar.fitting.landmark_measures import inter_ocular_distance, lid_area
from selfieavatar.fitting.landmark_solver import LandmarkFit, SolverSettings, fit_landmarks
from selfieavatar.geometry.camera import Camera
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, landmark_weights
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.settings.sections import Fit


@dataclass
class ClipFit:
    """Coefficients of a clip's N frames; rows of lost frames are NaN.

    fitted (N,) bool; rotation (N, 3) rad; translation (N, 3) cm; expression (N, E); gaze (N, 4) rad; error (N,) median
    reprojection error over the eye distance (NaN for bridged and lost frames); quality (N,) "ok", "bridged" or "lost";
    cuts (N - 1,) bool.
    """

    fitted: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray
    error: np.ndarray
    quality: np.ndarray
    cuts: np.ndarray


def joined(parts: list[ClipFit]) -> ClipFit:
    """Join the parts of a clip, fitted by themselves; where they meet the footage goes on: no cut."""
    if len(parts) == 1:
        return parts[0]
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(ClipFit)
        if field.name != "cuts"
    }
    cuts = [part.cuts if number == 0 else np.append(False, part.cuts) for number, part in enumerate(parts)]
    return ClipFit(**columns, cuts=np.concatenate(cuts))


def solver_settings(settings: Fit) -> SolverSettings:
    """Read the solver's settings from the configuration's section `fit`."""
    return SolverSettings(noise=settings.landmark_noise, prior=settings.prior, temporal=settings.temporal)


def fit_clip(
    model: MorphableModel, camera: Camera, points: np.ndarray, time_s: np.ndarray, settings: Fit,
    set_name: str = MEDIAPIPE,
) -> ClipFit:  # fmt: skip
    """Fit a clip.

    Args:
        model: the subject's model. camera: in the pixels of `points`. points: (N, L, 2) px, NaN where no face was
        found. time_s: (N,) s. settings: the configuration's section `fit`. set_name: the landmark set of `points`.
    """
    gap = settings.longest_gap_s
    eye_distance = inter_ocular_distance(points, set_name)
    cuts = smoothing.find_cuts(points, time_s, eye_distance, gap)
    weights = landmark_weights(set_name)
    raw = fit_landmarks(model, camera, points, weights, eye_distance, ~cuts, solver_settings(settings))
    fitted = np.isfinite(raw.error) & (raw.error <= settings.max_error)
    wrong = np.isfinite(raw.error) & ~fitted
    if wrong.any():
        # What is not this face must neither pull its neighbours nor look like a cut.
        points = np.where(wrong[:, None, None], np.nan, points)
        cuts = smoothing.find_cuts(points, time_s, eye_distance, gap)
        raw = fit_landmarks(model, camera, points, weights, eye_distance, ~cuts, solver_settings(settings), raw)
        fitted &= np.isfinite(raw.error) & (raw.error <= settings.max_error)
    quality = smoothing.frame_quality(fitted, time_s, cuts, gap)
    runs = smoothing.takes(quality, cuts)
    gaze = gaze_of_irises(model, camera, points, raw.rotation, raw.translation, fitted, set_name)
    gaze = smooth_gaze(gaze, runs, time_s, settings)
    pose = smoothing.bridge(np.concatenate([raw.rotation, raw.translation], 1), quality, time_s)
    expression = smoothing.bridge(raw.expression, quality, time_s)
    pose = smoothing.smooth(pose, time_s, runs, settings.smooth_pose_s)
    openings = smoothing.bridge(lid_area(points, eye_distance, set_name), quality, time_s)
    expression = smoothing.smooth(expression, time_s, runs, settings.smooth_expression_s, openings)
    good = quality != smoothing.LOST
    gaze[~good] = np.nan
    error = reprojection_error(model, camera, points, eye_distance, pose, expression)
    error[quality != smoothing.OK] = np.nan
    return ClipFit(good, pose[:, :3], pose[:, 3:], expression, gaze, error, quality, cuts)


def gaze_of_irises(
    model: MorphableModel, camera: Camera, points: np.ndarray, rotation: np.ndarray, translation: np.ndarray,
    fitted: np.ndarray, set_name: str,
) -> np.ndarray:  # fmt: skip
    """Estimate the gaze (N, 4), rad, from the irises of points (N, L, 2) px at poses (N, 3), (N, 3).

    NaN where `fitted` (N,) is False, where the irises tell nothing, as behind closed lids, and of sets without irises.
    """
    if set_name != MEDIAPIPE:
        return np.full((len(points), 4), np.nan)
    eyes = model.eye_center, model.eye_radius, model.iris_radius
    with np.errstate(invalid="ignore"):
        gaze, weight = gaze_angles(points, rotation, translation, camera, *eyes)
    gaze[~fitted] = np.nan
    return conjugate(gaze, weight)


def smooth_gaze(
    gaze: np.ndarray, runs: list[np.ndarray], time_s: np.ndarray, settings: Fit
) -> np.ndarray:  # fmt: skip
    """Gaze (N, 4) with its gaps held and its noise smoothed within each take."""
    return smoothing.smooth(smoothing.hold_gaps(gaze, runs, time_s), time_s, runs, settings.smooth_gaze_s)


def reprojection_error(
    model: MorphableModel,
    camera: Camera,
    points: np.ndarray,
    eye_distance: np.ndarray,
    pose: np.ndarray,
    expression: np.ndarray,
) -> np.ndarray:
    """Measure the median reprojection error of landmarks over the eye distance: (N,), NaN where either is missing."""
    shown = np.where((np.isfinite(pose).all(1))[:, None, None], points, np.nan)
    apart = np.zeros(max(len(points) - 1, 0), bool)
    task = LandmarkFit(model, camera, shown, np.ones(points.shape[1]), eye_distance, apart, SolverSettings())
    return task.result(task.start(pose[:, :3], pose[:, 3:], expression)).error
