"""ICT-FaceKit light (Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020; MIT licence).

Read from the authors' folder of OBJ files (FaceXModel) or from one .npz with the same content. The model is in cm,
y up. Of its meshes, face, head with the sockets, gums, tongue and teeth are kept. What its authors call the narrow
face area is the face; the rest of the head, ears, neck and shoulders only hide what lies behind them. Left out are
helper shells (eye blend, eye occlusion, lacrimal fluid, lashes), the irises, and the triangles of the scleras, which
are a third larger than people's (radius 1.58 cm) and come through the lids: where the sockets show between the lids,
the renderer draws eyes of the usual size. Their place is read off the scleras' vertices, which no triangle uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.pickles import load_npz
from selfieavatar.morphable.landmark_sets import (
    EYE_PART,
    HIDDEN_PART,
    IBUG,
    MEDIAPIPE,
    MOUTH_PART,
    SKIN_PART,
    TEETH_PART,
    landmark_set,
)  # fmt: skip
from selfieavatar.morphable.published.ict_data import IBUG_VERTICES, mediapipe_places
from selfieavatar.morphable.published.published_model import (
    IRIS_CM,
    PublishedModel,
    add_points,
    between_eyes,
    eyeballs,
    first_copies,
    in_range,
    reading,
    split_seams,
    take,
    to_ours,
)  # fmt: skip

NAME = "ict"
VERTICES = 26719
NARROW_FACE = 6706  # the first vertices, "narrow face area" in the authors' README: from the hairline to the chin
NEUTRAL_FILE = "generic_neutral_mesh.obj"
FIX = "take all of the folder FaceXModel of https://github.com/ICT-VGL/ICT-FaceKit (docs/models.md)"
_MOUTH_SOCKET, _EYE_SOCKETS = (11248, 13294), (13294, 14062)  # vertices of the insides of mouth and lids
_SCLERAS = (21451, 22221), (23021, 23791)  # of the left and the right eye
# Material -> place of its UV tile in our square: corner and side. The free corners take the discs of the irises.
_TILES = {
    "M_Face": (0.0, 0.0, 0.72), "M_BackHead": (0.72, 0.0, 0.28), "M_Teeth": (0.0, 0.72, 0.28),
    "M_GumsTongue": (0.28, 0.72, 0.28),
}  # fmt: skip
_ONLY_IRISES = ("PupilDilate_L", "PupilDilate_R")


def load(path: Path, landmarks: str = MEDIAPIPE) -> PublishedModel:
    """Load the model from the folder FaceXModel or an .npz.

    Raises:
        UserError: missing or damaged files, or a set of landmarks that has no places on this model.
    """
    if landmarks not in (MEDIAPIPE, IBUG):
        raise UserError(f"the model ict has no places for the landmarks {landmarks}; use {MEDIAPIPE} or {IBUG}")
    if path.is_dir():
        raw = _read_folder(path)
    elif path.is_file():
        raw = load_npz(path)
    else:
        raise UserError(f"the model {path} is missing; {FIX} and name it by `fit.model_path`")
    with reading(path, "a complete ICT-FaceKit model", FIX):
        return _build(raw, landmarks)


def _build(raw: dict[str, Any], landmarks: str) -> PublishedModel:
    neutral = take(raw, "neutral", (VERTICES, 3))
    identity = take(raw, "identity_delta", (None, VERTICES, 3))
    expression = take(raw, "expression_delta", (None, VERTICES, 3))
    names = [str(name) for name in np.asarray(raw["expression_names"])]
    if len(names) != len(expression):
        raise ValueError(f"{len(names)} names for {len(expression)} expressions")
    uv = take(raw, "uv", (None, 2))
    tri = in_range("tri", take(raw, "tri", (None, 3), "i"), VERTICES)
    tri_uv = in_range("tri_uv", take(raw, "tri_uv", (len(tri), 3), "i"), len(uv))
    materials = [str(name) for name in np.asarray(raw["materials"])]
    of = in_range("tri_material", take(raw, "tri_material", (len(tri),), "i"), len(materials))
    missing = [name for name in _TILES if name not in materials]
    if missing:
        raise ValueError(f"the materials {', '.join(missing)} are missing")
    material = np.array(materials)[of]
    kept = np.isin(material, list(_TILES))
    tri, tri_uv, material = tri[kept], tri_uv[kept], material[kept]
    source, split, uv = split_seams(tri, tri_uv, _atlas(uv, tri_uv, material))
    ends = len(source) + np.cumsum([0, *(end - first for first, end in _SCLERAS)])
    source = np.concatenate([source, *(np.arange(*ball) for ball in _SCLERAS)])
    uv = np.concatenate([uv, np.zeros((len(source) - len(uv), 2), uv.dtype)])
    eyes = tuple(np.arange(low, high) for low, high in zip(ends[:-1], ends[1:], strict=True))
    corners, weights, vertices = _places(landmarks, first_copies(source, VERTICES), len(source))
    moving = [number for number, name in enumerate(names) if name not in _ONLY_IRISES]
    template = add_points(to_ours(neutral[source]), corners, weights)
    template -= between_eyes(template, vertices, landmarks)
    centre, radius = eyeballs(template, eyes)
    ones = np.ones(len(moving), np.float32)
    return PublishedModel(
        name=NAME, template=template,
        expression_basis=add_points(to_ours(expression[moving][:, source]), corners, weights),
        expression_scale=ones, expression_low=0 * ones, expression_high=ones,
        tri=split, tri_part=_parts(tri, material), uv=add_points(uv, corners, weights),
        landmark_vertices=vertices, eye_center=centre, eye_radius=radius, iris_radius=IRIS_CM,
        identity_basis=add_points(to_ours(identity[:, source]), corners, weights),
        identity_scale=np.ones(len(identity), np.float32), landmark_set=landmarks,
        expression_names=tuple(names[number] for number in moving), identity_eyes=eyes,
        source_vertices=np.concatenate([source, np.full(len(corners), -1)]).astype(np.int32),
    )  # fmt: skip


def _atlas(uv: np.ndarray, tri_uv: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Place the published UV (N, 2), unit tiles side by side with v up, in one square with v down."""
    out = np.zeros_like(uv)
    for name, (left, top, side) in _TILES.items():
        used = np.unique(tri_uv[material == name])
        inside = uv[used] - np.floor(uv[used].min(0))
        out[used] = np.array([left, top]) + side * np.stack([inside[:, 0], 1 - inside[:, 1]], 1)
    return np.clip(out, 0, 1)


def _parts(tri: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Classify the triangles (F,) int8: the narrow face, what shows between lids and lips, the rest of the head."""
    part = np.full(len(tri), HIDDEN_PART, np.int8)
    part[(tri < NARROW_FACE).all(1)] = SKIN_PART
    for (first, end), inside in ((_MOUTH_SOCKET, MOUTH_PART), (_EYE_SOCKETS, EYE_PART)):
        part[((tri >= first) & (tri < end)).any(1)] = inside
    part[material == "M_GumsTongue"] = MOUTH_PART
    part[material == "M_Teeth"] = TEETH_PART
    return part


def _places(landmarks: str, first: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List corners (L, 3) and weights (L, 3) of points to append, and each landmark's vertex, -1 for none."""
    if landmarks == IBUG:
        return np.zeros((0, 3), int), np.zeros((0, 3)), first[list(IBUG_VERTICES)].astype(np.int32)
    number, corners, weights = mediapipe_places()
    vertices = np.full(landmark_set(MEDIAPIPE).count, -1, np.int32)
    vertices[number] = count + np.arange(len(number))
    return first[corners], weights, vertices


# ------------------------------------------------------------------------------------------------------- OBJ folder


def _read_folder(folder: Path) -> dict[str, Any]:
    """Read the arrays of the packed model from the authors' OBJ files."""
    neutral = folder / NEUTRAL_FILE
    identities = sorted(folder.glob("identity[0-9][0-9][0-9].obj"))
    expressions = sorted(set(folder.glob("*.obj")) - {neutral, *identities})
    if not neutral.is_file() or not identities or not expressions:
        raise UserError(
            f"{folder} lacks {NEUTRAL_FILE} or the identities or the expressions of ICT-FaceKit; {FIX} and name it by "
            "`fit.model_path`"
        )
    wanted = [f"identity{number:03d}" for number in range(len(identities))]
    if [path.stem for path in identities] != wanted:
        raise UserError(f"{folder} has {len(identities)} identities, but not those from 0 up; {FIX}")
    with reading(neutral, "the neutral mesh of ICT-FaceKit", FIX):
        raw = _read_mesh(neutral.read_bytes())
    base = raw["neutral"]
    raw["identity_delta"] = np.stack([_read_vertices(path) - base for path in identities])
    raw["expression_delta"] = np.stack([_read_vertices(path) - base for path in expressions])
    raw["expression_names"] = np.array([path.stem for path in expressions])
    return raw


def _read_vertices(path: Path) -> np.ndarray:
    """Read the vertices (V, 3) float32 of an OBJ file, in its order."""
    with reading(path, "an OBJ file of ICT-FaceKit", FIX):
        return _vertices(path.read_bytes().splitlines())


def _vertices(lines: list[bytes]) -> np.ndarray:
    rows = [line[2:] for line in lines if line.startswith(b"v ")]
    vertices = np.array(b" ".join(rows).split(), np.float32).reshape(len(rows), -1)
    if vertices.shape != (VERTICES, 3):
        raise ValueError(f"{len(rows)} vertices where {VERTICES} are expected")
    return vertices


def _read_mesh(data: bytes) -> dict[str, Any]:
    """Read vertices, UV and polygons (as fans from their first corner, with materials) of an OBJ file."""
    lines = data.splitlines()
    places = [line[3:].split()[:2] for line in lines if line.startswith(b"vt ")]
    materials, polygons, of = [], [], []
    for line in lines:
        if line.startswith(b"usemtl "):
            materials.append(line[7:].strip().decode())
        elif line.startswith(b"f "):
            polygons.append(line[2:])
            of.append(len(materials) - 1)
    if not materials or not polygons:
        raise ValueError("it has no polygons or no materials")
    sizes = np.array([len(polygon.split()) for polygon in polygons])
    # A corner is vertex/uv or vertex/uv/normal.
    corners = np.array(b" ".join(polygons).replace(b"/", b" ").split(), np.int64).reshape(sizes.sum(), -1)[:, :2] - 1
    first = np.repeat(np.cumsum(sizes) - sizes, sizes - 2)
    step = np.arange(len(first)) - np.repeat(np.cumsum(sizes - 2) - (sizes - 2), sizes - 2)
    fans = corners[np.stack([first, first + step + 1, first + step + 2], 1)]
    return {
        "neutral": _vertices(lines), "uv": np.array(places, np.float32), "tri": fans[..., 0], "tri_uv": fans[..., 1],
        "tri_material": np.repeat(of, sizes - 2), "materials": np.array(materials),
    }  # fmt: skip
