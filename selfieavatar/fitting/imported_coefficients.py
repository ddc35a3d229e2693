"""Coefficients that others have fitted, as a subject's: one camera, our linear model, the head's pose.

The file's own model and camera say where each landmark is. From there come the coefficients of the linear model and,
since a subject has one camera while crops and calibrations differ, the pose in which that camera sees the landmarks
nearest to where the file's camera sees them. What is left over is said in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.fitting import smoothing
from selfieavatar.fitting.clip_fit import ClipFit, gaze_of_irises, reprojection_error, smooth_gaze
from selfieavatar.fitting.landmark_measures import inter_ocular_distance
from selfieavatar.geometry.camera import Camera, rotation_matrix
from selfieavatar.geometry.pnp import rigid_pose, solve_pnp
from selfieavatar.io.files import expand
from selfieavatar.io.manifest import Manifest
from selfieavatar.morphable.coefficient_files import (
    Coefficients,
    check_coefficients,
    no_image,
    numbers_of,
    read_coefficients,
)
from selfieavatar.morphable.landmark_sets import MEDIAPIPE
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.published.flame import JAW_NAMES, FlameModel
from selfieavatar.morphable.published.published_model import PublishedModel, to_ours
from selfieavatar.settings.sections import Fit

_AT_ONCE = 64  # frames: a whole clip of skinned heads would not fit into memory
_EYES = slice(2, 4)  # of neck, jaw, left eye, right eye


@dataclass(frozen=True)
class Crop:
    """The square cut of the source: left, top and side in source px, the source's side in px, the frame's in px."""

    window: tuple[float, float, float]
    source_px: int
    size_px: int

    def camera(self, track: Coefficients) -> tuple[np.ndarray, np.ndarray]:
        """Focal lengths (2,) and principal point (2,) of the file's camera in px of the frame."""
        zoom = self.size_px / self.window[2]
        return track.focal * self.source_px * zoom, (track.principal * self.source_px - self.window[:2]) * zoom


@dataclass(frozen=True)
class Placement:
    """Coefficients of N imported frames.

    rotation (N, 3) rad, translation (N, 3) cm, expression (N, E), gaze (N, 4) rad, NaN where the file does not say,
    residual (N,) px, root mean square distance between the landmarks as our and the file's camera see them.
    """

    rotation: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray
    residual: np.ndarray


def read_clip(path: Path, settings: Fit, decode: Manifest) -> tuple[Coefficients, np.ndarray, Crop]:
    """Read the file's frames that the clip shows (n), their rows in the clip (n,), and the clip's crop.

    settings: the section `fit`, of which `model` and `model_path` count.

    Raises:
        UserError: the file is unusable or not of the model, names none of the clip's images, or the source is not
        square.
    """
    model, source = settings.model, Path(decode.metadata["source"])
    check_coefficients(path, model, expand(settings.model_path), source)
    track = read_coefficients(path, model)
    width, height = decode.metadata["source_size"]
    if width != height:
        raise UserError(f"{path} is for square images, but {source} is {width} x {height} pixels; give the squares "
                        "that the coefficients were fitted to")  # fmt: skip
    numbers = numbers_of(path, model, source, decode["source_frame"])
    found = track.rows_of(numbers)
    rows = np.flatnonzero(found >= 0)
    if not len(rows):
        raise no_image(path, track, source, numbers)
    x, y, side = decode.metadata["crop_px"]
    return track.take(found[rows]), rows, Crop((x, y, side), int(width), int(decode.metadata["size_px"]))


def padded(coefficients: np.ndarray, count: int) -> np.ndarray:
    """Return (..., K) with zeros to (..., count): files hold the first of a model's coefficients."""
    return np.pad(coefficients, [(0, 0)] * (coefficients.ndim - 1) + [(0, count - coefficients.shape[-1])])


def common_camera(cameras: list[tuple[np.ndarray, np.ndarray]], size_px: int) -> Camera:
    """Average the clips' cameras to that of the subject: focal lengths geometrically, principal points plainly."""
    focal = float(np.exp(np.mean([np.log(focal).mean() for focal, _ in cameras])))
    principal = np.mean([principal for _, principal in cameras], axis=0)
    return Camera(focal, (float(principal[0]), float(principal[1])), size_px)


def place(
    published: PublishedModel, person: MorphableModel, camera: Camera, track: Coefficients, crop: Crop
) -> Placement:
    """Convert the frames of `track` to poses and coefficients of the subject's `person`, seen by its `camera` (PnP)."""
    expression, landmarks = _posed(published, track)
    places = (landmarks + published.origin) @ np.swapaxes(track.rotation, 1, 2) + track.translation[:, None]
    focal, principal = crop.camera(track)
    pixels = focal * places[..., :2] / places[..., 2:] + principal
    corners = person.landmark_vertices[person.used_landmarks]
    shapes = _in_parts(lambda part: person.vertices(part)[:, corners], expression).astype(float)
    rotation, translation = rigid_pose(shapes, places)
    # The subject's camera sees the same size at another distance, and the middle of the image elsewhere.
    depth = translation[:, 2:] * camera.focal_px / np.sqrt(focal.prod())
    middle = focal * translation[:, :2] / translation[:, 2:] + principal - camera.principal
    guess = np.concatenate([middle * depth / camera.focal_px, depth], 1)
    rotation, translation, residual = solve_pnp(shapes, pixels, camera, rotation, guess)
    return Placement(rotation, translation, expression, _gaze(track), residual)


def _posed(published: PublishedModel, track: Coefficients) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (N, E) of the linear model, and the landmarks (N, M, 3) by the file's own model in its own place."""
    owner = published.with_identity(padded(track.identity, published.identity_count))
    corners = owner.landmark_vertices[owner.used_landmarks]
    if not isinstance(published, FlameModel):
        return track.expression, _in_parts(lambda part: owner.vertices(part)[:, corners], track.expression)
    own = owner.expression_count - len(JAW_NAMES)
    expression = padded(track.expression, own)
    pose = np.concatenate([track.root[:, None], track.joints], 1)
    jaw_alone = np.zeros_like(pose)
    jaw_alone[:, 2] = pose[:, 2]
    basis = np.linalg.pinv(owner.expression_basis[own:].reshape(len(JAW_NAMES), -1).astype(float))

    def jaw(expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
        shut = owner.vertices(padded(expression, owner.expression_count))
        return (published.posed_vertices(owner, expression, pose) - shut).reshape(len(pose), -1) @ basis

    landmarks = _in_parts(lambda *part: published.posed_vertices(owner, *part)[:, corners], expression, pose)
    return np.concatenate([expression, _in_parts(jaw, expression, jaw_alone)], 1), landmarks


def _in_parts(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """function(*arrays), a few frames at a time."""
    parts = [slice(start, start + _AT_ONCE) for start in range(0, max(len(arrays[0]), 1), _AT_ONCE)]
    return np.concatenate([function(*(array[part] for array in arrays)) for part in parts])


def _gaze(track: Coefficients) -> np.ndarray:
    """Return yaw and pitch (N, 4) of both eyes from their joints; NaN where there are none, or none ever turned."""
    if track.joints.shape[1] < _EYES.stop or not track.joints[:, _EYES].any():
        return np.full((len(track.number), 4), np.nan)
    # An eye at rest looks along -z.
    ahead = -rotation_matrix(to_ours(track.joints[:, _EYES]).astype(float))[..., 2]
    angles = [np.arctan2(ahead[..., 0], -ahead[..., 2]), np.arcsin(np.clip(ahead[..., 1], -1, 1))]
    return np.stack(angles, -1).reshape(-1, 4)


def imported_clip(
    person: MorphableModel, camera: Camera, placed: Placement, rows: np.ndarray, points: np.ndarray, time_s: np.ndarray,
    settings: Fit, set_name: str = MEDIAPIPE,
) -> ClipFit:  # fmt: skip
    """Assemble a clip's fit as the file says, unsmoothed; frames that it lacks are lost, never bridged.

    Args:
        placed: the n frames that the file has, rows: (n,) their rows in the clip. points: (N, L, 2) px of our detector,
        NaN where no face was found: they measure the error, tell cuts and, where the file says nothing of the eyes,
        the gaze. time_s: (N,). settings: the configuration's section `fit`.
    """

    def spread(values: np.ndarray) -> np.ndarray:
        out = np.full((len(points), *values.shape[1:]), np.nan)
        out[rows] = values
        return out

    rotation, translation, expression, gaze = map(
        spread, (placed.rotation, placed.translation, placed.expression, placed.gaze)
    )
    eye_distance = inter_ocular_distance(points, set_name)
    pose = np.concatenate([rotation, translation], 1)
    error = reprojection_error(person, camera, points, eye_distance, pose, expression)
    fitted = np.isfinite(pose).all(1) & ~(error > settings.max_error)
    quality = np.where(fitted, smoothing.OK, smoothing.LOST).astype(object)
    cuts = smoothing.find_cuts(points, time_s, eye_distance, settings.longest_gap_s)
    runs = smoothing.takes(quality, cuts)
    if not np.isfinite(gaze).any():
        gaze = gaze_of_irises(person, camera, points, rotation, translation, fitted, set_name)
        gaze = smooth_gaze(gaze, runs, time_s, settings)
    for values in (rotation, translation, expression, gaze, error):
        values[~fitted] = np.nan
    return ClipFit(fitted, rotation, translation, expression, gaze, error, quality, cuts)
