"""Drive an avatar by a whole video of somebody: tracked first, calibrated over the whole clip, then carried over.

Unlike a live camera's, the frames to come are known: the neutral face, the usual pose and the crop are those of the
clip, and the coefficients are smoothed without lag.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from selfieavatar.avatar import Avatar
from selfieavatar.detection.landmarks import FaceDetector
from selfieavatar.errors import UserError
from selfieavatar.fitting.clip_fit import fit_clip
from selfieavatar.fitting.neutral import neutral_frames
from selfieavatar.geometry.camera import Camera
from selfieavatar.live.driver_model import driver_model
from selfieavatar.live.live_driver import CROP_SCALE
from selfieavatar.morphable.landmark_sets import FACE_VERTICES, MEDIAPIPE
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.retargeting.retarget import Actor, Carried, Motion, Retarget, driver_of
from selfieavatar.settings.config import read_section
from selfieavatar.settings.sections import Fit, Reenact
from selfieavatar.video.crop import choose_crop

_MODEL_FRAMES = 300  # most that the driver's model is made from
_PART, _OVERLAP = 3000, 60  # frames that are fitted at once, and that neighbouring parts share at either end


@dataclass(frozen=True)
class Track:
    """Landmarks of a video's N frames: points (N, 478, 2) px and depth (N, 478) float32, NaN without a face.

    times_s (N,); size (width, height) px.
    """

    points: np.ndarray
    depth: np.ndarray
    times_s: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True)
class Followed:
    """What the avatar is asked for in N frames: its motion, whether it was seen (N,) or is held, how much of it."""

    motion: Motion
    seen: np.ndarray
    carried: Carried


def track(frames: Iterable[tuple[int, float, np.ndarray]], detector: FaceDetector, size: tuple[int, int]) -> Track:
    """Find the face in frames (number, time in s, image) of a video; 6 KB a frame stay in memory.

    A frame that cannot be decoded is missing among them, and has no place in the track.
    """
    points: list[np.ndarray] = []
    depth: list[np.ndarray] = []
    times: list[float] = []
    nobody = np.full((FACE_VERTICES + 10, 3), np.nan, np.float32)
    for _, time_s, image in frames:
        face = detector.detect(image)
        points.append(nobody[:, :2] if face is None else face.points_px.astype(np.float32))
        depth.append(nobody[:, 2] if face is None else face.depth.astype(np.float32))
        times.append(time_s)
    return Track(np.array(points), np.array(depth), np.array(times), size)


def check_follower(avatar: Avatar) -> None:
    """Refuse an avatar that cannot follow MediaPipe's landmarks of another person.

    Raises:
        UserError: it was tracked by others, or does not know its usual pose.
    """
    if avatar.landmark_set.name != MEDIAPIPE or avatar.model.template.shape[0] != FACE_VERTICES:
        raise UserError(
            f"avatar '{avatar.subject}' has not been tracked on MediaPipe's mesh, which a video needs to drive it; use "
            "the workflow (snakemake results/<subject>/reenact/<driver>--<clip>.mp4)"
        )
    if avatar.identity.pose_range is None:
        raise UserError("the avatar's identity lacks pose_rest, pose_low, pose_high; train it again")


def follow(avatar: Avatar, track: Track, settings: Reenact, is_person: bool = False) -> Followed:
    """Carry over what the driver does; where no face is seen, the last motion is held (before the first, the first).

    Args:
        avatar: who follows. track: of the driver. settings: pose, gain and limits. is_person: the driver is the
        avatar's own person, whose face model is known.

    Raises:
        UserError: no frame shows a face that can be followed.
    """
    check_follower(avatar)
    nobody = UserError("no frame of the video shows a face that the avatar could follow; choose another video")
    there = np.flatnonzero(np.isfinite(track.points).all((1, 2)))
    if not len(there):
        raise nobody
    boxes = np.concatenate([track.points[there].min(1), track.points[there].max(1)], axis=1)
    x0, y0, side = choose_crop(boxes, track.size, CROP_SCALE)
    corner, camera = np.array([x0, y0], np.float32), avatar.identity.camera.scaled(side)
    model = avatar.model if is_person else _model_of(avatar.model, track, there, corner, camera)
    motion, seen = _fit(model, camera, track.points - corner, track.times_s)
    if not seen.any():
        raise nobody
    rows = np.flatnonzero(seen)
    shown = _rows(motion, rows)
    driver = driver_of(model, camera, shown, avatar.landmark_set)
    if is_person:
        driver = Actor(model, camera, np.zeros(model.expression_count), driver.reference)
    poses = avatar.identity.pose_range
    assert poses is not None  # checked
    target = Actor(avatar.model, avatar.camera, np.zeros(avatar.model.expression_count), poses.reference.astype(float))
    carry = Retarget(
        driver, target, avatar.landmark_set, np.stack([poses.low, poses.high]).astype(float), settings.pose,
        settings.gain, settings.overshoot, settings.pose_overshoot,
    )  # fmt: skip
    last = np.maximum(np.maximum.accumulate(np.where(seen, np.cumsum(seen) - 1, -1)), 0)
    return Followed(_rows(carry(shown), last), seen, carry.carried(shown))


def _model_of(
    person: MorphableModel, track: Track, there: np.ndarray, corner: np.ndarray, camera: Camera
) -> MorphableModel:
    """Make the driver's model from the most neutral of a few hundred frames."""
    some = there[np.linspace(0, len(there) - 1, min(_MODEL_FRAMES, len(there))).round().astype(int)]
    calm = some[np.sort(neutral_frames(track.points[some].astype(float)))]
    return driver_model(person, (track.points[calm] - corner).astype(float), track.depth[calm].astype(float), camera)


def _fit(model: MorphableModel, camera: Camera, points: np.ndarray, times_s: np.ndarray) -> tuple[Motion, np.ndarray]:
    """Fit the clip in overlapping parts, so that memory does not grow with it: motion and whether it is known (N,)."""
    count, settings = len(points), read_section(Fit, {}, "fit")
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    for start in range(0, count, _PART):
        first, stop = max(start - _OVERLAP, 0), min(start + _PART, count)
        part = slice(first, min(stop + _OVERLAP, count))
        fit = fit_clip(model, camera, points[part].astype(float), times_s[part], settings)
        inner = slice(start - first, stop - first)
        for column, values in zip(
            columns, (fit.rotation, fit.translation, fit.expression, fit.gaze, fit.fitted), strict=True
        ):
            column.append(values[inner])
    rotation, translation, expression, gaze, fitted = (np.concatenate(parts) for parts in columns)
    seen = fitted & np.isfinite(np.concatenate([rotation, translation, expression], axis=1)).all(1)
    return Motion(rotation, translation, expression, np.nan_to_num(gaze)), seen


def _rows(motion: Motion, rows: np.ndarray) -> Motion:
    return Motion(motion.rotation[rows], motion.translation[rows], motion.expression[rows], motion.gaze[rows])
