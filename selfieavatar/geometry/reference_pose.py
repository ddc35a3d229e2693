"""Where a head is held as a rule, and how far it strays from there: what relative poses are measured from."""

from __future__ import annotations

import numpy as np

from selfieavatar.geometry.camera import rotation_matrix, rotation_vector

# Deviation of a resting head's pitch, yaw and roll before the camera: phones are held low or high, seldom aside.
_FACING_RAD = np.array([0.3, 0.08, 0.08])


def mean_rotation(rotation: np.ndarray) -> np.ndarray:
    """(3,) chordal L2 mean of axis-angle rotations (N, 3) (Hartley et al. 2013, "Rotation averaging")."""
    u, _, vt = np.linalg.svd(rotation_matrix(np.asarray(rotation, float)).mean(0))
    return rotation_vector(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt)


def relative_pose(rotation: np.ndarray, translation: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(N, 6) rotation about the camera's axes (rad) and translation (cm) that lead from the pose `rest` (6,) to each
    pose (N, 3), (N, 3)."""
    turn = rotation_matrix(np.asarray(rotation, float)) @ rotation_matrix(np.asarray(rest[:3], float)).T
    return np.concatenate([rotation_vector(turn), np.asarray(translation, float) - rest[3:]], axis=1)


def posed(relative: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `relative_pose`: rotation (N, 3) and translation (N, 3)."""
    turn = rotation_matrix(np.asarray(relative[:, :3], float)) @ rotation_matrix(np.asarray(rest[:3], float))
    return rotation_vector(turn), relative[:, 3:] + rest[3:]


def independent_count(values: np.ndarray) -> np.ndarray:
    """(K,) how many independent values columns of (N, K) are worth: N over the integrated autocorrelation time.

    The correlations are summed up to the first that is not positive (Geyer 1992).
    """
    count = len(values)
    centred = values - values.mean(0)
    power = np.abs(np.fft.rfft(centred, 2 * count, axis=0)) ** 2
    correlation = np.fft.irfft(power, axis=0)[:count]
    correlation = correlation / np.maximum(correlation[0], 1e-12)
    positive = np.cumprod(correlation > 0, axis=0)
    return count / np.maximum(2 * (correlation * positive).sum(0) - 1, 1.0)


def reference_pose(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """(6,) usual rotation and translation of poses (N, 3), (N, 3) in order of time.

    The median about the mean, so that a few wide turns to one side do not pull it there. A short clip of a lively head
    tells little about its rest: the less certain the median, the more the rest is that of somebody who faces the camera
    (`_FACING_RAD`).
    """
    mean = np.concatenate([mean_rotation(rotation), np.zeros(3)])
    poses = relative_pose(rotation, translation, mean)
    turn, place = posed(np.median(poses, axis=0)[None], mean)
    error2 = poses[:, :3].var(0) / independent_count(poses[:, :3])
    return np.concatenate([turn[0] * _FACING_RAD**2 / (_FACING_RAD**2 + error2), place[0]])


def pose_arrays(rotation: np.ndarray, translation: np.ndarray) -> dict[str, np.ndarray]:
    """What identity.npz keeps of the poses (N, 3), (N, 3) it was learnt from, float32 each: `pose_rest` (6,), and the
    1st and 99th percentile `pose_low`, `pose_high` (6,) of the poses relative to it."""
    rest = reference_pose(rotation, translation)
    low, high = np.percentile(relative_pose(rotation, translation, rest), [1, 99], axis=0)
    return {name: np.float32(v) for name, v in (("pose_rest", rest), ("pose_low", low), ("pose_high", high))}
