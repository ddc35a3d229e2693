"""Fit pose and expression of a clip to landmarks by Levenberg-Marquardt, all frames at once.

The unknowns of a frame are rotation (3), translation (3) and E expression coefficients. Frames are coupled by first
differences only, so the normal equations are banded and the cost is linear in the number of frames. What is large is
made for some frames at a time, so memory hardly grows with the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from selfieavatar.fitting.landmark_energy import LandmarkEnergy
from selfieavatar.fitting.temporal_prior import TemporalPrior, solve_block_tridiagonal
from selfieavatar.fitting.visibility import Sight
from selfieavatar.geometry.camera import Camera, rotation_vector
from selfieavatar.morphable.model import MorphableModel

# Scales of the robust cost, coarse to fine, in medians of a frame's distances: in the first iterations, and afterwards.
COARSE, FINE, COARSE_ITERATIONS = 100.0, 8.0, 3
# Frames whose normal equations are solved together, and frames beyond them on each side that are solved along. A step
# fades by the expression prior alone to 0.7 of it from one frame to the next: at the end of so many frames what is cut
# off is far below 32-bit coordinates.
BLOCK, HALO = 512, 64
_FRAMES_IN_VIEW = 256


@dataclass(frozen=True)
class SolverSettings:
    """Weights of the fit. Distances are relative to the outer eye corners' distance in the image.

    noise: expected error of a landmark. support: how many independent landmarks the whole set counts for
    (neighbouring points err together, so fewer than there are). prior: weight of (expression / expression_scale)^2.
    temporal: weight of the first differences over their spreads `rotation_step` (rad), `translation_step` (cm; three
    times as much in depth) and `expression_step` (of expression_scale); large steps are down-weighted (Geman-McClure),
    so a blink keeps its amplitude. occlusion: trust landmarks on the far side of a turned head less.
    """

    noise: float = 0.006
    support: float = 60.0
    prior: float = 0.03
    temporal: float = 0.05
    rotation_step: float = 0.01
    translation_step: float = 0.08
    expression_step: float = 0.5
    iterations: int = 12
    tolerance: float = 1e-3
    occlusion: bool = True


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


def _parts(count: int, size: int) -> list[slice]:
    return [slice(low, min(low + size, count)) for low in range(0, count, size)]


def initial_pose(
    template: np.ndarray, points: np.ndarray, weights: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the scaled-orthographic pose by least squares over all points (POS of DeMenthon and Davis, 1995).

    Args:
        template: (M, 3) cm. points: (N, M, 2) px. weights: (M,). camera: in the pixels of `points`.

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
        eye_distance: (N,) px, the unit of distances; it should change slowly or not at all.
        linked: (N - 1,) True where frame n + 1 continues frame n.
    """

    def __init__(
        self, model: MorphableModel, camera: Camera, points: np.ndarray, weights: np.ndarray, eye_distance: np.ndarray,
        linked: np.ndarray, settings: SolverSettings,
    ) -> None:  # fmt: skip
        used = model.used_landmarks
        self.sight = sight = Sight(model, weights, settings.occlusion)
        self.good = np.isfinite(points).all(2)[:, used].all(1) & (eye_distance > 0)
        self.points = points[np.ix_(self.good, sight.landmarks)]
        self.eye_distance = eye_distance[self.good].astype(float)
        self.camera, self.settings = camera, settings
        self.template = model.template[sight.vertices].astype(float)
        basis = model.expression_basis[:, sight.vertices].astype(float)
        self.energy = LandmarkEnergy(
            self.template, basis, camera, self.points, sight.upright, self.eye_distance, settings.noise,
            settings.support,
        )  # fmt: skip
        scale = np.maximum(model.expression_scale.astype(float), 1e-6)
        self.expressions = len(basis)
        numbers = np.flatnonzero(self.good)
        take = np.concatenate([[0], np.cumsum(~linked)])
        adjacent = (np.diff(numbers) == 1) & (take[numbers[1:]] == take[numbers[:-1]])
        st = settings
        step = np.array([1, 1, 3]) * st.translation_step
        step = np.concatenate([np.full(3, st.rotation_step), step, st.expression_step * scale])
        self.temporal_prior = TemporalPrior(adjacent, st.temporal, step)
        self.ridge = np.concatenate([np.zeros(6), st.prior / scale**2])
        self.low, self.high = model.expression_limits()

    def start(self, rotation: np.ndarray | None = None, translation: np.ndarray | None = None,
              expression: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
        """Return the first guess (n, 6 + E) of the good frames, from what is known or by `initial_pose`."""
        parameters = np.zeros((len(self.points), 6 + self.expressions))
        if rotation is None or translation is None:
            for part in _parts(len(parameters), BLOCK):
                parameters[part, :3], parameters[part, 3:6] = initial_pose(
                    self.template, self.points[part].astype(float), self.sight.upright, self.camera
                )
        else:
            parameters[:, :3], parameters[:, 3:6] = rotation[self.good], translation[self.good]
        if expression is not None:
            parameters[:, 6:] = expression[self.good]
        return parameters

    def weigh(self, parameters: np.ndarray) -> None:
        """Weigh the landmarks by what is seen of the head as it is posed now."""
        for part in _parts(len(parameters), _FRAMES_IN_VIEW):
            rotation, _, points = self.energy.transform(parameters[part])
            self.energy.weights[part] = self.sight.weigh(rotation, points)

    def cost(self, parameters: np.ndarray) -> np.ndarray:
        """Return the energy (n,) of each frame: landmarks, expression prior, its half of the temporal terms."""
        return self.energy.cost(parameters, np.arange(len(parameters))) + self._prior(parameters)

    def _prior(self, parameters: np.ndarray) -> np.ndarray:
        return (parameters**2 * self.ridge).sum(1) + self.temporal_prior.energy(parameters)

    def _step(self, parameters: np.ndarray, damping: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the Levenberg-Marquardt step (k, 6 + E) of the frames `rows`; the others stand still."""
        weights = self.temporal_prior.weights(parameters)
        residual = np.diff(parameters, axis=0) * weights
        gradient, diagonal = np.zeros_like(parameters), np.zeros_like(parameters)
        gradient[1:] += residual
        gradient[:-1] -= residual
        diagonal[1:] += weights
        diagonal[:-1] += weights
        step = np.empty((len(rows), parameters.shape[1]))
        for part in _parts(len(rows), BLOCK):
            wide = slice(max(part.start - HALO, 0), part.stop + HALO)
            solved = self._solved(parameters, damping, rows[wide], weights, diagonal, gradient)
            step[part] = solved[part.start - wide.start :][: part.stop - part.start]
        return step

    def _solved(
        self, parameters: np.ndarray, damping: np.ndarray, rows: np.ndarray, prior_weights: np.ndarray,
        prior_diagonal: np.ndarray, prior_gradient: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Return `_step` of so few frames that their Hessians may be in memory together."""
        hessian, gradient = self.energy.normal_equations(parameters, rows)
        diagonal = np.arange(parameters.shape[1])
        hessian[:, diagonal, diagonal] += self.ridge
        hessian[:, diagonal, diagonal] *= 1 + damping[rows, None]
        hessian[:, diagonal, diagonal] += 1e-9
        hessian[:, diagonal, diagonal] += prior_diagonal[rows]
        gradient += parameters[rows] * self.ridge + prior_gradient[rows]
        coupling = prior_weights[rows[:-1]] * (np.diff(rows) == 1)[:, None]
        # Coefficients that push against their limits stand still (projected Newton: Bertsekas 1982).
        active = self.active_set(parameters[rows], gradient)
        if active.any():
            hessian *= ~(active[:, :, None] | active[:, None, :])
            hessian[:, diagonal, diagonal] += active
            gradient[active] = 0
            coupling = coupling * ~(active[1:] | active[:-1])
        return -solve_block_tridiagonal(hessian, gradient, coupling)

    def active_set(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Mark the coefficients (n, 6 + E) that push against their limits."""
        active = np.zeros(parameters.shape, bool)
        at, push = parameters[:, 6:], gradient[:, 6:]
        active[:, 6:] = ((at <= self.low) & (push > 0)) | ((at >= self.high) & (push < 0))
        return active

    def solve(self, parameters: np.ndarray, warm: bool = False) -> tuple[np.ndarray, int]:
        """Refine parameters (n, 6 + E); return them with the number of iterations used.

        Args:
            parameters: first guess. warm: the parameters are near the solution, as those of the frame before are.
        """
        count, iterations = len(parameters), 0
        coarse = 0 if warm else COARSE_ITERATIONS
        damping, rows = np.full(count, 1e-3), np.arange(count)
        # From a neutral start an open mouth looks like outliers: none are suspected before the first steps are made.
        while len(rows) and iterations < self.settings.iterations:
            iterations += 1
            if iterations <= coarse + 1:
                self.energy.robust_scale = COARSE if iterations <= coarse else FINE
                self.weigh(parameters)
                data = self.energy.cost(parameters, rows)
            trial = parameters.copy()
            trial[rows] += self._step(parameters, damping, rows)
            trial[:, 5] = np.maximum(trial[:, 5], 0.3 * parameters[:, 5])  # never through the camera
            trial[:, 6:] = np.clip(trial[:, 6:], self.low, self.high)
            trial_data = data.copy()
            trial_data[rows] = self.energy.cost(trial, rows)
            cost, trial_cost = data + self._prior(parameters), trial_data + self._prior(trial)
            # A frame may lose a little to its neighbours' gain.
            slack = self.settings.tolerance * cost
            better = trial_cost <= cost + slack
            moving = ~(np.abs(trial_cost - cost) <= slack)
            damping = np.where(better, np.maximum(damping * 0.3, 1e-7), np.minimum(damping * 8, 1e4))
            parameters = np.where(better[:, None], trial, parameters)
            data = np.where(better, trial_data, data)
            if iterations > coarse:
                rows = np.flatnonzero(moving | self.temporal_prior.beside(moving))
        return parameters, iterations

    def result(self, parameters: np.ndarray, iterations: int = 0) -> FitResult:
        """Spread the good frames' parameters over all frames."""
        total = len(self.good)
        full = np.full((total, 6 + self.expressions), np.nan)
        error = np.full(total, np.nan)
        if len(parameters):
            full[self.good] = parameters
            self.weigh(parameters)
            error[self.good] = self.energy.median_distance(parameters) / self.eye_distance
        return FitResult(full[:, :3], full[:, 3:6], full[:, 6:], error, iterations)


def fit_landmarks(
    model: MorphableModel, camera: Camera, points: np.ndarray, weights: np.ndarray, eye_distance: np.ndarray,
    linked: np.ndarray | None = None, settings: SolverSettings | None = None, start: FitResult | None = None,
) -> FitResult:  # fmt: skip
    """Fit pose and expression of N frames; arguments as for `LandmarkFit`, `start` a result to begin from."""
    linked = np.ones(max(len(points) - 1, 0), bool) if linked is None else linked
    task = LandmarkFit(model, camera, points, weights, eye_distance, linked, settings or SolverSettings())
    guess = task.start() if start is None else task.start(start.rotation, start.translation, start.expression)
    return task.result(*task.solve(guess, warm=start is not None))
