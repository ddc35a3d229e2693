"""Temporal prior: a robust energy of first differences, and the block-tridiagonal systems that it leads to."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

_ROBUST_SCALE2 = 9.0  # squared difference, in units of its spread, at which a step has half its weight


class TemporalPrior:
    """Energy of the first differences of parameters (n, P); large steps are down-weighted (Geman-McClure).

    Args:
        linked: (n - 1,) 1 where a frame continues the one before. weight: of the energy. step: (P,) spread of each
            difference. The rotation (first three columns) and the translation (next three) are down-weighted as a
            whole, the coefficients each on its own: those of a still mouth must not hold back a blink.
    """

    def __init__(self, linked: np.ndarray, weight: float, step: np.ndarray) -> None:
        self.linked = linked.astype(float)[:, None]
        self.weight, self.step = weight, step

    def _differences(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return squared differences over their spreads (n - 1, P), and their denominators 1 + d^2 / scale^2."""
        squared = (np.diff(parameters, axis=0) / self.step) ** 2
        denominator = 1 + squared / _ROBUST_SCALE2
        for part in (slice(0, 3), slice(3, 6)):
            denominator[:, part] = 1 + squared[:, part].sum(1, keepdims=True) / _ROBUST_SCALE2
        return squared, denominator

    def beside(self, chosen: np.ndarray) -> np.ndarray:
        """Mark the frames (n,) next to one of the chosen frames (n,) in the same take."""
        linked = (self.linked[:, 0] > 0) if self.weight > 0 else np.zeros(len(self.linked), bool)
        near = np.zeros(len(chosen), bool)
        near[1:] |= chosen[:-1] & linked
        near[:-1] |= chosen[1:] & linked
        return near

    def energy(self, parameters: np.ndarray) -> np.ndarray:
        """Return the energy (n,) of each frame: half of that of its two differences."""
        squared, denominator = self._differences(parameters)
        half = self.weight / 2 * (squared / denominator * self.linked).sum(1)
        energy = np.zeros(len(parameters))
        energy[:-1] += half
        energy[1:] += half
        return energy

    def weights(self, parameters: np.ndarray) -> np.ndarray:
        """Return the weights (n - 1, P) of the squared differences at the present parameters."""
        return self.weight * self.linked / (self._differences(parameters)[1] * self.step) ** 2


def solve_block_tridiagonal(hessian: np.ndarray, gradient: np.ndarray, coupling: np.ndarray) -> np.ndarray:
    """Solve a block-tridiagonal system by banded Cholesky decomposition: (n, P) for gradients (n, P).

    The diagonal blocks are `hessian` (n, P, P), positive definite; those beside them are diagonal: -`coupling`
    (n - 1, P). Bandwidth P; the cost is linear in n.
    """
    frames, size = gradient.shape
    if not frames:
        return np.zeros_like(gradient)
    if not coupling.any():
        return np.linalg.solve(hessian, gradient[..., None])[..., 0]
    banded = np.zeros((size + 1, frames, size))
    flat = hessian.reshape(frames, -1)
    for below in range(size):
        banded[below, :, : size - below] = flat[:, size * below :: size + 1]
    banded[size, :-1] = -coupling
    banded = banded.reshape(size + 1, -1)
    solution = solveh_banded(banded, gradient.ravel(), overwrite_ab=True, lower=True, check_finite=False)
    return solution.reshape(frames, size)
