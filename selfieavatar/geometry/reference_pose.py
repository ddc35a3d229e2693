"""Where a head is held as a rule, and how far it strays from there: what relative poses are measured from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfieavatar.geometry.camera import rotation_matrix, rotation_vector

# Deviation of a resting head's pitch, yaw and roll before the camera: phones are held low or high, seldom aside.
_FACING_RAD = np.array([0.3, 0.08, 0.08])


def mean_rotation(rotation: np.ndarray) -> np.ndarray:
    """Compute the chordal L2 mean (3,) of axis-angle rotations (N, 3) (Hartley et al. 2013, "Rotation averaging")."""
    u, _, vt = np.linalg.svd(rotation_matrix(np.asarray(rotation, float)).mean(0))
    return rotation_vector(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt)


def relative_pose(rotation: np.ndarray, translation: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Express poses (N, 3), (N, 3) relative to a reference pose (6,): (N, 6) rotation, rad, and translation, cm.

    The rotation is about the camera's axes.
    """
    R = rotation_matrix(np.asarray(rotation, float)) @ rotation_matrix(np.asarray(reference[:3], float)).T
    return np.concatenate([rotation_vector(R), np.asarray(translation, float) - reference[3:]], axis=1)


def posed(relative: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Invert `relative_pose`: rotation (N, 3) and translation (N, 3)."""
    R = rotation_matrix(np.asarray(relative[:, :3], float)) @ rotation_matrix(np.asarray(reference[:3], float))
    return rotation_vector(R), relative[:, 3:] + reference[3:]


def independent_count(values: np.ndarray) -> np.ndarray:
    """Compute the effective sample size (K,) of columns of (N, K): N over the integrated autocorrelation time.

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
    """Estimate the reference pose (6,), rotation and translation, of poses (N, 3), (N, 3) in order of time.

    The median about the mean, so that a few wide turns to one side do not pull it there. A short clip of a lively head
    tells little about its rest: the less certain the median, the more the rest is that of somebody who faces the camera
    (`_FACING_RAD`).
    """
    mean = np.concatenate([mean_rotation(rotation), np.zeros(3)])
    poses = relative_pose(rotation, translation, mean)
    R, t = posed(np.median(poses, axis=0)[None], mean)
    error2 = poses[:, :3].var(0) / independent_count(poses[:, :3])
    return np.concatenate([R[0] * _FACING_RAD**2 / (_FACING_RAD**2 + error2), t[0]])


@dataclass(frozen=True)
class PoseRange:
    """Usual pose, and the range of poses about it.

    Attributes:
        reference: (6,) float32 rotation, rad, and translation, cm. low, high: (6,) float32, 1st and 99th percentile of
            the poses relative to it.
    """

    reference: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, rotation: np.ndarray, translation: np.ndarray) -> PoseRange:
        """Measure the range of poses (N, 3), (N, 3) in order of time."""
        reference = reference_pose(rotation, translation)
        low, high = np.percentile(relative_pose(rotation, translation, reference), [1, 99], axis=0)
        return cls(*(np.asarray(pose, np.float32) for pose in (reference, low, high)))
