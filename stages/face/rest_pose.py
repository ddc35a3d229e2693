"""Where a head is held as a rule, and how far it strays from there: what relative poses are measured from."""

from __future__ import annotations

import numpy as np

from stages.face.camera import rotation_matrix, rotation_vector


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


def rest_pose(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """(6,) usual rotation and translation of poses (N, 3), (N, 3): the median about the mean, so that a few wide
    turns to one side do not pull it there."""
    mean = np.concatenate([mean_rotation(rotation), np.zeros(3)])
    middle = np.median(relative_pose(rotation, translation, mean), axis=0)
    return np.concatenate([part[0] for part in posed(middle[None], mean)])


def pose_arrays(rotation: np.ndarray, translation: np.ndarray) -> dict[str, np.ndarray]:
    """What identity.npz keeps of the poses (N, 3), (N, 3) it was learnt from, float32 each: `pose_rest` (6,), and the
    1st and 99th percentile `pose_low`, `pose_high` (6,) of the poses relative to it."""
    rest = rest_pose(rotation, translation)
    low, high = np.percentile(relative_pose(rotation, translation, rest), [1, 99], axis=0)
    return {name: np.float32(v) for name, v in (("pose_rest", rest), ("pose_low", low), ("pose_high", high))}
