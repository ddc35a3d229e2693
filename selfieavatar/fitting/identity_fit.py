"""Fit identity coefficients of a published model and the focal length to many frames at once.

Bundle adjustment: identity coefficients and log focal length are shared, pose and expression are each frame's own. The
frames' unknowns are eliminated block by block (Schur complement), so a step costs one small system for each frame and
one of the shared unknowns' size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from selfieavatar.fitting.landmark_solver import COARSE, COARSE_ITERATIONS, FINE, FitResult, LandmarkFit, SolverSettings
from selfieavatar.geometry.camera import Camera
from selfieavatar.morphable.model import MorphableModel


@dataclass(frozen=True)
class IdentityFit:
    """The person's model (identity in the template), the camera, the fit of the frames and the coefficients (K,)."""

    model: MorphableModel
    camera: Camera
    fit: FitResult
    identity: np.ndarray


def fit_identity(
    model: MorphableModel, camera: Camera, points: np.ndarray, weights: np.ndarray, eye_distance: np.ndarray,
    settings: SolverSettings | None = None, focal_spread: float = 0.0,
) -> IdentityFit:  # fmt: skip
    """Fit identity, pose and expression of N frames in any order; a hundred diverse ones do.

    Args:
        model: with an identity space. camera: first guess, in the pixels of `points`. points: (N, L, 2) px, frames
            with a NaN are left out. weights: (L,). eye_distance: (N,) px. settings: of the solver.
        focal_spread: standard deviation of the log focal length around the camera's; 0 keeps it fixed.

    Raises:
        ValueError: no frame has landmarks, or the model has no identity space.
    """
    if model.identity_basis is None or model.identity_scale is None:
        raise ValueError(f"the model {model.name} has no identity space")
    settings = replace(settings or SolverSettings(), temporal=0.0)
    apart = np.zeros(max(len(points) - 1, 0), bool)
    task = LandmarkFit(_with_shapes(model), camera, points, weights, eye_distance, apart, settings)
    if not len(task.points):
        raise ValueError("no frame has landmarks")
    problem = _Joint(task, model, focal_spread)
    parameters = task.start()
    problem.solve(parameters)
    person = model.with_identity(problem.shared[:-1])
    camera = replace(camera, focal_px=float(camera.focal_px * np.exp(problem.shared[-1])))
    last = LandmarkFit(person, camera, points, weights, eye_distance, apart, settings)
    count = 6 + model.expression_count
    fit = last.result(*last.solve(parameters[:, :count], warm=True))
    return IdentityFit(person, camera, fit, problem.shared[:-1])


def _with_shapes(model: MorphableModel) -> MorphableModel:
    """Return the model with its identity space as further coefficients of each frame, without limits."""
    count = model.identity_count
    return replace(
        model, identity_basis=None, identity_scale=None,
        expression_basis=np.concatenate([model.expression_basis, model.identity_basis]),
        expression_scale=np.concatenate([model.expression_scale, model.identity_scale]),
        expression_low=np.concatenate([model.expression_low, np.full(count, -np.inf)]),
        expression_high=np.concatenate([model.expression_high, np.full(count, np.inf)]),
    )  # fmt: skip


class _Joint:
    """Frames' parameters (n, 6 + E + K), whose last K are the same everywhere, and shared unknowns (K + 1,).

    The shared ones are identity, then the log of the focal length over the first guess.
    """

    def __init__(self, task: LandmarkFit, model: MorphableModel, focal_spread: float) -> None:
        self.task, self.own = task, 6 + model.expression_count
        self.frames = np.arange(len(task.points))
        self.shared = np.zeros(model.identity_count + 1)
        self.first_focal = task.camera.focal_px
        # The frames' errors go together: the prior of what they share grows with them.
        identity = len(self.frames) * task.ridge[self.own :]
        self.ridge = np.append(identity, len(self.frames) / focal_spread**2 if focal_spread > 0 else np.inf)
        self.free = np.isfinite(self.ridge)

    def _cost(self, parameters: np.ndarray, shared: np.ndarray) -> float:
        task, own = self.task, self.own
        zoomed = replace(task.camera, focal_px=float(self.first_focal * np.exp(shared[-1])))
        task.energy.camera = zoomed
        prior = (shared[self.free] ** 2 * self.ridge[self.free]).sum()
        return float(task.energy.cost(parameters, self.frames).sum() + prior
                     + (parameters[:, :own] ** 2 * task.ridge[:own]).sum())  # fmt: skip

    def solve(self, parameters: np.ndarray, rounds: int = 40) -> None:
        """Minimise by Levenberg-Marquardt; changes the parameters (n, 6 + E + K) in place."""
        task, damping, own = self.task, 1e-2, self.own
        for number in range(rounds):
            if number <= COARSE_ITERATIONS + 1:
                task.energy.robust_scale = COARSE if number <= COARSE_ITERATIONS else FINE
            task.weigh(parameters)
            cost = self._cost(parameters, self.shared)
            step, shared_step = self._step(parameters, damping)
            shared = self.shared + shared_step
            trial = parameters.copy()
            trial[:, :own] += step
            trial[:, 5] = np.maximum(trial[:, 5], 0.3 * parameters[:, 5])
            trial[:, 6:] = np.clip(trial[:, 6:], task.low, task.high)
            trial[:, own:] = shared[:-1]
            trial_cost = self._cost(trial, shared)
            if trial_cost < cost:
                parameters[:], self.shared, damping = trial, shared, max(damping * 0.2, 1e-6)
                if number > COARSE_ITERATIONS + 1 and cost - trial_cost < 1e-4 * cost:
                    break
            else:
                self._cost(parameters, self.shared)  # sets the camera back
                damping = min(damping * 6, 1e6)

    def _step(self, parameters: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """Return steps of the frames' own (n, 6 + E) and of the shared (K + 1,) unknowns, by the Schur complement."""
        task, own, free = self.task, self.own, self.free
        hessian, gradient = task.energy.normal_equations(parameters, self.frames, focal=True)
        own_hessian, mixed = hessian[:, :own, :own].copy(), hessian[:, :own, own:][..., free]
        diagonal = np.arange(own)
        own_hessian[:, diagonal, diagonal] += task.ridge[:own]
        own_hessian[:, diagonal, diagonal] *= 1 + damping
        own_gradient = gradient[:, :own] + parameters[:, :own] * task.ridge[:own]
        active = task.active_set(parameters, gradient[:, :-1])[:, :own]
        own_hessian *= ~(active[:, :, None] | active[:, None, :])
        own_hessian[:, diagonal, diagonal] += active + 1e-9
        mixed = mixed * ~active[..., None]
        own_gradient[active] = 0
        solved = np.linalg.solve(own_hessian, np.concatenate([mixed, own_gradient[..., None]], 2))
        shared_hessian = hessian[:, own:, own:].sum(0)[np.ix_(free, free)] + np.diag(self.ridge[free])
        shared_hessian += np.diag(np.diag(shared_hessian)) * damping
        reduced = shared_hessian - np.einsum("nfs,nft->st", mixed, solved[..., :-1])
        right = gradient[:, own:].sum(0)[free] + self.shared[free] * self.ridge[free]
        right = right - np.einsum("nfs,nf->s", mixed, solved[..., -1])
        shared_step = np.zeros(len(self.shared))
        shared_step[free] = -np.linalg.solve(reduced, right)
        return -solved[..., -1] - solved[..., :-1] @ shared_step[free], shared_step
