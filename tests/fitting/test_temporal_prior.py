"""The temporal prior's solver against a dense solve, its energy against its definition."""

import numpy as np
import pytest

from selfieavatar.fitting.temporal_prior import TemporalPrior, solve_block_tridiagonal


@pytest.mark.parametrize("tied", [True, False])
def test_the_banded_solve_is_the_dense_one(tied):
    rng, frames, size = np.random.default_rng(0), 7, 5
    root = rng.normal(size=(frames, size, size))
    coupling = rng.uniform(0.1, 1, (frames - 1, size)) * tied
    hessian = root @ np.swapaxes(root, 1, 2) + 3 * np.eye(size)
    gradient = rng.normal(size=(frames, size))
    dense = np.zeros((frames * size, frames * size))
    for n in range(frames):
        here = slice(n * size, (n + 1) * size)
        dense[here, here] = hessian[n]
        if n + 1 < frames:
            after = slice((n + 1) * size, (n + 2) * size)
            dense[here, after] = dense[after, here] = -np.diag(coupling[n])
    expected = np.linalg.solve(dense, gradient.ravel()).reshape(frames, size)
    np.testing.assert_allclose(solve_block_tridiagonal(hessian, gradient, coupling), expected, rtol=1e-9, atol=1e-12)


def test_no_energy_across_a_cut_and_little_for_large_steps():
    values = np.zeros((4, 8))
    values[1:, 0], values[2:, 6] = 1.0, 50.0
    prior = TemporalPrior(np.array([0, 1, 1]), 2.0, np.ones(8))
    energy = prior.energy(values)
    assert energy[0] == 0 and energy[3] == 0
    assert 0 < energy.sum() < 2 * 9.1, "a large step costs at most its robust scale"
    assert prior.weights(values)[0].max() == 0
    assert prior.beside(np.array([True, False, False, True])).tolist() == [False, False, True, False]
