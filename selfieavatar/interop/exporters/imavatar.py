"""Export IMAvatar's data (Zheng et al., CVPR 2022): image/, mask/ and flame_params.json, as its public code reads them.

FLAME's head stands at the origin, four times as large as in metres; the camera looks along its -z and never turns. So
the head's rotation is that of FLAME's root joint, and the translation is the camera's. The networks take 100 shape and
50 expression coefficients. The subject's mesh has more of both and a linear jaw: the file gets the coefficients whose
mesh is nearest. IMAvatar paints the person over white. PointAvatar reads the same files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera, rotation_matrix, transform
from selfieavatar.identity import Identity
from selfieavatar.io.images import encode_png
from selfieavatar.morphable.coefficient_files import CM_PER_M, FLAME_SCALE
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.published import load_model
from selfieavatar.morphable.published.flame import EXPRESSIONS, JAW_NAMES, JOINTS, NAME, FlameModel

SHAPES, KEPT = 100, 50  # shape and expression coefficients that the networks take
FILE = "flame_params.json"
FLIP = np.array([1.0, -1.0, -1.0])  # our model and camera axes <-> FLAME's and OpenGL's
_SAME_CM = 0.01  # a person's mesh is at most as far from the published model's own


def load_flame(identity: Identity, path: Path | None) -> FlameModel:
    """Load the FLAME model that a subject was fitted with.

    Args:
        identity: of the subject.
        path: what `fit.model_path` names.

    Raises:
        UserError: the subject has another model, or the file is not the one that was fitted.
    """
    if identity.model.name != NAME:
        raise UserError(
            f"IMAvatar reads FLAME's coefficients, but the subject is fitted with '{identity.model.name}'; set "
            "`fit: {model: flame, model_path: ...}` and run the workflow again (docs/models.md)"
        )
    if path is None:
        raise UserError("IMAvatar's file is written from FLAME's own: name it by --model-path, as fit.model_path does")
    model = load_model(NAME, path, identity.landmark_set.name)
    assert isinstance(model, FlameModel)
    same = model.template.shape == identity.model.template.shape
    if not same or _shape_of(identity.model, model, model.identity_count)[1] > _SAME_CM:
        raise UserError(f"{path} is not the FLAME that the subject was fitted with; name that of fit.model_path")
    return model


def _shape_of(person: MorphableModel, published: FlameModel, count: int) -> tuple[np.ndarray, float]:
    """Find the first `count` shape coefficients nearest to a person's mesh, and how far a vertex is off, cm at most."""
    assert published.identity_basis is not None
    basis = published.identity_basis[:count].reshape(count, -1).T.astype(float)
    offset = (person.template.astype(float) - published.template).ravel()
    found = np.linalg.lstsq(basis, offset, rcond=None)[0]
    return found, float(np.abs(basis @ found - offset).max())


def jaw_rotation(jaw: np.ndarray) -> np.ndarray:
    """Convert the jaw's three linear coefficients (3,) to its joint's axis-angle (3,) rad, in FLAME's axes.

    They are sin a and 1 - cos a of its opening, and sin b of moving sideways (`published.flame`).
    """
    opened, back, side = np.asarray(jaw, float)
    return np.array([np.arctan2(opened, 1 - back), np.arcsin(np.clip(side, -1, 1)), 0.0])


def eye_rotations(gaze: np.ndarray) -> np.ndarray:
    """Convert gaze (4,) rad to the eye joints' axis-angles (2, 3) rad, in FLAME's axes; NaN looks ahead."""
    yaw, pitch = np.nan_to_num(np.asarray(gaze, float)).reshape(2, 2).T
    ahead = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], 1)
    axis = np.stack([ahead[:, 1], ahead[:, 0], np.zeros(2)], 1)  # from straight ahead by the shortest way
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    return axis * np.arctan2(sine, -ahead[:, 2:]) / np.maximum(sine, 1e-12)


class ImavatarData:
    """Collect one subject's data; frames may be added from several threads.

    Args:
        subject: name of the subject.
        published: of `load_flame`.
        model: the subject's face.
        camera: of the frames (S px).
    """

    def __init__(self, subject: str, published: FlameModel, model: MorphableModel, camera: Camera) -> None:
        self.subject, self.published, self.model, self.camera = subject, published, model, camera
        self.shape = _shape_of(model, published, SHAPES)[0]
        self._person = published.with_identity(np.pad(self.shape, (0, published.identity_count - SHAPES)))
        basis = published.expression_basis[:EXPRESSIONS].reshape(EXPRESSIONS, -1).T.astype(float)
        self._kept = np.linalg.lstsq(basis[:, :KEPT], basis, rcond=None)[0]
        eyes = np.concatenate(published.identity_eyes)  # which turn in the file, and rest in our mesh
        self._compared = np.setdiff1d(np.arange(len(model.template)), eyes)
        self._entries: dict[int, dict[str, Any]] = {}
        self._far: list[float] = []

    def frame_files(
        self, number: int, split: str, row: Mapping[str, np.ndarray], filmed: tuple[np.ndarray, np.ndarray] | None
    ) -> dict[str, bytes]:
        """Encode the images of a frame, by their paths, and keep its coefficients for `shared_files`.

        Args:
            number: the running number.
            split: name of the folder.
            row: rotation (3,), translation (3,) cm, expression (E,), gaze (4,) rad.
            filmed: frame (S, S, 3) and alpha (S, S), uint8, 255 on the person; None for a driver's frames, which the
                test program renders with --only_json, without any image.
        """
        rotation, translation = row["rotation"].astype(float), row["translation"].astype(float)
        expression = self._kept @ row["expression"][:EXPRESSIONS].astype(float)
        pose = np.zeros((JOINTS, 3))
        pose[0], pose[2] = FLIP * rotation, jaw_rotation(row["expression"][-len(JAW_NAMES) :])
        pose[3:] = eye_rotations(row["gaze"])
        whole = np.pad(expression, (0, EXPRESSIONS - KEPT))[None]
        # The joint stays where it is, so the camera makes up for what our rotation about our origin moves it by.
        root = self.published.root_places(self._person, whole)[0].astype(float)
        away = translation + rotation_matrix(rotation) @ root - root  # of our origin
        vertices = self.model.vertices(row["expression"]).astype(float)
        seen = self.camera.project(transform(vertices, rotation[None], translation[None])[0])
        posed = self.published.posed_vertices(self._person, whole, pose[None])[0]
        far = np.linalg.norm(seen - self.camera.project(posed + away), axis=1)[self._compared]
        self._far.append(float(np.percentile(far, 95)))
        marks = seen[self.model.landmark_vertices[self.model.used_landmarks]]
        box = np.clip(2 * np.concatenate([marks.min(0), marks.max(0)]) / self.camera.size_px - 1, -1, 1)
        place = FLIP * (away - self.published.origin) * (FLAME_SCALE / CM_PER_M)
        self._entries[number] = {
            "file_path": f"./image/{number:06d}", "world_mat": np.c_[np.eye(3), place].tolist(),
            "expression": expression.tolist(), "pose": pose.ravel().tolist(), "bbox": box.tolist(),
        }  # fmt: skip
        if filmed is None:
            return {}
        folder = self._folder(split)
        return {f"{folder}/{kind}/{number:06d}.png": encode_png(image)
                for kind, image in zip(("image", "mask"), filmed, strict=True)}  # fmt: skip

    def _folder(self, split: str) -> str:
        return f"{self.subject}/{self.subject}/{split}"

    def shared_files(self, splits: Mapping[str, Iterable[int]], out: Path) -> dict[str, bytes]:
        """Write the files for all frames, once they have been added: coefficients for each split, and the settings."""
        side, (cx, cy) = self.camera.size_px, self.camera.principal
        focal = self.camera.focal_px / side
        common = {"shape_params": self.shape.tolist(), "intrinsics": [-focal, focal, cx / side, cy / side]}
        files = {}
        for split, numbers in splits.items():
            content = {"frames": [self._entries[number] for number in numbers]} | common
            if content["frames"]:
                files[f"{self._folder(split)}/{FILE}"] = (json.dumps(content, allow_nan=False) + "\n").encode()
        last = [split for split in splits if f"{self._folder(split)}/{FILE}" in files][-1]
        return files | {"imavatar.conf": self._settings(out, last).encode()}

    def _settings(self, out: Path, test: str) -> str:
        """Write the part of IMAvatar's settings that is about the data; the rest is included from its own."""

        def part(name: str, split: str) -> str:
            side = self.camera.size_px
            return f'    {name} {{ sub_dir = ["{split}"], img_res = [{side}, {side}], subsample = 1 }}\n'

        return (
            'include "IMavatar_unsupervised.conf"\n'
            f'dataset {{\n    data_folder = {json.dumps(str(out))}\n    subject_name = "{self.subject}"\n'
            f'    json_name = "{FILE}"\n{part("train", "train")}{part("test", test)}}}\n'
        )

    def facts(self) -> dict[str, Any]:
        """Collect the facts for the README, once all frames have been added; distances in px."""
        return {
            "size": self.camera.size_px, "usual": float(np.median(self._far)), "worst": max(self._far),
        }  # fmt: skip
