"""Share what published models need: an identity space, landmarks on the surface, eyeballs, and checked files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.morphable.landmark_sets import landmark_set
from selfieavatar.morphable.model import MorphableModel

IRIS_CM = 0.585  # adults (Rufer et al. 2005); the eyes of a subject are measured by selfieavatar.fitting.gaze
EYEBALL_CM = 1.2  # (Bekerman et al. 2014)
_TO_OURS = np.array([1.0, -1.0, -1.0])  # x right, y up, z towards the camera -> x right, y down, z away


@dataclass
class PublishedModel(MorphableModel):
    """A morphable model as published, with an identity space; `with_identity` makes it one person's.

    Landmarks lie anywhere on the surface, not only on vertices. Each has a vertex of its own, which no triangle uses:
    a fixed mixture of the corners of its triangle, in the template and in every basis alike.

    Attributes:
        landmark_set: name of the set that `landmark_vertices` numbers (selfieavatar.morphable.landmark_sets).
        expression_names: (E,) names of the coefficients, as published.
        identity_eyes: vertices (n,) of the left and of the right eyeball; empty where the model has none.
        source_vertices: (V,) number of each vertex in the published mesh, -1 for landmarks.
        origin: (3,) cm, our origin in the published model's place, our axes.
    """

    landmark_set: str = ""
    expression_names: tuple[str, ...] = ()
    identity_eyes: tuple[np.ndarray, ...] = ()
    source_vertices: np.ndarray | None = None
    origin: np.ndarray | None = None

    def with_identity(self, coefficients: np.ndarray) -> MorphableModel:
        """Bake identity coefficients (K,), in units of the basis, into the template."""
        if self.identity_basis is None:
            raise ValueError(f"{self.name} has no identity space")
        flat = np.asarray(coefficients, np.float64) @ self.identity_basis.reshape(self.identity_count, -1)
        template = (self.template + flat.reshape(self.template.shape)).astype(np.float32)
        if self.identity_eyes:
            centre, radius = eyeballs(template, self.identity_eyes)
        else:
            centre, radius = eyes_behind_lids(template, self.landmark_vertices, self.landmark_set)
        return replace(
            self._plain(), template=template, eye_center=centre, eye_radius=radius, identity_basis=None,
            identity_scale=None,
        )  # fmt: skip

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Store the plain model, without what only published models have."""
        return self._plain().to_arrays()

    def _plain(self) -> MorphableModel:
        return MorphableModel(**{f.name: getattr(self, f.name) for f in fields(MorphableModel)})


def eyeballs(vertices: np.ndarray, eyes: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Fit a sphere to the vertices of each eyeball by least squares: centres (2, 3) and radii (2,), cm.

    Eyeballs that are larger than people's shrink towards their front, so that they still touch the lids from behind.
    """
    centres, radii = [], []
    for eye in eyes:
        points = vertices[eye].astype(np.float64)
        middle = points.mean(0)
        points = points - middle
        # |p - c|^2 = r^2 is linear in c and r^2 - |c|^2.
        solution = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0]
        radius = np.sqrt(solution[3] + solution[:3] @ solution[:3])
        radii.append(min(radius, EYEBALL_CM))
        centres.append(middle + solution[:3] - [0, 0, radius - radii[-1]])
    return np.array(centres, np.float32), np.array(radii, np.float32)


def eyes_behind_lids(template: np.ndarray, landmark_vertices: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Place spheres of the usual size behind the lids of a model without eyeballs; returns as `eyeballs`."""
    rings = landmark_set(kind).eyes
    centre = np.array([template[landmark_vertices[list(ring)]].mean(0) for ring in rings], np.float32)
    centre[:, 2] += np.sqrt(EYEBALL_CM**2 - IRIS_CM**2)
    return centre, np.full(2, EYEBALL_CM, np.float32)


def add_points(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Append L mixtures of vertices to (..., V, C): corners (L, 3) vertices, weights (L, 3), sum 1."""
    extra = np.einsum("...lkc,lk->...lc", values[..., corners, :], weights)
    return np.concatenate([values, extra.astype(values.dtype)], axis=-2)


def to_ours(values: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Convert (..., 3) with y up and z towards the camera to our axes, in cm if `scale` is cm per unit."""
    values = np.asarray(values)
    return (values * (_TO_OURS * scale).astype(values.dtype)).astype(np.float32)


def between_eyes(template: np.ndarray, landmark_vertices: np.ndarray, kind: str) -> np.ndarray:
    """Find the middle (3,) of the outer eye corners: the origin of all our models."""
    return template[landmark_vertices[list(landmark_set(kind).outer_eyes)]].mean(0)


def split_seams(tri: np.ndarray, tri_uv: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make one vertex for each pair of vertex and UV that triangles use.

    Args:
        tri, tri_uv: (F, 3) corners of triangles as vertices and as rows of `uv` (T, 2).

    Returns:
        The source vertex of each new one (n,), triangles (F, 3) int32 of new ones, and UV (n, 2) float32.
    """
    pairs, number = np.unique(np.stack([tri.ravel(), tri_uv.ravel()], 1), axis=0, return_inverse=True)
    return pairs[:, 0], number.reshape(-1, 3).astype(np.int32), uv[pairs[:, 1]].astype(np.float32)


def first_copies(source: np.ndarray, count: int) -> np.ndarray:
    """Find the first of the new vertices that `split_seams` made of each old one: (count,), -1 for none."""
    first = np.full(count, -1, np.int32)
    first[source[::-1]] = np.arange(len(source), dtype=np.int32)[::-1]
    return first


def cylinder_uv(template: np.ndarray, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unwrap a head onto an upright cylinder with its seam at the back: UV (T, 2) in [0, 1] and triangles (F, 3).

    The lowest sixth of the square stays free for the discs of the irises (selfieavatar.rendering.eyes.eye_discs).
    """
    low, high = template.min(0), template.max(0)
    middle = 0.5 * (low + high)
    u = 0.5 + np.arctan2(template[:, 0] - middle[0], middle[2] - template[:, 2]) / (2 * np.pi)
    v = (template[:, 1] - low[1]) / max(float(high[1] - low[1]), 1e-9)
    uv = np.stack([u, v], 1)
    # Triangles across the seam take copies of their left corners, one turn on.
    crossing = np.ptp(u[tri], axis=1) > 0.5
    tri_uv = np.where(crossing[:, None] & (u[tri] < 0.5), tri + len(uv), tri)
    uv = np.concatenate([uv, uv + [1, 0]])
    left, right = uv[tri_uv, 0].min(), uv[tri_uv, 0].max()
    uv[:, 0] = (uv[:, 0] - left) / max(float(right - left), 1e-9)
    return 0.02 + uv * [0.96, 0.81], tri_uv


def unit_in_cm(template: np.ndarray, corners: np.ndarray) -> float:
    """Guess how many cm a model's unit is, a power of ten: adults' outer eye corners (2,) are 7 to 13 cm apart.

    Published files differ (metre, decimetre, millimetre) and do not say.
    """
    span = float(np.linalg.norm(template[corners[0]] - template[corners[1]]))
    if not span > 0:
        raise ValueError("the corners of its eyes coincide")
    exponent = np.round(np.log10(9.0 / span))
    if not 5.5 < span * 10.0**exponent < 15:
        raise ValueError(f"the outer corners of its eyes are {span:.3g} units apart: no unit of length that we know")
    return float(10.0**exponent)


# ---------------------------------------------------------------------------------------------------------- checks


@contextmanager
def reading(path: Path, what: str, fix: str) -> Iterator[None]:
    """Turn any error within into one UserError that names the file, what is wrong with it, and how to fix it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # NumPy, SciPy and Python raise a dozen different ones for damaged files
        detail = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is not {what}: {detail}; {fix}") from error


def take(data: Mapping[str, Any], key: str, shape: tuple[int | None, ...], kind: str = "f") -> np.ndarray:
    """Check and convert data[key] to an array of this shape (None: any size) of finite numbers; else ValueError.

    kind: "f" real numbers, returned as float32; "i" whole numbers, returned as int64.
    """
    if not isinstance(data, Mapping) or key not in data:
        raise ValueError(f"'{key}' is missing")
    try:
        array = np.asarray(data[key])
    except ValueError:
        raise ValueError(f"'{key}' is no array") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"'{key}' holds no numbers but {array.dtype}")
    if len(shape) != array.ndim or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("n" if side is None else str(side) for side in shape)
        raise ValueError(f"'{key}' is {' x '.join(map(str, array.shape)) or 'one number'} where {wanted} is expected")
    if 0 in array.shape:
        raise ValueError(f"'{key}' is empty")
    if not np.isfinite(array).all():
        raise ValueError(f"'{key}' holds numbers that are not finite")
    if kind == "f":
        return array.astype(np.float32)
    if (array != np.round(array)).any():
        raise ValueError(f"'{key}' holds fractions where numbers of vertices or triangles are expected")
    return array.astype(np.int64)


def in_range(name: str, numbers: np.ndarray, count: int, low: int = 0) -> np.ndarray:
    """Check that all numbers lie in [low, count) and convert them to int32; else ValueError."""
    if numbers.size and (numbers.min() < low or numbers.max() >= count):
        raise ValueError(f"'{name}' names {int(numbers.min())} to {int(numbers.max())}, but there are {count}")
    return numbers.astype(np.int32)
