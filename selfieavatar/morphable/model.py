"""Represent a face by a linear morphable model (3DMM), whatever it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np


@dataclass
class MorphableModel:
    """A linear face: vertices = template + sum_k expression[k] * expression_basis[k], in cm.

    Models with an identity space (FLAME, FaceVerse, BFM, ICT-FaceKit) carry `identity_basis` (K, V, 3) with the
    standard deviations
    `identity_scale` (K,); fitting bakes the identity into `template`, and from there all models look alike.

    Attributes:
        name: kind of model, e.g. "facemesh".
        template: (V, 3) float32 cm, the subject's neutral face; axes x right, y down, z away from the camera.
        expression_basis: (E, V, 3) float32 cm. expression_scale: (E,) standard deviation of each coefficient.
        expression_low, expression_high: (E,) 1st and 99th percentile over the frames that the model was learnt from; of
            blendshapes, whose low is 0, the limits that a fit keeps.
        tri: (F, 3) int32. tri_part: (F,) int8, 0 skin, 1 eye opening, 2 mouth opening, 3 hides others but is not drawn,
            4 teeth. uv: (V, 2) float32 in [0, 1].
        landmark_vertices: (L,) int32, the vertex that stands for each landmark of the detector's set, -1 for none.
        contour_vertices: (A, C) vertices of the face's visible border for A head yaws, one column for each of the set's
            contour landmarks, where the model's authors publish them; else None.
        eye_center: (2, 3), eye_radius: (2,) cm, left and right eyeball in the template. iris_radius: cm.
    """

    name: str
    template: np.ndarray
    expression_basis: np.ndarray
    expression_scale: np.ndarray
    expression_low: np.ndarray
    expression_high: np.ndarray
    tri: np.ndarray
    tri_part: np.ndarray
    uv: np.ndarray
    landmark_vertices: np.ndarray
    eye_center: np.ndarray
    eye_radius: np.ndarray
    iris_radius: float
    identity_basis: np.ndarray | None = None
    identity_scale: np.ndarray | None = None
    contour_vertices: np.ndarray | None = None

    @property
    def expression_count(self) -> int:
        """Number of expression coefficients E."""
        return len(self.expression_basis)

    @property
    def identity_count(self) -> int:
        """Number of identity coefficients K; 0 for a model of one person."""
        return 0 if self.identity_basis is None else len(self.identity_basis)

    @property
    def used_landmarks(self) -> np.ndarray:
        """(M,) numbers of the landmarks that have a vertex."""
        return np.flatnonzero(self.landmark_vertices >= 0)

    def vertices(self, expression: np.ndarray) -> np.ndarray:
        """Evaluate the linear model: coefficients (N, E) or (E,) -> vertices (N, V, 3) or (V, 3), cm."""
        flat = self.expression_basis.reshape(self.expression_count, -1)
        offsets = np.asarray(expression, flat.dtype) @ flat
        return self.template + offsets.reshape(*np.shape(expression)[:-1], *self.template.shape)

    def with_identity(self, coefficients: np.ndarray) -> MorphableModel:
        """Bake identity coefficients (K,) into the template; the result has no identity space."""
        if self.identity_basis is None:
            raise ValueError(f"{self.name} has no identity space")
        offset = np.tensordot(np.asarray(coefficients, float), self.identity_basis, 1).astype(self.template.dtype)
        nearest = [int(np.argmin(((self.template - eye) ** 2).sum(1))) for eye in self.eye_center]
        return replace(
            self, template=self.template + offset, eye_center=self.eye_center + offset[nearest], identity_basis=None,
            identity_scale=None,
        )  # fmt: skip

    def expression_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Bound the coefficients of a fit: (E,) lowest and highest values, infinite where there is no limit.

        Weights of blendshapes start at 0 and keep within their limits; the percentiles of a learnt component are none.
        """
        bounded = self.expression_low == 0
        return np.where(bounded, 0.0, -np.inf), np.where(bounded, self.expression_high, np.inf)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Store the model as plain arrays for identity.npz, without an identity space."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("identity_")}
        if self.contour_vertices is None:
            del arrays["contour_vertices"]
        arrays["model"] = np.array(arrays.pop("name"))
        arrays["iris_radius"] = np.float32(self.iris_radius)
        return {key: value.astype(np.float32) if value.dtype == np.float64 else value for key, value in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> MorphableModel:
        """Restore the model from the arrays of `to_arrays`, unchecked: see `Identity.from_arrays`."""
        names = [f.name for f in fields(cls) if f.name != "name" and f.default is not None]
        values: dict[str, Any] = {name: np.asarray(arrays[name]) for name in names}
        values |= {"name": str(arrays["model"]), "iris_radius": float(arrays["iris_radius"])}
        return cls(**values, contour_vertices=arrays.get("contour_vertices"))
