"""Pose, expression and gaze of a live image, frame by frame: the solver's equations for one frame, warm-started."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from selfieavatar.fitting import gaze
from selfieavatar.fitting.landmark_measures import lid_opening
from selfieavatar.fitting.landmark_solver import LandmarkFit, SolverSettings
from selfieavatar.fitting.smoothing import OneEuro
from selfieavatar.geometry.camera import Camera, rotation_matrix
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, landmark_set, landmark_weights
from selfieavatar.morphable.model import MorphableModel

_FARTHEST_CM = 1000.0
_MEMORY = 150  # frames over which the usual opening of the eyes is known


@dataclass(frozen=True)
class OnlinePose:
    """One frame: rotation (3,) rad, translation (3,) cm, expression (E,) from the driver's neutral, gaze (4,) rad."""

    rotation: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray


class OnlineFit:
    """Follow one face.

    Args:
        model: the subject's model. camera: in the pixels of the points. set_name: of the points.
        settings: of the solver (its temporal weight is not used: there is no later frame).
        smooth: light smoothing that lags a few milliseconds in motion; off: each frame stands for itself.
        max_error: median error over the eye distance above which the points are not this face.
    """

    def __init__(
        self, model: MorphableModel, camera: Camera, set_name: str = MEDIAPIPE, settings: SolverSettings | None = None,
        smooth: bool = True, max_error: float = 0.06,
    ) -> None:  # fmt: skip
        self.model, self.camera, self.max_error = model, camera, max_error
        kind = landmark_set(set_name)
        self._count, self._has_iris = kind.count, set_name == MEDIAPIPE
        eyes = model.template[model.landmark_vertices[list(kind.outer_eyes)]]
        self._eyes_cm = float(np.linalg.norm(eyes[1] - eyes[0]))
        settings = replace(settings or SolverSettings(), temporal=0.0)
        nobody = np.zeros((1, kind.count, 2))
        apart = np.zeros(0, bool)
        self._fit = LandmarkFit(model, camera, nobody, landmark_weights(set_name), np.ones(1), apart, settings)
        # Rest: 3 Hz. A head that turns by 1 rad/s, or an expression that changes by its spread in 0.1 s, hardly lags.
        speed = np.concatenate([np.full(3, 8.0), np.full(3, 0.8), 1.0 / np.maximum(model.expression_scale, 1e-6)])
        self._filters = (OneEuro(3.0, speed), OneEuro(3.0, 8.0)) if smooth else None
        self.neutral = np.zeros(model.expression_count)
        self._openings: deque[np.ndarray] = deque(maxlen=_MEMORY)
        self._irises: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_MEMORY)  # angles and weights
        self.reset()

    def reset(self) -> None:
        """Forget where the face was; the neutral stays."""
        self._last: np.ndarray | None = None
        self._gaze = np.zeros(4)
        for smoother in self._filters or ():
            smoother.reset()

    def update(
        self, points: np.ndarray | None, time_s: float, correct: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> OnlinePose | None:  # fmt: skip
        """Fit one frame, from the frame before or else from nothing.

        Args:
            points: (L, 2) px, or None (or NaN) where no face was found. time_s: s, later than the frame before.
            correct: of a first fit (6 + E,) -> better points (L, 2), which are fitted again (`SkinRegistration`).

        Returns:
            None where the face is lost; the next frame that shows it is found again from nothing.
        """
        points = np.full((self._count, 2), np.nan) if points is None else np.asarray(points, float)
        parameters = self._solve(points)
        if parameters is None:
            self.reset()
            return None
        self._last = parameters
        if correct is not None:
            better = correct(parameters)
            again = self._solve(better)
            if again is not None:
                self._last, parameters, points = again, again, better
        angles = self._gaze_of(points, parameters)
        if self._filters is not None:
            parameters, angles = self._filters[0].update(parameters, time_s), self._filters[1].update(angles, time_s)
        return OnlinePose(parameters[:3], parameters[3:6], parameters[6:] - self.neutral, angles)

    def calibrate(self, points: np.ndarray) -> np.ndarray:
        """Take one or two seconds (N, L, 2) of the driver at rest for neutral; return its coefficients (E,).

        They are taken from all later expressions. The median passes over a blink.

        Raises:
            ValueError: no frame shows the face.
        """
        self.reset()
        found = [fitted[6:] for fitted in map(self._remember, np.asarray(points, float)) if fitted is not None]
        self.reset()
        if not found:
            raise ValueError("no frame of the calibration shows the face")
        self.neutral = np.median(found, axis=0)
        return self.neutral.copy()

    def _remember(self, points: np.ndarray) -> np.ndarray | None:
        self._last = self._solve(points)
        if self._last is not None:
            self._gaze_of(points, self._last)
        return self._last

    def _solve(self, points: np.ndarray) -> np.ndarray | None:
        """Solve for the parameters (6 + E,), from the frame before or from nothing; None if it is not the face."""
        if points.shape != (self._count, 2):
            raise ValueError(f"expected points of shape {(self._count, 2)}, got {points.shape}")
        if not np.isfinite(points).all():
            return None
        fit = self._fit
        fit.points = points[None, fit.sight.landmarks]
        for first in (self._last, None) if self._last is not None else (None,):
            start = fit.start() if first is None else first[None]
            eye_distance = self.camera.focal_px * self._eyes_cm / start[:, 5]
            fit.energy.observe(fit.points, eye_distance)
            parameters, _ = fit.solve(start, warm=first is not None)
            error = fit.energy.median_distance(parameters)[0] / eye_distance[0]
            if error <= self.max_error and self._plausible(parameters[0]):
                return parameters[0]
        return None

    def _plausible(self, parameters: np.ndarray) -> bool:
        """Whether the face looks at the camera from less than 10 m, which mirrored points or a heap of them do not."""
        return bool(rotation_matrix(parameters[:3])[2, 2] > 0 and 0 < parameters[5] < _FARTHEST_CM)

    def _gaze_of(self, points: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """Return (4,) gaze; eyes that cannot be seen keep the last one."""
        if not self._has_iris:
            return self._gaze
        frame, model = points[None], self.model
        self._openings.append(lid_opening(frame)[0])
        angles, weight = gaze.gaze_angles(
            frame, parameters[None, :3], parameters[None, 3:6], self.camera, model.eye_center, model.eye_radius,
            model.iris_radius, np.median(self._openings, axis=0),
        )  # fmt: skip
        self._irises.append((angles[0], weight[0]))
        found = gaze.conjugate(*map(np.stack, zip(*self._irises, strict=True)))[-1]  # all tell how the eyes differ
        self._gaze = np.where(np.isfinite(found), found, self._gaze)
        return self._gaze
