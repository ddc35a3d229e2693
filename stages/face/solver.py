"""Fits pose and expression of a clip to landmarks: Gauss-Newton with Levenberg damping, all frames at once.

The unknowns of a frame are rotation (3), translation (3) and E expression coefficients. Frames are coupled by first
differences only, so the normal equations are banded and the cost is linear in the number of frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import solveh_banded

from stages.face.camera import Camera, rotation_jacobian, rotation_matrix, rotation_vector
from stages.face.morphable import MorphableModel

# Turning points of the robust cost, in medians of a frame's distances: in the first iterations, and afterwards.
WIDE, NARROW, TRUSTING = 100.0, 8.0, 3
_CHUNK = 64  # frames whose Jacobian is held at once: about 20 MB


@dataclass(frozen=True)
class SolverSettings:
    """Weights of the fit. Distances are relative to the outer eye corners' distance in the picture.

    noise: expected error of a landmark. support: how many independent landmarks the whole set counts for
    (neighbouring points err
    together, so fewer than there are). prior: weight of (expression / expression_scale)^2. temporal: weight of the
    first
    differences over their spreads `rotation_step` (rad), `translation_step` (cm; three times as much in depth) and
    `expression_step` (of expression_scale); large steps are let go (Geman-McClure), so a blink keeps its amplitude.
    """

    noise: float = 0.006
    support: float = 60.0
    prior: float = 0.1
    temporal: float = 0.05
    rotation_step: float = 0.01
    translation_step: float = 0.08
    expression_step: float = 0.5
    iterations: int = 12
    tolerance: float = 1e-3


@dataclass
class FitResult:
    """Pose and expression of N frames; NaN where a frame had no landmarks.

    rotation (N, 3) rad, translation (N, 3) cm, expression (N, E), error (N,) median reprojection error over the outer
    eye corners' distance.
    """

    rotation: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    error: np.ndarray
    iterations: int = field(default=0)


def initial_pose(
    template: np.ndarray, points: np.ndarray, weights: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """Scaled-orthographic pose (DeMenthon and Davis' POS, least squares over all points).

    Args:
        template: (M, 3) cm. points: (N, M, 2) px. weights: (M,).

    Returns:
        Rotation (N, 3) and translation (N, 3).
    """
    homogeneous = np.concatenate([template, np.ones((len(template), 1))], 1)
    root = np.sqrt(weights)[:, None]
    affine = np.einsum("km,nmc->nck", np.linalg.pinv(homogeneous * root), points * root)
    u, s, vt = np.linalg.svd(affine[:, :, :3], full_matrices=False)
    rows = u @ vt
    rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    depth = camera.focal_px / np.maximum(s.mean(1), 1e-6)
    offset = (affine[:, :, 3] - np.asarray(camera.principal)) * (depth / camera.focal_px)[:, None]
    return rotation_vector(rotation), np.concatenate([offset, depth[:, None]], 1)


class LandmarkFit:
    """One clip's (or one set of takes') landmark fit to a model.

    Args:
        model: the subject's model.
        camera: in the pixels of `points`.
        points: (N, L, 2) px; frames with a NaN are left out.
        weights: (L,) of the landmarks.
        span: (N,) distance of the outer eye corners in px, the yardstick; it should change slowly or not at all.
        linked: (N - 1,) True where frame n + 1 continues frame n.
    """

    def __init__(
        self, model: MorphableModel, camera: Camera, points: np.ndarray, weights: np.ndarray, span: np.ndarray,
        linked: np.ndarray, settings: SolverSettings,
    ) -> None:  # fmt: skip
        used = model.used_landmarks
        self.template, self.basis = model.landmark_geometry()
        self.camera, self.settings = camera, settings
        self.good = np.isfinite(points[:, used]).all((1, 2)) & (span > 0)
        self.points = points[self.good][:, used].astype(float)
        self.weights = weights[used] / max(weights[used].sum(), 1e-9)
        self.span = span[self.good].astype(float)
        self.scale = np.maximum(model.expression_scale.astype(float), 1e-6)
        numbers = np.flatnonzero(self.good)
        joined = np.concatenate([[0], np.cumsum(~linked)])
        adjacent = (np.diff(numbers) == 1) & (joined[numbers[1:]] == joined[numbers[:-1]])
        self.linked = adjacent.astype(float)
        count = len(self.basis)
        st = settings
        step = np.concatenate([
            np.full(3, st.rotation_step), np.array([1, 1, 3]) * st.translation_step, st.expression_step * self.scale,
        ])  # fmt: skip
        self.stiffness = st.temporal / step**2
        self.ridge = np.concatenate([np.zeros(6), st.prior / self.scale**2])
        self.expressions = count
        self.turn = NARROW

    def start(self, rotation: np.ndarray | None = None, translation: np.ndarray | None = None,
              expression: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
        """(n, 6 + E) first guess of the good frames, from given values or from the scaled-orthographic pose."""
        parameters = np.zeros((len(self.points), 6 + self.expressions))
        if rotation is None or translation is None:
            parameters[:, :3], parameters[:, 3:6] = initial_pose(self.template, self.points, self.weights, self.camera)
        else:
            parameters[:, :3], parameters[:, 3:6] = rotation[self.good], translation[self.good]
        if expression is not None:
            parameters[:, 6:] = expression[self.good]
        return parameters

    def camera_points(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Model points (n, M, 3) and camera points (n, M, 3)."""
        flat = self.basis.reshape(self.expressions, -1)
        model = self.template + (parameters[:, 6:] @ flat).reshape(-1, *self.template.shape)
        rotation = rotation_matrix(parameters[:, :3])
        return model, model @ np.swapaxes(rotation, 1, 2) + parameters[:, None, 3:6]

    def residuals(self, parameters: np.ndarray) -> np.ndarray:
        """(n, M, 2) reprojection error over the yardstick."""
        return (self.camera.project(self.camera_points(parameters)[1]) - self.points) / self.span[:, None, None]

    def _robust(self, distance2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Geman-McClure cost and weight of squared distances (n, M) in units of the noise.

        The turning point follows the frame: `turn` times its own median distance, but never under that many times the
        noise.
        """
        turn2 = self.turn**2 * np.maximum(np.median(distance2, axis=1, keepdims=True), 1.0)
        return distance2 / (1 + distance2 / turn2), 1 / (1 + distance2 / turn2) ** 2

    def _temporal(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy (n,) shared half and half by both ends, and weights (n - 1, 6 + E) of the first differences."""
        energy = np.zeros(len(parameters))
        step2 = np.diff(parameters, axis=0) ** 2 * self.stiffness
        base = max(self.settings.temporal, 1e-12)
        groups = ((0, 3), (3, 6), (6, 6 + self.expressions))
        weights = np.zeros_like(step2)
        for low, high in groups:
            if low == 6:  # each coefficient on its own: a blink must not be held by the coefficients of a still mouth
                loose = 1 / (1 + step2[:, low:high] / base / 9)
            else:
                loose = 1 / (1 + step2[:, low:high].sum(1, keepdims=True) / base / 9)
            weights[:, low:high] = loose**2 * self.linked[:, None]
            part = (step2[:, low:high] * loose).sum(1) * self.linked / 2
            energy[:-1] += part
            energy[1:] += part
        return energy, weights * self.stiffness

    def cost(self, parameters: np.ndarray) -> np.ndarray:
        """(n,) energy of each frame: landmarks, expression prior, its half of the temporal terms."""
        distance2 = (self.residuals(parameters) ** 2).sum(2) / self.settings.noise**2
        data = self.settings.support * (self._robust(distance2)[0] * self.weights).sum(1)
        return data + (parameters**2 * self.ridge).sum(1) + self._temporal(parameters)[0]

    def _normal_equations(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hessians (n, P, P) and gradients (n, P) of landmarks and prior."""
        size = parameters.shape[1]
        hessian, gradient = np.empty((len(parameters), size, size)), np.empty_like(parameters)
        basis = np.ascontiguousarray(self.basis.transpose(1, 2, 0))  # (M, 3, E)
        for low in range(0, len(parameters), _CHUNK):
            part = slice(low, low + _CHUNK)
            p = parameters[part]
            model, points = self.camera_points(p)
            error = (self.camera.project(points) - self.points[part]) / self.span[part, None, None]
            _, robust = self._robust((error**2).sum(2) / self.settings.noise**2)
            by_point = self.camera.jacobian(points) / self.span[part, None, None, None]  # (n, M, 2, 3)
            turned = np.einsum("nmj,nikj->nmki", model, rotation_jacobian(p[:, :3]))  # (n, M, 3, 3)
            by_shape = by_point @ rotation_matrix(p[:, :3])[:, None]
            n, m = by_point.shape[:2]
            by_shape = by_shape.transpose(1, 0, 2, 3).reshape(m, n * 2, 3) @ basis
            jacobian = np.concatenate(
                [by_point @ turned, by_point, by_shape.reshape(m, n, 2, -1).transpose(1, 0, 2, 3)], axis=3
            )
            weight = self.settings.support / self.settings.noise**2 * robust * self.weights
            root = np.sqrt(weight)[..., None]
            rows = (jacobian * root[..., None]).reshape(n, m * 2, size)
            hessian[part] = rows.transpose(0, 2, 1) @ rows
            gradient[part] = np.einsum("nrp,nr->np", rows, (error * root).reshape(n, -1))
        diagonal = np.arange(size)
        hessian[:, diagonal, diagonal] += self.ridge
        return hessian, gradient + parameters * self.ridge

    def _step(self, parameters: np.ndarray, damping: np.ndarray) -> np.ndarray:
        hessian, gradient = self._normal_equations(parameters)
        frames, size = parameters.shape
        diagonal = np.arange(size)
        hessian[:, diagonal, diagonal] *= 1 + damping[:, None]
        hessian[:, diagonal, diagonal] += 1e-9
        stiffness = self._temporal(parameters)[1]
        difference = np.diff(parameters, axis=0) * stiffness
        gradient[1:] += difference
        gradient[:-1] -= difference
        hessian[1:, diagonal, diagonal] += stiffness
        hessian[:-1, diagonal, diagonal] += stiffness
        banded = np.zeros((size + 1, frames * size))
        for k in range(size):
            rows = np.arange(size - k)
            columns = (np.arange(frames)[:, None] * size + rows + k).ravel()
            banded[size - k, columns] = hessian[:, rows, rows + k].ravel()
        banded[0, size:] = -stiffness.ravel()
        return -solveh_banded(banded, gradient.ravel(), overwrite_ab=True, check_finite=False).reshape(frames, size)

    def solve(self, parameters: np.ndarray) -> tuple[np.ndarray, int]:
        """Refines (n, 6 + E) parameters; returns them with the number of iterations used."""
        if not len(parameters):
            return parameters, 0
        damping = np.full(len(parameters), 1e-3)
        # From a neutral start an open mouth looks like outliers: none are suspected before the first steps are made.
        self.turn = WIDE
        cost = self.cost(parameters)
        iterations = 0
        while iterations < self.settings.iterations:
            iterations += 1
            if iterations == TRUSTING + 1:
                self.turn = NARROW
                cost = self.cost(parameters)
            trial = parameters + self._step(parameters, damping)
            trial[:, 5] = np.maximum(trial[:, 5], 0.3 * parameters[:, 5])  # never through the camera
            trial_cost = self.cost(trial)
            better = np.isfinite(trial_cost) & (trial_cost <= cost * (1 + 1e-6))
            gain = 1 - trial_cost[better] / np.maximum(cost[better], 1e-12)
            damping = np.where(better, np.maximum(damping * 0.3, 1e-7), np.minimum(damping * 8, 1e4))
            parameters = np.where(better[:, None], trial, parameters)
            cost = self.cost(parameters)
            if (
                iterations > TRUSTING
                and better.mean() > 0.9
                and gain.size
                and np.median(gain) < self.settings.tolerance
            ):
                break
        return parameters, iterations

    def result(self, parameters: np.ndarray, iterations: int = 0) -> FitResult:
        """Spreads the good frames' parameters over all frames."""
        total = len(self.good)
        full = np.full((total, 6 + self.expressions), np.nan)
        error = np.full(total, np.nan)
        if len(parameters):
            full[self.good] = parameters
            error[self.good] = np.median(np.linalg.norm(self.residuals(parameters), axis=2), axis=1)
        return FitResult(full[:, :3], full[:, 3:6], full[:, 6:], error, iterations)


def fit_landmarks(
    model: MorphableModel, camera: Camera, points: np.ndarray, weights: np.ndarray, span: np.ndarray,
    linked: np.ndarray | None = None, settings: SolverSettings | None = None, start: FitResult | None = None,
) -> FitResult:  # fmt: skip
    """Fits pose and expression of N frames; arguments as for `LandmarkFit`, `start` a result to begin from."""
    linked = np.ones(max(len(points) - 1, 0), bool) if linked is None else linked
    task = LandmarkFit(model, camera, points, weights, span, linked, settings or SolverSettings())
    guess = task.start() if start is None else task.start(start.rotation, start.translation, start.expression)
    return task.result(*task.solve(guess))
