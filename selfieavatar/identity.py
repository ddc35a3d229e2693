"""The identity of a subject, what identity.npz and avatar.pt keep of who it is: typed, and checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera
from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.io.files import atomic_file
from selfieavatar.io.npz import read_npz
from selfieavatar.morphable.landmark_sets import TEETH_PART, LandmarkSet, landmark_set_of
from selfieavatar.morphable.model import MorphableModel

# Of each array: kinds of numbers ("B" is uint8), shape (V vertices, E expressions, F triangles, other letters any
# length), least and most. Cm and pixels are far below the bounds; what is beyond overflows on the way to an image.
_CM = -1e4, 1e4
_Spec = tuple[str, tuple[int | str, ...], tuple[Any, Any]]
_REQUIRED: dict[str, _Spec] = {
    "template": ("f", ("V", 3), _CM),
    "expression_basis": ("f", ("E", "V", 3), _CM),
    "expression_scale": ("f", ("E",), (0, 1e4)),
    "expression_low": ("f", ("E",), _CM),
    "expression_high": ("f", ("E",), _CM),
    "tri": ("iu", ("F", 3), (0, None)),
    "tri_part": ("iu", ("F",), (0, TEETH_PART)),
    "uv": ("f", ("V", 2), (-2, 2)),
    "landmark_vertices": ("iu", ("L",), (-1, None)),
    "eye_center": ("f", (2, 3), _CM),
    "eye_radius": ("f", (2,), (0, 1e4)),
    "iris_radius": ("f", (), (0, 1e4)),
    "focal_px": ("iuf", (), (1e-3, 1e6)),
    "principal": ("iuf", (2,), (-1e6, 1e6)),
    "size_px": ("iu", (), (1, 1 << 15)),
    "texture": ("B", ("T", "T", 3), (0, 255)),
}
_MOST_REFERENCE_PX = 512  # live driving looks at all of it in each frame
_OPTIONAL: dict[str, _Spec] = {
    "contour_vertices": ("iu", ("A", "C"), (-1, None)),
    "reference": ("B", ("R", "R"), (0, 255)),
    "pose_rest": ("f", (6,), _CM),
    "pose_low": ("f", (6,), _CM),
    "pose_high": ("f", (6,), _CM),
    "texture_weight": ("f", ("T", "T"), (0, np.inf)),
    "light": ("f", (9, 3), _CM),
    "skull": ("f", (4,), ((-1e4, -1e4, -1e4, 1e-3), 1e4)),
    "torso_picture": ("B", ("S", "S"), (0, 255)),
    "torso_mask": ("B", ("S", "S"), (0, 255)),
    "torso_top": ("iuf", (), _CM),
    "torso_weights": ("f", (7, 2), _CM),
    "torso_low": ("f", (2,), (-1, 1)),
    "torso_high": ("f", (2,), (-1, 1)),
}
_POSES = ("pose_rest", "pose_low", "pose_high")
_TORSO = ("torso_picture", "torso_mask", "torso_top")
_TORSO_MOTION = ("torso_weights", "torso_low", "torso_high")
_LEAST_PX = 8  # side of the images
MOST_BYTES = 1 << 28  # of all arrays; those of the largest face model have a third


@dataclass(frozen=True)
class Torso:
    """Reference of the torso.

    image: (S, S) uint8, grey. mask: (S, S) uint8, 255 on the torso. top: row of the chin, where it begins, as a share
    of the side.
    """

    image: np.ndarray
    mask: np.ndarray
    top: float


@dataclass(frozen=True)
class TorsoMotion:
    """Linear map from the head's pose to the torso's shift; see `fitting.torso_motion`.

    weights: (7, 2) float32, rows: the constant, axis-angle (rad), translation (cm); columns: x, y as shares of the
    side. low, high: (2,) float32, range of the shifts that it was learnt from, to which a prediction is limited.
    """

    weights: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def shift(self, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Predict shifts (N, 2) from axis-angles (N, 3), rad, and translations (N, 3), cm."""
        pose = np.concatenate([np.ones((len(rotation), 1)), rotation, translation], axis=1)
        return np.clip(pose @ self.weights.astype(float), self.low, self.high)


@dataclass(frozen=True)
class Identity:
    """Who the subject is. What was not learnt is None.

    Attributes:
        model: face model, with the neutral face as its template.
        camera: of the frames that the model was learnt from.
        texture: (T, T, 3) uint8 albedo. texture_weight: (T, T) float32, how much of each texel was seen.
        light: (9, 3) float32, mean spherical-harmonic light of the frames.
        pose_range: usual head pose and the range about it.
        head_sphere: (4,) float32 centre in model axes and radius, cm, of the sphere on which hair and ears lie.
        torso: reference that the shift of the torso is measured from.
        torso_motion: what the head's pose tells of that shift; learnt by the training, and kept in avatar.pt.
        registration_reference: (R, R) uint8 local contrast of the skin, see `fitting.registration`.
    """

    model: MorphableModel
    camera: Camera
    texture: np.ndarray
    texture_weight: np.ndarray | None = None
    light: np.ndarray | None = None
    pose_range: PoseRange | None = None
    head_sphere: np.ndarray | None = None
    torso: Torso | None = None
    registration_reference: np.ndarray | None = None
    torso_motion: TorsoMotion | None = None

    @cached_property
    def landmark_set(self) -> LandmarkSet:
        """The landmarks that the subject was tracked by; UserError for an unknown number of them."""
        try:
            return landmark_set_of(len(self.model.landmark_vertices))
        except KeyError as error:
            raise UserError(f"the identity is of unknown landmarks ({error}); run the workflow again") from error

    @classmethod
    def load(cls, path: Path | str) -> Identity:
        """Read an identity.npz; nothing in it is unpickled.

        Raises:
            UserError: the file is missing, damaged or too large, or its arrays contradict each other.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"the identity {path} is missing; run the workflow again to make it")
        try:
            return cls.from_arrays(read_npz(path, ("model", *_REQUIRED, *_OPTIONAL), MOST_BYTES))
        except Exception as error:  # depending on where the file is damaged, a dozen different ones are raised
            raise UserError(
                f"{path} is not a readable identity ({error}); delete it and run the workflow again"
            ) from error

    def save(self, path: Path) -> None:
        """Write an identity.npz; the same identity gives the same bytes."""
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **self.to_arrays())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Identity:
        """Build the identity from the arrays of `to_arrays`.

        Raises:
            ValueError: names the array that is missing, or that does not fit the rest.
        """
        _check(arrays)
        x, y = np.asarray(arrays["principal"], float)
        camera = Camera(float(arrays["focal_px"]), (float(x), float(y)), int(arrays["size_px"]))
        torso = None
        if "torso_top" in arrays:
            torso = Torso(arrays["torso_picture"], arrays["torso_mask"], float(arrays["torso_top"]))
        motion = TorsoMotion(*(arrays[name] for name in _TORSO_MOTION)) if "torso_weights" in arrays else None
        return cls(
            MorphableModel.from_arrays(arrays), camera, arrays["texture"], arrays.get("texture_weight"),
            arrays.get("light"), PoseRange(*(arrays[name] for name in _POSES)) if "pose_rest" in arrays else None,
            arrays.get("skull"), torso, arrays.get("reference"), motion,
        )  # fmt: skip

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of identity.npz by name."""
        arrays: dict[str, Any] = self.model.to_arrays() | {
            "reference": self.registration_reference, "focal_px": np.float32(self.camera.focal_px),
            "principal": np.array(self.camera.principal, np.float32), "size_px": np.int32(self.camera.size_px),
        }  # fmt: skip
        if self.pose_range is not None:
            poses = self.pose_range.reference, self.pose_range.low, self.pose_range.high
            arrays |= dict(zip(_POSES, poses, strict=True))
        arrays |= {"texture": self.texture, "texture_weight": self.texture_weight, "light": self.light}
        arrays |= {"skull": self.head_sphere}
        if self.torso is not None:
            parts = self.torso.image, self.torso.mask, np.float32(self.torso.top)
            arrays |= dict(zip(_TORSO, parts, strict=True))
        if (motion := self.torso_motion) is not None:
            arrays |= dict(zip(_TORSO_MOTION, (motion.weights, motion.low, motion.high), strict=True))
        return {name: values for name, values in arrays.items() if values is not None}


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    """ValueError where arrays do not make an identity: kernels index with them unchecked."""
    together = [
        name for group in (_POSES, _TORSO, _TORSO_MOTION) if any(name in arrays for name in group) for name in group
    ]
    missing = [name for name in ("model", *_REQUIRED, *together) if name not in arrays]
    if missing:
        raise ValueError(f"the identity lacks {', '.join(missing)}")
    sides: dict[str, int] = {}
    for name, (kinds, shape, (least, most)) in (_REQUIRED | _OPTIONAL).items():
        if name not in arrays:
            continue
        values = np.asarray(arrays[name])
        numbers_vertices = most is None
        if not {values.dtype.kind, values.dtype.char} & set(kinds) or not np.isfinite(values).all() or not values.size:
            raise ValueError(f"{name} is not of finite {'numbers' if 'f' in kinds else 'whole numbers'}")
        if not _fits(values.shape, shape, sides) or ("B" in kinds and len(values) < _LEAST_PX):
            raise ValueError(f"{name} has the shape {values.shape}, which does not match the rest")
        if (values < least).any() or values.max() > (sides["V"] - 1 if numbers_vertices else most):
            raise ValueError(f"{name} {'names vertices that are not there' if numbers_vertices else 'is out of range'}")
    if "reference" in arrays and not 16 <= len(arrays["reference"]) <= _MOST_REFERENCE_PX:
        raise ValueError(f"reference must have 16 to {_MOST_REFERENCE_PX} texels on a side")


def _fits(found: tuple[int, ...], wanted: tuple[int | str, ...], sides: dict[str, int]) -> bool:
    """Whether a shape is the wanted one; the length of a side that has a letter is that of its first array."""
    if len(found) != len(wanted):
        return False
    pairs = zip(wanted, found, strict=True)
    return all((sides.setdefault(side, length) if isinstance(side, str) else side) == length for side, length in pairs)
