"""Learn what the head's pose tells of the torso's shift: a ridge regression on the frames that are trained on.

A driver gives pose, expression and gaze; where the avatar's shoulders are then is a guess. A linear one is as much as
a minute of footage can hold. How much of it there is to learn is told by cross-validation over stretches of time, whose
neighbours are left out as a whole; where the pose tells nothing, the shift is the median.
"""

from __future__ import annotations

import numpy as np

from selfieavatar.identity import TorsoMotion

FOLDS = 8  # stretches of time, each left out once
PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)  # of the summed squares of standardised poses, ascending
_LEAST_FRAMES = 4 * FOLDS
_RANGE = (0.5, 99.5)  # percentiles of the known shifts


def learn_torso_motion(rotation: np.ndarray, translation: np.ndarray, shift: np.ndarray) -> TorsoMotion | None:
    """Fit the shift of the torso to the pose of the head by ridge regression (Hoerl and Kennard 1970).

    Args:
        rotation: axis-angle (N, 3) rad. translation: (N, 3) cm. shift: (N, 2) shares of the side, NaN where unknown.
            All in the order of time, clip after clip.

    Returns:
        The map of both coordinates, each with a penalty of its own, or its median alone; None where no shift is known.
    """
    known = np.isfinite(shift).all(axis=1)
    pose, shift = np.concatenate([rotation, translation], axis=1)[known].astype(float), shift[known].astype(float)
    if not len(shift):
        return None
    middle, spread = pose.mean(axis=0), pose.std(axis=0)
    inputs = (pose - middle) / np.where(spread > 1e-6, spread, np.inf)
    weights = np.zeros((7, 2))
    for axis in range(2):
        constant, slopes = _regression(inputs, shift[:, axis])
        slopes = slopes / np.where(spread > 1e-6, spread, np.inf)
        weights[0, axis], weights[1:, axis] = constant - slopes @ middle, slopes
    low, high = np.percentile(shift, _RANGE, axis=0)
    return TorsoMotion(weights.astype(np.float32), low.astype(np.float32), high.astype(np.float32))


def _regression(inputs: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Choose constant and slopes (6,) for standardised inputs (N, 6) and values (N,), by cross-validation.

    Of the candidates whose error is within one standard error of the least, the simplest is taken (Breiman et al.,
    "Classification and Regression Trees", 1984): a driver's poses are not those of the footage.
    """
    median = float(np.median(values)), np.zeros(inputs.shape[1])
    if len(values) < _LEAST_FRAMES:
        return median
    fold = np.arange(len(values)) * FOLDS // len(values)
    error = np.zeros((FOLDS, len(PENALTIES) + 1))  # the last column is of the median
    for number in range(FOLDS):
        out = fold == number
        error[number, -1] = np.square(values[out] - np.median(values[~out])).mean()
        for k, penalty in enumerate(PENALTIES):
            constant, slopes = _ridge(inputs[~out], values[~out], penalty)
            error[number, k] = np.square(values[out] - constant - inputs[out] @ slopes).mean()
    mean = error.mean(axis=0)
    best = int(mean.argmin())
    most = mean[best] + error[:, best].std(ddof=1) / np.sqrt(FOLDS)
    chosen = int(np.flatnonzero(mean <= most)[-1])
    return median if chosen == len(PENALTIES) else _ridge(inputs, values, PENALTIES[chosen])


def _ridge(inputs: np.ndarray, values: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
    """Solve one ridge regression whose constant is not penalised."""
    middle, mean = inputs.mean(axis=0), values.mean()
    centred = inputs - middle
    normal = centred.T @ centred + penalty * len(values) * np.eye(inputs.shape[1])
    slopes = np.linalg.solve(normal, centred.T @ (values - mean))
    return float(mean - middle @ slopes), slopes
