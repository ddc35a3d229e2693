"""Frames as a chain: a robust energy of first differences, and the block-tridiagonal systems that it leads to."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

_LOOSE = 9.0  # squared difference, in units of its spread, at which a step is half let go


class TemporalPrior:
    """Energy of the first differences of parameters (n, P); large steps are let go (Geman-McClure).

    Args:
        linked: (n - 1,) 1 where a frame continues the one before. weight: of the energy. step: (P,) spread of each
            difference. The rotation (first three columns) and the translation (next three) are let go as a whole, the
            coefficients each on its own: a blink must not be held by the coefficients of a still mouth.
    """

    def __init__(self, linked: np.ndarray, weight: float, step: np.ndarray) -> None:
        self.linked = linked.astype(float)[:, None]
        self.weight, self.step = weight, step

    def _differences(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared differences over their spreads (n - 1, P), and how far each is let go, 1 + d^2 / turn^2."""
        squared = (np.diff(parameters, axis=0) / self.step) ** 2
        bend = 1 + squared / _LOOSE
        for part in (slice(0, 3), slice(3, 6)):
            bend[:, part] = 1 + squared[:, part].sum(1, keepdims=True) / _LOOSE
        return squared, bend

    def beside(self, chosen: np.ndarray) -> np.ndarray:
        """(n,) True for frames tied to one of the chosen frames (n,)."""
        tied = (self.linked[:, 0] > 0) if self.weight > 0 else np.zeros(len(self.linked), bool)
        near = np.zeros(len(chosen), bool)
        near[1:] |= chosen[:-1] & tied
        near[:-1] |= chosen[1:] & tied
        return near

    def energy(self, parameters: np.ndarray) -> np.ndarray:
        """(n,) energy of each frame: half of that of its two differences."""
        squared, bend = self._differences(parameters)
        half = self.weight / 2 * (squared / bend * self.linked).sum(1)
        energy = np.zeros(len(parameters))
        energy[:-1] += half
        energy[1:] += half
        return energy

    def stiffness(self, parameters: np.ndarray) -> np.ndarray:
        """(n - 1, P) weights of the squared differences at the present parameters."""
        return self.weight * self.linked / (self._differences(parameters)[1] * self.step) ** 2


def solve_block_tridiagonal(hessian: np.ndarray, gradient: np.ndarray, link: np.ndarray) -> np.ndarray:
    """Solves the block-tridiagonal system whose diagonal blocks are `hessian` (n, P, P), positive definite.

    The blocks beside them are diagonal: -`link` (n - 1, P). Bandwidth P; the cost is linear in n.
    """
    frames, size = gradient.shape
    if not frames:
        return np.zeros_like(gradient)
    if not link.any():
        return np.linalg.solve(hessian, gradient[..., None])[..., 0]
    banded = np.zeros((size + 1, frames, size))
    flat = hessian.reshape(frames, -1)
    for below in range(size):
        banded[below, :, : size - below] = flat[:, size * below :: size + 1]
    banded[size, :-1] = -link
    banded = banded.reshape(size + 1, -1)
    solution = solveh_banded(banded, gradient.ravel(), overwrite_ab=True, lower=True, check_finite=False)
    return solution.reshape(frames, size)
