"""Read FaceVerse v2, v3 and v4.

Wang et al., "FaceVerse: a Fine-grained and Detail-controllable 3D Face Morphable Model from a Hybrid Dataset", CVPR
2022; versions at https://github.com/LizhenWangT/FaceVerse and FaceVerse_v4.

One .npy each, a pickled dict, read as data. v2 is a face without eyeballs and with 66 landmarks; v3 and v4 are heads
with eyeballs and MediaPipe's 478 landmarks; only v3 has UV (`uvtex`, 0 to 255). Expressions are blend shapes: their
coefficients are not negative. The versions differ in unit and in the direction of their axes, so both are read off
the model's own landmarks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.pickles import load_npy
from selfieavatar.morphable.landmark_sets import CHIN, EYE_PART, FOREHEAD, IBUG, MEDIAPIPE, NOSE_TIP, landmark_set
from selfieavatar.morphable.published.published_model import (
    IRIS_CM,
    PublishedModel,
    between_eyes,
    cylinder_uv,
    eyeballs,
    eyes_behind_lids,
    first_copies,
    in_range,
    reading,
    split_seams,
    take,
    unit_in_cm,
)

NAME = "faceverse"
FIX = "download FaceVerse again (docs/models.md)"
# OpenSeeFace's 66 points of v2: iBUG's 68 without the outer corners of the mouth.
_IBUG_OF_66 = np.r_[0:48, 49:54, 55:68]
# Landmarks that tell up from down and front from back: upper, lower, and the tip of the nose.
_AXES = {MEDIAPIPE: (FOREHEAD, CHIN, NOSE_TIP), IBUG: (27, 8, 30)}
_TONGUE = slice(171, 177)  # the last expressions of v4, which its authors never fit


def load(path: Path, landmarks: str = MEDIAPIPE) -> PublishedModel:
    """Load the model from its .npy; its keys tell the version.

    Raises:
        UserError: missing, damaged or forbidden content, or no landmarks of this set.
    """
    data = load_npy(path)
    with reading(path, "a FaceVerse model", FIX):
        numbers, keypoints = _landmarks(data, landmarks, path)
        return _build(data, landmarks, numbers, keypoints)


def _landmarks(data: Any, landmarks: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """List landmark numbers and their vertices."""
    if not isinstance(data, dict):
        raise ValueError("it holds no table of arrays")
    choices = {
        MEDIAPIPE: (("mediapipe_keypoints", 478), ("keypoints_mediapipe", 478)),
        IBUG: (("keypoints_68", 68), ("keypoints", 68), ("keypoints", 66)),
    }
    for key, count in choices.get(landmarks, ()):
        if key in data and np.size(data[key]) == count:
            vertices = take({key: np.ravel(data[key])}, key, (count,), "i")
            return (_IBUG_OF_66 if count == 66 else np.arange(count)), vertices
    raise UserError(
        f"{path} has no places for the landmarks {landmarks}; FaceVerse v3 and v4 go with {MEDIAPIPE} "
        f"(`landmarks.detector: mediapipe`), v2 with {IBUG} (`landmarks.detector: face_alignment`)"
    )


def _build(data: dict[str, Any], landmarks: str, numbers: np.ndarray, keypoints: np.ndarray) -> PublishedModel:
    mean = take({"meanshape": np.reshape(data.get("meanshape", ()), (-1, 3))}, "meanshape", (None, 3))
    count = len(mean)
    if not count:
        raise ValueError("'meanshape' is missing")
    identity = _basis(data, "idBase", count)
    expression = _basis(data, "exBase_52" if "exBase_52" in data else "exBase", count)
    tri = in_range("tri", take(data, "tri", (None, 3), "i"), count)
    in_range("landmarks", keypoints, count)
    vertices = np.full(landmark_set(landmarks).count, -1, np.int32)
    vertices[numbers] = keypoints
    turn = _turn(mean, vertices, landmarks)
    template, identity, expression = mean * turn, identity * turn, expression * turn
    eyes = _eyeballs(data, count)
    names = _names(data, len(expression))
    if len(expression) == _TONGUE.stop:
        expression, names = expression[: _TONGUE.start], names[: _TONGUE.start]
    if "uvtex" in data:
        uv, tri_uv = np.clip(take(data, "uvtex", (count, 3))[:, :2] / 255, 0, 1), tri
    else:
        uv, tri_uv = cylinder_uv(template, tri)
    source, split, uv = split_seams(tri, tri_uv, uv)
    vertices[numbers] = first_copies(source, count)[keypoints]
    if (vertices[numbers] < 0).any():
        raise ValueError("a landmark lies on a vertex without a triangle")
    template = template[source]
    origin = between_eyes(template, vertices, landmarks)
    template = template - origin
    balls = tuple(np.flatnonzero(np.isin(source, eye)) for eye in eyes)
    found = eyeballs(template, balls) if balls else eyes_behind_lids(template, vertices, landmarks)
    ones = np.ones(len(expression), np.float32)
    on_eye = np.isin(split, np.concatenate(balls)).all(1) if balls else np.zeros(len(split), bool)
    return PublishedModel(
        name=NAME, template=template.astype(np.float32), expression_basis=expression[:, source],
        expression_scale=ones, expression_low=0 * ones, expression_high=ones, tri=split,
        tri_part=np.where(on_eye, EYE_PART, 0).astype(np.int8), uv=uv, landmark_vertices=vertices,
        eye_center=found[0], eye_radius=found[1], iris_radius=IRIS_CM, identity_basis=identity[:, source],
        identity_scale=np.ones(len(identity), np.float32), landmark_set=landmarks, expression_names=names,
        identity_eyes=balls, source_vertices=source.astype(np.int32), origin=origin,
    )  # fmt: skip


def _basis(data: dict[str, Any], key: str, count: int) -> np.ndarray:
    """Reshape a basis (3V, K) or (V, 3, K) to (K, V, 3)."""
    flat = np.asarray(data[key]) if key in data else None
    if flat is not None and flat.ndim == 3 and flat.shape[:2] == (count, 3):
        flat = flat.reshape(3 * count, -1)
    basis = take(data if flat is None else {key: flat}, key, (3 * count, None))
    return np.ascontiguousarray(basis.T).reshape(-1, count, 3)


def _turn(mean: np.ndarray, vertices: np.ndarray, landmarks: str) -> np.ndarray:
    """Find the (3,) factors to our axes and cm from where the model has its eyes, chin and nose."""
    corners = vertices[list(landmark_set(landmarks).outer_eyes)]
    upper, lower, nose = (mean[vertices[number]] for number in _AXES[landmarks])
    right, left = mean[corners]
    signs = np.sign([left[0] - right[0], lower[1] - upper[1], 0.5 * (left[2] + right[2]) - nose[2]])
    if not signs.all():
        raise ValueError("the corners of its eyes, its chin and its nose do not form a face")
    return (signs * unit_in_cm(mean, corners)).astype(np.float32)


def _eyeballs(data: dict[str, Any], count: int) -> tuple[np.ndarray, ...]:
    """List the vertices of the left and the right eyeball, which follow those of the head; none for v2."""
    if "ver_inds" not in data:
        return ()
    ends = take({"ver_inds": np.ravel(data["ver_inds"])}, "ver_inds", (None,), "i")
    if len(ends) < 3 or not (0 < ends[0] < ends[1] < ends[2] <= count):
        raise ValueError(f"'ver_inds' {ends.tolist()} does not name the ends of head and eyeballs")
    return np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2])


def _names(data: dict[str, Any], count: int) -> tuple[str, ...]:
    for key in ("exp_name_list_52", "exp_name_list"):
        names = data.get(key)
        if isinstance(names, list | tuple | np.ndarray) and len(names) == count:
            return tuple(str(name) for name in names)
    return tuple(f"expression_{number:03d}" for number in range(count))
