"""Read coefficients that others have fitted: IMAvatar's flame_params.json and FaceVerse's coefficient vectors.

Both are brought to this project's conventions (docs/conventions.md): centimetres, OpenCV camera axes, the side of the
source image as the unit of pixels. What they say about light and texture is left aside.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.images import list_images

log = logging.getLogger(__name__)

CM_PER_M = 100.0
FLAME_SCALE = 4.0  # IMAvatar's cameras see FLAME's metres four times as large
_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
_MOST_BYTES = 1 << 30
_DAMAGED = (ValueError, EOFError, SyntaxError, TokenError, RecursionError)  # NumPy reads a header as Python's tokens
_LARGEST, _NO_TURN = 1e6, 1e-2  # number, and departure of R R^T from 1, beyond which a frame is no head
# FaceVerse v3 tracks the middle two thirds of the cropped square at 256 px, with a focal length of int(1315 / 2) = 657
# px and the head 10 units of 10 cm away.
_FACEVERSE_FOCAL = 657.0 / 256.0 * 2 / 3
_FACEVERSE_AWAY, _FACEVERSE_CM = 10.0, 10.0


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of N frames of a published model, as somebody else fitted them.

    Attributes:
        number: (N,) number of each frame's image: as its file is named, or its place in the video or folder, from 1.
        identity: (K,). expression: (N, E).
        joints: (N, J, 3) axis-angle of neck, jaw and eyes where the model has them, else (N, 0, 3).
        rotation: (N, 3, 3) and translation (N, 3) cm: camera from model, both in OpenCV axes; of FLAME, with the root
            joint's own rotation still in `root` (N, 3) axis-angle in the model's published axes, else zeros.
        focal: (2,) of x and y and principal: (2,), as shares of the side of the source image.
    """

    number: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    joints: np.ndarray
    root: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focal: np.ndarray
    principal: np.ndarray

    def take(self, rows: np.ndarray) -> Coefficients:
        """Select the frames of these rows (n,)."""
        own = ("number", "expression", "joints", "root", "rotation", "translation")
        return replace(self, **{name: getattr(self, name)[rows] for name in own})

    def rows_of(self, numbers: np.ndarray) -> np.ndarray:
        """Find the row of each of these numbers (n,): (n,), -1 where the file has none."""
        order = np.argsort(self.number, kind="stable")
        at = np.minimum(np.searchsorted(self.number, numbers, sorter=order), len(order) - 1)
        return np.where(self.number[order[at]] == numbers, order[at], -1)


def numbers_of(path: Path, model: str, source: Path, source_frame: np.ndarray) -> np.ndarray:
    """Find the number of each frame of a source as the coefficients in `path` count: (n,), 0 or -1 where none is meant.

    IMAvatar's are those in the names of a folder's images; of videos, and of FaceVerse's stacked vectors, the place
    from 1. Of a folder of FaceVerse's vectors it is the place of the file that is named as the image.

    Raises:
        UserError: the names in such a folder do not agree with those of the images, or it has too few files.
    """
    images = list_images(source) if source.is_dir() else []
    if model == "flame":
        return np.array([image_number(file.name) for file in images])[source_frame] if images else source_frame + 1
    if not path.is_dir():
        return source_frame + 1
    place, shown = _names(path, source, images)
    if shown and not place.keys().isdisjoint(shown):
        return np.array([place.get(name, 0) for name in shown])[source_frame]
    numbered = all(isinstance(name, int) for name in place)
    if not images and numbered:
        first = 0 not in place  # as their tracker counts; others count from 0
        return np.array([place.get(int(frame + first), 0) for frame in source_frame])
    found, count = len(place), len(images) or int(source_frame.max()) + 1
    if found < count or (found > count and images) or numbered:
        holds = "of other numbers" if numbered and found == count else f"({found})"
        raise UserError(
            f"{path} holds files of coefficients {holds} that do not belong to the {count} images that {source} shows; "
            "give the folder of its tracker, one .npy for each image and named as it"
        )
    return source_frame + 1


def _names(path: Path, source: Path, images: list[Path]) -> tuple[dict[int | str, int], list[int | str]]:
    """Map the names of a folder's vectors to places from 1, and list those of images: numbers where all are, or stems.

    Raises:
        UserError: one side counts from 0 and the other does not, so that pairs would be off by one.
    """
    files = vector_files(path)
    stems, shown = [file.stem for file in files], [image.stem for image in images]
    if all(re.fullmatch("[0-9]{1,9}", stem) for stem in stems + shown):
        own, seen = [int(stem) for stem in stems], [int(stem) for stem in shown]
        if len(set(own)) == len(own) and len(set(seen)) == len(seen):
            if own and seen and (0 in own) != (0 in seen) and not set(own) <= set(seen):
                raise UserError(
                    f"{path} counts from {min(own)} and {source} from {min(seen)}; name each .npy as its image, so "
                    "that it is clear which belong together"
                )
            return {name: row for row, name in enumerate(own, start=1)}, list(seen)
    return {name: row for row, name in enumerate(stems, start=1)}, list(shown)


def no_image(path: Path, track: Coefficients, source: Path, numbers: np.ndarray) -> UserError:
    """Say that the file has none of the images of a source with these numbers."""
    if path.is_dir():
        return UserError(
            f"{path} has no sound coefficients of any image of {source} that the clip shows; track it again"
        )
    return UserError(
        f"{path} has coefficients of images {track.number.min()} to {track.number.max()}, but {source} shows "
        f"{numbers.min()} to {numbers.max()}; give the file that belongs to it"
    )


@lru_cache
def check_coefficients(path: Path, model: str, model_path: Path, source: Path) -> None:
    """Refuse a file of coefficients that the model or the source cannot take, before time is spent.

    Raises:
        UserError: missing or damaged file, other numbers of coefficients than the model's, none of a folder's images.
    """
    track = read_coefficients(path, model)
    if source.is_dir() and (images := list_images(source)):
        numbers = numbers_of(path, model, source, np.arange(len(images)))
        lacking = int((track.rows_of(numbers) < 0).sum())
        if lacking == len(images):
            raise no_image(path, track, source, numbers)
        if lacking:
            log.warning("%s has no coefficients of %d of the %d images of %s", path, lacking, len(images), source)
    found = len(track.identity), track.expression.shape[1]
    if model == "flame":
        from selfieavatar.morphable.published.flame import EXPRESSIONS, SHAPES  # the models are slow to import

        # The first so many of the model's: the others are 0.
        if found[0] > SHAPES or found[1] > EXPRESSIONS:
            raise UserError(
                f"{path} holds {found[0]} shape and {found[1]} expression coefficients, but FLAME has {SHAPES} and "
                f"{EXPRESSIONS}; give the file of the FLAME model that `fit.model_path` names"
            )
        return
    from selfieavatar.morphable.published import load_model

    known = load_model(model, model_path)
    if found != (known.identity_count, known.expression_count) or not known.identity_eyes:
        raise UserError(
            f"{path} holds coefficients of FaceVerse v3, but {model_path} is another version; give v3's model file"
        )


def read_coefficients(path: Path, model: str) -> Coefficients:
    """Read a model's file of coefficients: "flame" is IMAvatar's JSON, "faceverse" stacked vectors of v3."""
    track = {"flame": read_flame_params, "faceverse": read_faceverse}[model](path)
    if len(np.unique(track.number)) < len(track.number):
        raise UserError(f"{path} names an image twice; keep one entry for each image")
    return track


def read_flame_params(path: Path) -> Coefficients:
    """Read IMAvatar's flame_params.json: DECA's FLAME coefficients, camera along -z, focal length of x negative.

    Older files give the intrinsics in pixels of 512.

    Raises:
        UserError: the file is missing, not JSON of that layout, or its numbers are not finite.
    """
    content = _read_json(path)
    try:
        frames = content["frames"]
        world = _numbers([frame["world_mat"] for frame in frames], (-1, 3, 4))
        pose = _numbers([frame["pose"] for frame in frames], (len(world), 15))
        expression = _numbers([frame["expression"] for frame in frames], (len(world), -1))
        shape = _numbers(content["shape_params"], (-1,))
        intrinsics = _numbers(content["intrinsics"], (4,))
        number = np.array([_frame_number(frame["file_path"]) for frame in frames])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(
            f"{path} has not the layout of IMAvatar's flame_params.json ({_first_line(error)}); give the file that its "
            "preprocessing wrote"
        ) from error
    if intrinsics[-1] > 1:
        intrinsics = intrinsics / 512.0
    if not (intrinsics[0] < 0 < intrinsics[1]):
        raise UserError(f"{path}: of `intrinsics`, fx must be negative and fy positive, as IMAvatar writes them")
    # u = fx x / z + cx with z < 0 and fx < 0; y and z turn round to look along +z.
    flip = _OPENCV_FROM_OPENGL
    track = Coefficients(
        number, shape, expression, pose[:, 3:].reshape(len(pose), -1, 3), pose[:, :3],
        flip @ world[:, :, :3] @ flip, world[:, :, 3] @ flip * (CM_PER_M / FLAME_SCALE),
        np.abs(intrinsics[:2]), intrinsics[2:],
    )  # fmt: skip
    return _of_heads(track, path)


def read_faceverse(path: Path) -> Coefficients:
    """Read FaceVerse v3's vectors: .npy of (N, 490) numbers, or a folder of one .npy of (490,) per image.

    A vector is identity 150, expression 52, texture 251, Euler angles 3, light 27, translation 3, eyes 4. Other
    versions have vectors of other lengths and other cameras; they are refused. Numbers are places from 1, of a folder
    in natural order (`numbers_of` pairs them with images). Frames whose numbers are not finite are left out.

    Raises:
        UserError: the file is missing, holds objects, or vectors of another length.
    """
    if path.is_dir():
        files = vector_files(path)
        rows = np.concatenate([np.zeros((0, 490)), *(_vectors(file, alone=True) for file in files)])
    else:
        rows = _vectors(path)
    finite = np.isfinite(rows).all(1)
    if not finite.any():
        raise UserError(f"{path} holds no row, or none whose numbers are finite; run FaceVerse's tracker again")
    rows, count = rows.astype(float), len(rows)
    rows[~finite] = np.nan  # no head
    track = Coefficients(
        np.arange(1, count + 1), rows[finite, :150].mean(0), rows[:, 150:202], np.zeros((count, 0, 3)),
        np.zeros((count, 3)), euler_matrix(rows[:, 453:456]),
        (rows[:, 483:486] + [0, 0, _FACEVERSE_AWAY]) * _FACEVERSE_CM, np.full(2, _FACEVERSE_FOCAL), np.full(2, 0.5),
    )  # fmt: skip
    return _of_heads(track, path)


def vector_files(folder: Path) -> list[Path]:
    """List the files of a folder of FaceVerse's vectors, one per image, in natural order of their names."""
    return list_images(folder, {".npy"})


def _vectors(path: Path, alone: bool = False) -> np.ndarray:
    """Read FaceVerse's vectors (N, 490) from a .npy; of one that has its vector `alone`, (1, 490)."""
    try:
        # Mapped, so that a header that promises more than the file holds takes no memory.
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"the coefficients {path} are missing; put them there or fit the clip") from error
    except (*_DAMAGED, OSError, OverflowError, MemoryError) as error:
        raise UserError(f"{path} is not a plain .npy file of numbers ({_first_line(error)}); save it again") from error
    if alone and isinstance(rows, np.ndarray) and rows.shape == (490,):
        rows = rows[None]
    wrong = not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 490 or rows.dtype.kind != "f"
    if wrong or (alone and len(rows) != 1):
        said = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else "several arrays"
        shape = "(490,) in each file of a folder" if alone else "(frames, 490)"
        raise UserError(f"{path} holds {said}; FaceVerse v3 coefficients are floating-point numbers {shape}")
    return rows


def _of_heads(track: Coefficients, path: Path) -> Coefficients:
    """Keep the frames whose numbers a head can have, since failed trackers leave others. UserError if none has."""
    turn = np.nan_to_num(np.clip(track.rotation, -_LARGEST, _LARGEST))  # zeros are no rotation either
    sound = np.abs(turn @ np.swapaxes(turn, 1, 2) - np.eye(3)).max((1, 2)) < _NO_TURN
    sound &= np.linalg.det(turn) > 0
    for values in (track.expression, track.joints, track.root, track.translation):
        sound &= (np.abs(values) < _LARGEST).reshape(len(sound), -1).all(1)
    bad = track.number[~sound]
    if len(bad) == len(sound):
        raise UserError(f"{path}: in none of its frames the head has a rotation and a place; run the tracker again")
    if len(bad):
        log.warning("%s: %d of %d frames, first number %d, hold no head and are left out", path, len(bad), len(sound),
                    bad[0])  # fmt: skip
    return track.take(np.flatnonzero(sound))


def euler_matrix(angles: np.ndarray) -> np.ndarray:
    """Build rotation matrices Rz @ Ry @ Rx (N, 3, 3) from Euler angles (N, 3) about x, y and z, rad."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"the coefficients {path} are missing; put them there or fit the clip")
    if path.stat().st_size > _MOST_BYTES:
        raise UserError(f"{path} is larger than 1 GB; that is no flame_params.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({_first_line(error)}); copy the file again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} has not the layout of IMAvatar's flame_params.json: it must be an object")
    return content


def _numbers(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(values, dtype=float).reshape(shape)
    if not array.size or not np.isfinite(array).all():
        raise ValueError("a number is missing or not finite")
    return array


def image_number(name: str) -> int:
    """Parse the number that an image's name or path ends with, before its suffix; -1 where there is none."""
    found = re.search(r"(\d{1,9})(?:\.\w+)?$", name)
    return int(found.group(1)) if found else -1


def _frame_number(file_path: str) -> int:
    number = image_number(file_path)
    if number < 0:
        raise ValueError(f"file_path {file_path[:80]!r} does not end in a number")
    return number


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
