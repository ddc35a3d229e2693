"""A subject's mesh made ready to be drawn at one size: what the drawing code of CPU and GPU shares."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from selfieavatar.geometry.normals import orient_outwards
from selfieavatar.identity import Identity
from selfieavatar.rendering.eyes import eye_discs, eyeballs, mouth_plane
from selfieavatar.rendering.kernels import EYE


class FaceImages(NamedTuple):
    """The driving images of a frame.

    image (S, S, 3) uint8 I_R; uv (S, S, 3) uint16 I_UV; mask (S, S) bool of the pixels that the face covers.
    """

    image: np.ndarray
    uv: np.ndarray
    mask: np.ndarray


class FaceMesh:
    """Mesh, texture, eyeballs and camera of a subject for images of `size_px`.

    Attributes:
        template (V, 3), uv (V, 2), texture (T, T, 3): float32. basis (E, 3 V): float64. tri (F, 3): int32.
        part (F,): int8.
        outwards: 1 or -1, sign of the normals that point out of the face. eyes: (2, 5), see `eyes.eyeballs`.
        eye_of: (F,) the eyeball nearest to a triangle. discs: (2, 3), see `eyes.eye_discs`. mouth: (7,), see
            `eyes.mouth_plane`.
    """

    def __init__(self, identity: Identity, size_px: int, supersample: int) -> None:
        """Prepare the mesh; supersample: samples per pixel and axis of I_R."""
        camera, model = identity.camera.scaled(size_px), identity.model
        self.size_px, self.supersample, self.focal_px = int(size_px), int(supersample), camera.focal_px
        self.principal = np.asarray(camera.principal, np.float64)
        self.template = np.asarray(model.template, np.float32)
        # float64: sums in another order, by other threads or another memory address, then give the same images.
        self.basis = np.asarray(model.expression_basis, np.float64).reshape(-1, self.template.size)
        self.tri = np.ascontiguousarray(model.tri, np.int32)
        self.part = np.ascontiguousarray(model.tri_part, np.int8)
        self.uv = np.ascontiguousarray(model.uv, np.float32)
        self.texture = np.ascontiguousarray(identity.texture, np.float32)
        self.outwards = np.float32(orient_outwards(self.template, self.tri))
        self.eyes = eyeballs(model)
        middle = self.template[self.tri].mean(axis=1)
        distance = np.linalg.norm(middle[:, None] - self.eyes[None, :, :3], axis=2)
        self.eye_of = distance.argmin(axis=1).astype(np.int8)
        self.discs = eye_discs(self.uv, self.tri) if (self.part == EYE).any() else np.zeros((2, 3))
        self.mouth = mouth_plane(self.template, self.uv, self.tri, self.part)

    def vertices(self, rotation: np.ndarray, translation: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Pose the mesh: camera points (V, 3) float64, cm.

        Args:
            rotation: (3,) axis-angle, rad. translation: (3,) cm. expression: (E,).
        """
        shape = self.template.ravel() + np.asarray(expression, np.float64) @ self.basis
        return shape.reshape(-1, 3) @ rodrigues(rotation).T + np.asarray(translation, np.float64)


def rodrigues(rotation: np.ndarray) -> np.ndarray:
    """Return the rotation matrix (3, 3) of one axis-angle vector (3,), rad, by OpenCV: fast for a single one."""
    return cv2.Rodrigues(np.asarray(rotation, np.float64).reshape(3))[0]
