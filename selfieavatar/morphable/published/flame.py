"""FLAME 2020 and 2023 (Li et al., "Learning a model of facial shape and expression from 4D scans", 2017).

The file is a pickle, partly of chumpy arrays; it is read as data (selfieavatar.io.pickles). Vertices are posed by
linear blend skinning with pose correctives, exactly (`Rig.displacement`). The jaw, which is no linear motion, enters
the linear expression basis in three vectors: turned by an angle a about one axis, a vertex moves by
sin a * p + (1 - cos a) * q, exactly but for products of corrective and rotation. So opening has two coefficients
(sin a and 1 - cos a), moving sideways one (sin a; there 1 - cos a stays below 0.02). Neck and eyes stay at rest: the
head's pose is rigid, the gaze is drawn by the renderer's eyeballs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import rotation_matrix
from selfieavatar.io.pickles import load_npy, load_npz, load_pickle
from selfieavatar.morphable.landmark_sets import EYE_PART, IBUG, MEDIAPIPE, landmark_set
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.published.published_model import (
    IRIS_CM,
    PublishedModel,
    add_points,
    cylinder_uv,
    eyeballs,
    first_copies,
    in_range,
    reading,
    split_seams,
    take,
    to_ours,
)  # fmt: skip

NAME = "flame"
SHAPES, EXPRESSIONS, JOINTS = 300, 100, 5
_JAW, _LEFT_EYE, _RIGHT_EYE = 2, 3, 4
_CM = 100.0  # the model is in metres
_ANGLE = 0.3  # rad at which the jaw's vectors are taken off the exact motion
JAW_NAMES = ("jaw_open", "jaw_open_back", "jaw_side")
_JAW_LOW, _JAW_HIGH, _JAW_SCALE = (0.0, 0.0, -0.2), (0.5, 0.134, 0.2), (0.12, 0.02, 0.05)  # opens by up to 30 degrees
_EXPRESSION_LIMIT = 2.33  # 1st and 99th percentile of a coefficient of unit deviation
MODELS = ("generic_model.pkl", "flame2023.pkl", "flame2020.pkl", "flame2023_Open.pkl", "FLAME_NEUTRAL.pkl")
FIX = "download FLAME again from https://flame.is.tue.mpg.de (docs/models.md)"


@dataclass
class Rig:
    """Joints and skinning of FLAME, in the published axes (y up, z towards the camera) and metres.

    template: (V, 3). correctives: (V, 3, 36), by the entries of R - 1 of all joints but the root, row by row.
    regressor: (5, V), places of the joints: root, neck, jaw, left eye, right eye. parents: (5,), -1 for the root.
    weights: (V, 5) of the joints, sum 1.
    """

    template: np.ndarray
    correctives: np.ndarray
    regressor: np.ndarray
    parents: np.ndarray
    weights: np.ndarray

    def posed(self, shape: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Skin shapes (..., V, 3) to the joint rotations (..., 5, 3), axis-angle in rad: vertices (..., V, 3)."""
        rotations = rotation_matrix(np.asarray(pose, np.float64))
        joints = self.regressor @ shape
        bent = (rotations[..., 1:, :, :] - np.eye(3)).reshape(*rotations.shape[:-3], -1)
        flat = self.correctives.reshape(-1, self.correctives.shape[-1])
        corrected = shape + (bent @ flat.T).reshape(*bent.shape[:-1], -1, 3)
        turned, moved = np.empty_like(rotations), np.empty_like(joints)
        for joint, parent in enumerate(self.parents):
            own, at = rotations[..., joint, :, :], joints[..., joint, :, None]
            turned[..., joint, :, :] = own if parent < 0 else turned[..., parent, :, :] @ own
            # A joint stays where its parent takes it: x -> R (x - j) + place of j.
            place = at if parent < 0 else turned[..., parent, :, :] @ at + moved[..., parent, :, None]
            moved[..., joint, :] = (place - turned[..., joint, :, :] @ at)[..., 0]
        blended = self.weights @ turned.reshape(*turned.shape[:-2], 9)
        blended = blended.reshape(*blended.shape[:-1], 3, 3)
        return np.einsum("...vab,...vb->...va", blended, corrected) + self.weights @ moved

    def displacement(self, shape: np.ndarray, joint: int, rotation: tuple[float, float, float]) -> np.ndarray:
        """Compute how far each vertex moves (V, 3) when one joint rotates."""
        pose = np.zeros((JOINTS, 3))
        pose[joint] = rotation
        return self.posed(shape, pose) - shape

    def jaw_basis(self, shape: np.ndarray) -> np.ndarray:
        """Linearise the jaw: (3, V, 3) motion for sin a and 1 - cos a of its opening, and sin a sideways."""
        down, up = (self.displacement(shape, _JAW, (angle, 0, 0)) for angle in (_ANGLE, -_ANGLE))
        left, right = (self.displacement(shape, _JAW, (0, angle, 0)) for angle in (_ANGLE, -_ANGLE))
        sine, rest = np.sin(_ANGLE), 1 - np.cos(_ANGLE)
        return np.stack([(down - up) / (2 * sine), (down + up) / (2 * rest), (left - right) / (2 * sine)])


@dataclass(kw_only=True)
class FlameModel(PublishedModel):
    """FLAME with the jaw as three vectors at the end of the expression basis, about the person's own joint.

    flame_source: vertex of FLAME of each vertex (n,), landmarks left out. flame_points: corners and weights (L, 3) of
    the landmarks.
    """

    rig: Rig
    flame_source: np.ndarray
    flame_points: tuple[np.ndarray, np.ndarray]

    def with_identity(self, coefficients: np.ndarray) -> MorphableModel:
        """Bake the identity in, with the jaw about the person's own joint."""
        person = super().with_identity(coefficients)
        shape = self.rig.template.copy()
        shape[self.flame_source] = to_ours(person.template[: len(self.flame_source)] + self.origin, 1 / _CM)
        jaw = add_points(to_ours(self.rig.jaw_basis(shape), _CM)[:, self.flame_source], *self.flame_points)
        return replace(person, expression_basis=np.concatenate([person.expression_basis[: -len(jaw)], jaw]))

    def posed_vertices(self, person: MorphableModel, expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Pose a person by exact skinning: coefficients (N, 100), joints (N, 5, 3) rad -> vertices (N, V, 3) cm.

        Where `person.vertices` gives the linear model's: the same order, axes and origin.
        """
        shape = self._shape(person, expression)
        posed = to_ours(self.rig.posed(shape, pose), _CM)[:, self.flame_source] - self.origin
        return add_points(posed, *self.flame_points)

    def root_places(self, person: MorphableModel, expression: np.ndarray) -> np.ndarray:
        """Compute the place (N, 3) cm of the root joint for coefficients (N, 100), where `person.vertices` counts."""
        return to_ours(self.rig.regressor[0] @ self._shape(person, expression), _CM) - self.origin

    def _shape(self, person: MorphableModel, expression: np.ndarray) -> np.ndarray:
        """Build unposed vertices (N, V, 3) in FLAME's axes, metres, of coefficients (N, 100) without the jaw."""
        still = np.zeros((len(expression), len(JAW_NAMES)))  # the jaw turns in `posed`, not in the linear basis
        shape = np.repeat(self.rig.template[None], len(expression), axis=0)
        shape[:, self.flame_source] = to_ours(
            person.vertices(np.concatenate([expression, still], 1))[:, : len(self.flame_source)] + self.origin, 1 / _CM
        )
        return shape


def load(path: Path, landmarks: str = MEDIAPIPE) -> FlameModel:
    """Load the model from its pickle, or the folder that holds it; the landmark embedding lies beside it.

    Raises:
        UserError: missing, damaged or forbidden content, or no embedding of this set of landmarks.
    """
    if path.is_dir():
        found = [path / name for name in MODELS if (path / name).is_file()]
        if not found:
            raise UserError(f"{path} holds none of {', '.join(MODELS)}; {FIX} and name it by `fit.model_path`")
        path = found[0]
    data = load_pickle(path, encoding="latin1")
    with reading(path, "a FLAME model", FIX):
        rig, shapes, tri = _rig(data)
    faces, weights, numbers, contour = _landmarks(path.parent, landmarks, len(tri))
    uv_file = path.parent / "head_template.obj"
    if uv_file.is_file():
        with reading(uv_file, "FLAME's head_template.obj", FIX):
            uv, tri_uv = _template_uv(uv_file.read_text(), tri)
    else:
        uv, tri_uv = cylinder_uv(to_ours(rig.template, _CM), tri)
    return _build(rig, shapes, tri, (uv, tri_uv), (faces, weights, numbers, contour), landmarks)


def _rig(data: dict[str, Any]) -> tuple[Rig, np.ndarray, np.ndarray]:
    """Check and unpack the file: rig, (V, 3, 400) shape and expression vectors in metres, triangles (F, 3)."""
    template = take(data, "v_template", (None, 3)).astype(np.float64)
    count = len(template)
    shapes = take(data, "shapedirs", (count, 3, SHAPES + EXPRESSIONS))
    correctives = take(data, "posedirs", (count, 3, 9 * (JOINTS - 1))).astype(np.float64)
    if "J_regressor" in data and hasattr(data["J_regressor"], "toarray"):
        if data["J_regressor"].shape != (JOINTS, count):
            raise ValueError(f"'J_regressor' is {data['J_regressor'].shape} where {(JOINTS, count)} is expected")
        data = data | {"J_regressor": data["J_regressor"].toarray()}
    regressor = take(data, "J_regressor", (JOINTS, count)).astype(np.float64)
    weights = take(data, "weights", (count, JOINTS)).astype(np.float64)
    if np.abs(weights.sum(1) - 1).max() > 1e-3:
        raise ValueError("the skinning 'weights' of a vertex do not sum to 1")
    parents = take(data, "kintree_table", (2, JOINTS), "i")[0]
    parents[0] = -1  # written as 2^32 - 1
    if (parents[1:] < 0).any() or (parents >= np.arange(JOINTS)).any():
        raise ValueError("'kintree_table' is no tree with parents before their children")
    tri = in_range("f", take(data, "f", (None, 3), "i"), count)
    return Rig(template, correctives, regressor, parents, weights), shapes, tri


def _build(rig: Rig, shapes: np.ndarray, tri: np.ndarray, layout: tuple, places: tuple, landmarks: str) -> FlameModel:
    faces, weights, numbers, contour = places
    source, split, uv = split_seams(tri, layout[1], layout[0])
    corners = first_copies(source, len(rig.template))[tri[faces]]
    if (corners < 0).any():
        raise UserError("a landmark of FLAME lies on a vertex without a triangle; " + FIX)
    vertices = np.full(landmark_set(landmarks).count, -1, np.int32)
    vertices[numbers] = len(source) + np.arange(len(numbers))
    template = add_points(to_ours(rig.template, _CM)[source], corners, weights)
    eyes = tuple(np.flatnonzero(rig.weights[source, joint] > 0.5) for joint in (_LEFT_EYE, _RIGHT_EYE))
    if min(map(len, eyes)) < 4:
        raise UserError("FLAME's eyeballs hang on no joints of their own; " + FIX)
    origin = eyeballs(template, eyes)[0].mean(0)
    template = template - origin
    centre, radius = eyeballs(template, eyes)
    basis = to_ours(np.moveaxis(shapes, 2, 0), _CM)[:, source]
    expression = np.concatenate([basis[SHAPES:], to_ours(rig.jaw_basis(rig.template), _CM)[:, source]])
    limit = np.full(EXPRESSIONS, _EXPRESSION_LIMIT)
    on_eye = np.isin(split, np.concatenate(eyes)).all(1)
    return FlameModel(
        name=NAME, template=template, expression_basis=add_points(expression, corners, weights),
        expression_scale=np.array([*np.ones(EXPRESSIONS), *_JAW_SCALE], np.float32),
        expression_low=np.array([*-limit, *_JAW_LOW], np.float32),
        expression_high=np.array([*limit, *_JAW_HIGH], np.float32),
        tri=split, tri_part=np.where(on_eye, EYE_PART, 0).astype(np.int8), uv=add_points(uv, corners, weights),
        landmark_vertices=vertices, eye_center=centre, eye_radius=radius, iris_radius=IRIS_CM,
        identity_basis=add_points(basis[:SHAPES], corners, weights), identity_scale=np.ones(SHAPES, np.float32),
        landmark_set=landmarks, identity_eyes=eyes,
        expression_names=(*(f"expression_{number:03d}" for number in range(EXPRESSIONS)), *JAW_NAMES),
        contour_vertices=None if contour is None else (len(source) + contour).astype(np.int32),
        rig=rig, flame_source=source, flame_points=(corners, weights), origin=origin,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- landmarks
_Points = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]


def _landmarks(folder: Path, landmarks: str, faces: int) -> _Points:
    """List all points' triangles (P,) and weights (P, 3), and landmark numbers (L,) of the first L of them.

    The last member is the points of the jaw's border (79, 17), or None.
    """
    if landmarks == MEDIAPIPE:
        return _mediapipe(folder / "mediapipe_landmark_embedding.npz", faces)
    if landmarks != IBUG:
        raise UserError(f"FLAME has no places for the landmarks {landmarks}; use {MEDIAPIPE} or {IBUG}")
    found = sorted(folder.glob("*landmark_embedding*.npy"))
    if not found:
        raise UserError(f"{folder} lacks landmark_embedding.npy, the places of the 68 landmarks on FLAME; put it "
                        "beside the model (docs/models.md)")  # fmt: skip
    data = load_npy(found[0])
    with reading(found[0], "an embedding of the 68 landmarks on FLAME", "see docs/models.md"):
        return _ibug(data, faces)


def _mediapipe(path: Path, faces: int) -> _Points:
    if not path.is_file():
        raise UserError(f"{path} is missing, the places of MediaPipe's landmarks on FLAME; put it beside the model "
                        "(docs/models.md), or set `landmarks.detector: face_alignment`")  # fmt: skip
    data = load_npz(path)
    with reading(path, "an embedding of MediaPipe's landmarks on FLAME", "see docs/models.md"):
        numbers = take(data, "landmark_indices", (None,), "i")
        in_range("landmark_indices", numbers, landmark_set(MEDIAPIPE).count)
        return *_points(data, "lmk_face_idx", "lmk_b_coords", (len(numbers),), faces), numbers, None


def _points(
    data: dict[str, Any], face_key: str, weight_key: str, shape: tuple[int | None, ...], faces: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read triangles (P,) and weights (P, 3) of surface points, from arrays of `shape` and `shape` x 3."""
    face = in_range(face_key, take(data, face_key, shape, "i"), faces)
    weight = take(data, weight_key, (*face.shape, 3)).astype(np.float64)
    if np.abs(weight.sum(-1) - 1).max() > 1e-3:
        raise ValueError(f"'{weight_key}' are no barycentric coordinates: they do not sum to 1")
    return face.ravel(), weight.reshape(-1, 3)


def _ibug(data: dict[str, Any], faces: int) -> _Points:
    """Read iBUG's points: the 51 inner ones are fixed; the 17 of the jaw depend on the yaw, the frontal ones first.

    The table of borders is for 0..39, then -1..-39 degrees of yaw about our y axis; it is returned in rising order.
    """
    inner = _points(data, "static_lmk_faces_idx", "static_lmk_bary_coords", (None,), faces)
    if len(inner[0]) < 51:
        raise ValueError(f"'static_lmk_faces_idx' has {len(inner[0])} points where 51 are expected")
    border = _points(data, "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords", (79, 17), faces)
    rows = np.arange(79 * 17).reshape(79, 17)
    frontal = rows[0]
    face = np.concatenate([border[0][frontal], inner[0][:51], border[0]])
    weight = np.concatenate([border[1][frontal], inner[1][:51], border[1]])
    return face, weight, np.arange(68), 68 + np.concatenate([rows[:39:-1], rows[:40]])


def _template_uv(text: str, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read UV (T, 2), v down, and its triangles (F, 3) from an OBJ of the same triangles."""
    lines = text.splitlines()
    uv = np.array([line.split()[1:3] for line in lines if line.startswith("vt ")], np.float64).reshape(-1, 2)
    corners = np.array([[corner.split("/")[:2] for corner in line.split()[1:4]] for line in lines if line[:2] == "f "])
    corners = corners.reshape(-1, 3, 2).astype(np.int64) - 1
    if not np.array_equal(corners[..., 0], tri):
        raise ValueError("its triangles are not those of the model")
    in_range("vt", corners[..., 1], len(uv))
    if not np.isfinite(uv).all() or uv.min() < 0 or uv.max() > 1:
        raise ValueError("its texture coordinates leave the unit square")
    return np.stack([uv[:, 0], 1 - uv[:, 1]], 1), corners[..., 1]
