"""Drive an avatar by the face in a camera's images, one after the other: landmarks, fit, retargeting, painting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from selfieavatar.detection.landmarks import Detection, FaceDetector, MediaPipeDetector
from selfieavatar.errors import UserError
from selfieavatar.fitting.online import OnlineFit, OnlinePose
from selfieavatar.fitting.registration import SkinRegistration, small_side
from selfieavatar.live.driver_model import driver_model
from selfieavatar.morphable.landmark_sets import FACE_VERTICES, MEDIAPIPE
from selfieavatar.retargeting.retarget import Actor, Motion, Retarget
from selfieavatar.video.crop import choose_crop

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.runtime.exported_avatar import ExportedAvatar

State = Literal["calibrating", "following", "no face", "another face"]

CROP_SCALE = 2.3  # side of the square around the driver in face heights, as avatars are filmed
_LEAST_FRAMES = 8  # of a calibration
_STRANGE_S = 1.0  # for so long the fit may fail on a face that is seen, before it is another one


@dataclass(frozen=True)
class LiveFrame:
    """One frame of a live avatar.

    image (S, S, 3) uint8 RGB; alpha (S, S) uint8, 255 on the person; motion: what the avatar was asked for, one frame;
    state: what it stands for, since without a face the last motion holds; timings_ms: of each step.
    """

    image: np.ndarray
    alpha: np.ndarray
    motion: Motion
    state: State
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tracked:
    """First half of a frame: what the avatar is asked for, what that stands for, and how long it took."""

    motion: Motion
    state: State
    timings_ms: dict[str, float] = field(default_factory=dict)


def draw_motion(avatar: Avatar | ExportedAvatar, motion: Motion, timings: dict[str, float]) -> Any:
    """Draw I_R and I_UV of one frame, and note the milliseconds."""
    with timed(timings, "render"):
        return avatar.pose(motion.rotation, motion.translation, motion.expression, motion.gaze)


def paint_motion(
    avatar: Avatar | ExportedAvatar, motion: Motion, drawn: Any = None
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Paint one frame: image (S, S, 3) uint8 RGB, alpha (S, S) uint8, and the milliseconds of each step.

    drawn: what `draw_motion` has made of the motion; None draws it here.
    """
    timings: dict[str, float] = {}
    images = draw_motion(avatar, motion, timings) if drawn is None else drawn
    with timed(timings, "paint"):
        painted, alpha = avatar.paint(*images)
        image, matte = eight_bit(painted[0]), eight_bit(alpha[0])[..., 0]
    return image, matte, timings


class LiveDriver:
    """Follow a face with an avatar; alone sufficient, and not thread-safe.

    The first second and a half that shows a face calibrates: the driver should look into the camera at rest. Then the
    avatar follows, relative to that. Another image size, or a face that the calibration does not fit, begin anew. The
    avatar's own person is also followed by the texture of their skin, as in the training.

    Constructing it keeps NumPy's BLAS to one thread in this process: matrices are small here, and threads that wait for
    work by spinning take a whole core from the painting.

    Args:
        avatar: to paint, of avatar.pt or of avatar.onnx.
        is_person: the driver is the avatar's own person, whose model is known.
        pose: "relative" to how the driver was held while calibrating, or "absolute", where the driver is in the crop.
        gain: on the expression. smooth: light smoothing without a frame of lag. calibration_s: length of a calibration.
        crop: (x0, y0, side) px of the camera's image that stands for the avatar's; None puts it around the driver.
        detector: of MediaPipe's landmarks.

    Raises:
        UserError: the avatar was tracked by other landmarks, or does not know its usual pose.
    """

    def __init__(
        self, avatar: Avatar | ExportedAvatar, *, is_person: bool = False, pose: str = "relative", gain: float = 1.0,
        smooth: bool = True, calibration_s: float = 1.5, crop: tuple[int, int, int] | None = None,
        detector: FaceDetector | None = None,
    ) -> None:  # fmt: skip
        threadpool_limits(1, user_api="blas")
        poses = avatar.identity.pose_range
        if avatar.landmark_set.name != MEDIAPIPE or avatar.model.template.shape[0] != FACE_VERTICES:
            raise UserError(f"avatar '{avatar.subject}' has not been tracked on MediaPipe's mesh, which live use needs")
        if poses is None:
            raise UserError("the avatar's identity lacks pose_rest, pose_low, pose_high; train it again")
        self.avatar, self.is_person, self.pose, self.gain, self.smooth = avatar, is_person, pose, gain, smooth
        self.calibration_s = calibration_s
        self._given_crop, self._detector = crop, detector or MediaPipeDetector()
        neutral = np.zeros(avatar.model.expression_count)
        self._target = Actor(avatar.model, avatar.camera, neutral, poses.reference.astype(float))
        self._reach = np.stack([poses.low, poses.high]).astype(float)
        self._rest = Motion(poses.reference[None, :3], poses.reference[None, 3:], neutral[None], np.zeros((1, 4)))
        self._size: tuple[int, ...] = ()
        self.recalibrate()

    def recalibrate(self) -> None:
        """Forget the driver; the next second and a half that shows a face is taken for their rest."""
        self._seen: list[tuple[Detection, np.ndarray | None]] = []  # with `_grey`
        self._since_s: float | None = None
        self._strange_s: float | None = None
        self._fit: OnlineFit | None = None
        self._skin: SkinRegistration | None = None
        self._retarget: Callable[[Motion], Motion] | None = None
        self._motion = self._rest

    def close(self) -> None:
        """Free the detector."""
        self._detector.close()

    def __call__(self, image: np.ndarray, time_s: float) -> LiveFrame:
        """Follow one image of the camera: `track`, then `paint`.

        Args:
            image: (H, W, 3) uint8 RGB. time_s: when it was taken, later than the one before.
        """
        return self.paint(self.track(image, time_s))

    def track(self, image: np.ndarray, time_s: float) -> Tracked:
        """Find what the avatar should do, the first half of a frame; arguments as of a call.

        The second half of the frame before, `paint`, may run in another thread meanwhile.
        """
        timings: dict[str, float] = {}
        if image.shape[:2] != self._size:
            self._size = image.shape[:2]
            self.recalibrate()
        with timed(timings, "landmarks"):
            face = self._detector.detect(image)
            face = face if face is not None and bool(np.isfinite(face.points_px).all()) else None
        state: State = "no face"
        if face is None:
            self._strange_s = None
        elif self._fit is None:
            state = self._calibrate(face, image, time_s, timings)
        else:
            state = self._follow(face, image, time_s, timings)
        return Tracked(self._motion, state, timings)

    def paint(self, tracked: Tracked) -> LiveFrame:
        """Paint what was tracked, the second half of a frame; it shares nothing with `track` but the avatar."""
        image, alpha, timings = paint_motion(self.avatar, tracked.motion)
        return LiveFrame(image, alpha, tracked.motion, tracked.state, tracked.timings_ms | timings)

    def _calibrate(self, face: Detection, image: np.ndarray, time_s: float, timings: dict[str, float]) -> State:
        self._seen.append((face, self._grey(image)))
        self._since_s = time_s if self._since_s is None else self._since_s
        if len(self._seen) < _LEAST_FRAMES or time_s - self._since_s < self.calibration_s:
            return "calibrating"
        with timed(timings, "calibration"):
            self._learn_driver()
        return "calibrating"

    def _learn_driver(self) -> None:
        """Set up fit and retargeting from the faces seen; begin anew where they are not one face at rest.

        Raises:
            UserError: the given crop lies outside the camera's image.
        """
        points = np.stack([face.points_px for face, _ in self._seen]).astype(float)
        depth = np.stack([face.depth for face, _ in self._seen]).astype(float)
        x0, y0, side = self._given_crop or _crop_around(points, self._size)
        if not (-side < x0 < self._size[1] and -side < y0 < self._size[0]):
            raise UserError(f"crop {(x0, y0, side)} lies outside the image of {self._size[1]} x {self._size[0]} px")
        self._corner, self._side = np.array([x0, y0], float), side
        camera = self.avatar.identity.camera.scaled(side)
        points -= self._corner
        model = self.avatar.model if self.is_person else driver_model(self.avatar.model, points, depth, camera)
        fit = OnlineFit(model, camera, smooth=self.smooth)
        try:
            neutral = np.zeros(model.expression_count) if self.is_person else fit.calibrate(points)
        except ValueError:
            self.recalibrate()
            return
        texture = self.avatar.identity.registration_reference
        if self.is_person and texture is not None:
            self._skin = SkinRegistration(model, texture, camera, small_side(self.avatar.size_px))
        found = (
            fit.update(frame, number / 30, self._corrected(frame, grey, {}))
            for number, (frame, (_, grey)) in enumerate(zip(points, self._seen, strict=True))
        )
        rest = [pose for pose in found if pose is not None]
        fit.reset()
        if not rest:
            self.recalibrate()
            return
        reference = np.median([np.concatenate([pose.rotation, pose.translation]) for pose in rest], axis=0)
        fit.neutral = np.zeros(model.expression_count)  # it is subtracted where the motion is carried over
        driver = Actor(model, camera, neutral, reference)
        self._retarget = Retarget(driver, self._target, self.avatar.landmark_set, self._reach, self.pose, self.gain)
        if self.is_person and self.pose == "absolute" and self.gain == 1:
            self._retarget = _as_it_is  # nothing to carry over, and no limits, as in offline reenactment
        self._fit, self._seen = fit, []

    def _follow(self, face: Detection, image: np.ndarray, time_s: float, timings: dict[str, float]) -> State:
        assert self._fit is not None and self._retarget is not None
        points = face.points_px - self._corner
        correct = self._corrected(points, self._grey(image), timings)
        with timed(timings, "fit"):
            found: OnlinePose | None = self._fit.update(points, time_s, correct)
        timings["fit"] -= timings.get("registration", 0.0)
        if found is None:
            self._strange_s = time_s if self._strange_s is None else self._strange_s
            if time_s - self._strange_s >= _STRANGE_S:
                self.recalibrate()
            return "another face"
        self._strange_s = None
        with timed(timings, "retarget"):
            columns = (found.rotation, found.translation, found.expression, found.gaze)
            self._motion = self._retarget(Motion(*(column[None] for column in columns)))
        return "following"

    def _grey(self, image: np.ndarray) -> np.ndarray | None:
        """Return the grey image (H, W) of a driver whose skin may be known; nothing of a stranger's is kept."""
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if self.is_person else None

    def _corrected(
        self, points: np.ndarray, grey: np.ndarray | None, timings: dict[str, float]
    ) -> Callable[[np.ndarray], np.ndarray] | None:  # fmt: skip
        """Give what corrects the landmarks (L, 2) by the skin in the grey image (H, W); None for a stranger."""
        skin = self._skin
        if skin is None or grey is None:
            return None

        def corrected(parameters: np.ndarray) -> np.ndarray:
            with timed(timings, "registration"):
                return skin(points, parameters, self._small(grey))

        return corrected

    def _small(self, grey: np.ndarray) -> np.ndarray:
        """Cut the driver's square out of the image, (S, S) of the side at which the avatar's skin is known."""
        (x0, y0), side, side_px = self._corner.astype(int).tolist(), self._side, small_side(self.avatar.size_px)
        seen = grey[max(y0, 0) : y0 + side, max(x0, 0) : x0 + side]
        top, left = max(-y0, 0), max(-x0, 0)
        below, right = side - top - seen.shape[0], side - left - seen.shape[1]
        if top or left or below or right:  # a given crop may leave the image
            seen = cv2.copyMakeBorder(seen, top, below, left, right, cv2.BORDER_CONSTANT)
        return cv2.resize(seen, (side_px, side_px), interpolation=cv2.INTER_AREA)


@contextmanager
def timed(timings: dict[str, float], step: str) -> Iterator[None]:
    """Note the milliseconds of the block under the name of a step."""
    began = time.perf_counter()
    yield
    timings[step] = 1e3 * (time.perf_counter() - began)


def eight_bit(image: Any) -> np.ndarray:
    """Convert an image (C, S, S) in [0, 1], of NumPy or of torch on any device, to (S, S, C) uint8."""
    values = np.asarray(image.cpu() if hasattr(image, "cpu") else image)
    return (values.transpose(1, 2, 0) * 255).round().astype(np.uint8)


def _as_it_is(motion: Motion) -> Motion:
    return motion


def _crop_around(points: np.ndarray, size: tuple[int, ...]) -> tuple[int, int, int]:
    """Choose the square around the driver's face (N, 478, 2) in an image of (height, width), as `decode` does."""
    boxes = np.concatenate([points.min(1), points.max(1)], axis=1)
    return choose_crop(boxes, (size[1], size[0]), CROP_SCALE)
