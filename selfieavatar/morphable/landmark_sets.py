"""Name and number the facial landmarks that the project knows, as plain data.

"Left" and "right" are the subject's own, as in MediaPipe: the left eye lies at the right of an unmirrored image.
"""

from dataclasses import dataclass

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.morphable.facemesh_data import MIRROR, SKIN

MEDIAPIPE = "mediapipe478"
IBUG = "ibug68"
WFLW = "wflw98"

FACE_VERTICES = 468  # MediaPipe's points without the irises: the vertices of the mesh

LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_BROW = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
RIGHT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
LEFT_IRIS = (473, 474, 475, 476, 477)  # centre first, then the ring
RIGHT_IRIS = (468, 469, 470, 471, 472)
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
NOSE = (1, 2, 4, 5, 6, 19, 45, 48, 64, 94, 97, 98, 115, 168, 195, 197, 220, 275, 278, 294, 326, 327, 344, 440)
# Points that expressions hardly move: forehead, bridge and root of the nose, temples. The rigid motion is read off
# these.
RIGID = (
    3, 4, 5, 6, 8, 9, 10, 21, 51, 54, 67, 68, 71, 103, 104, 108, 109, 122, 127, 139, 151, 156, 162, 168, 174,
    188, 193, 195, 196, 197, 234, 236, 245, 248, 251, 281, 284, 297, 298, 301, 332, 333, 337, 338, 351, 356,
    368, 383, 389, 399, 412, 417, 419, 454, 456, 465,
)  # fmt: skip

RIGHT_OUTER_CORNER, LEFT_OUTER_CORNER = 33, 263
RIGHT_INNER_CORNER, LEFT_INNER_CORNER = 133, 362
FOREHEAD, CHIN, NOSE_TIP = 10, 152, 4
UPPER_LIP, LOWER_LIP = 13, 14  # middle of the inner lips
MOUTH_RIGHT, MOUTH_LEFT = 61, 291
# Pairs (upper, lower) of lid points whose mean distance says how far an eye is open.
LEFT_LIDS = ((386, 374), (385, 380), (387, 373))
RIGHT_LIDS = ((159, 145), (158, 153), (160, 144))

# What a triangle shows. Hidden ones (neck, scalp) only hide what lies behind them and are no part of the face.
SKIN_PART, EYE_PART, MOUTH_PART, HIDDEN_PART, TEETH_PART = range(5)


@dataclass(frozen=True)
class LandmarkSet:
    """A published landmark set: its size and the numbers that every set can name.

    ``outer_eyes`` are the outer eye corners (subject's right, left), the yardstick of all errors; ``lips_inner`` and
    ``eyes`` (left, right) are closed rings; ``irises`` are the iris centres (left, right) or empty. ``contour`` are
    points on the outline of the jaw as the image shows it, which slides over the skin when the head turns.
    """

    name: str
    count: int
    outer_eyes: tuple[int, int]
    lips_inner: tuple[int, ...]
    eyes: tuple[tuple[int, ...], tuple[int, ...]]
    irises: tuple[int, ...]
    regions: dict[str, tuple[int, ...]]
    contour: tuple[int, ...] = ()


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


LANDMARK_SETS = {
    MEDIAPIPE: LandmarkSet(
        MEDIAPIPE, 478, (RIGHT_OUTER_CORNER, LEFT_OUTER_CORNER), LIPS_INNER, (LEFT_EYE, RIGHT_EYE), (473, 468),
        {"lips_outer": LIPS_OUTER, "lips_inner": LIPS_INNER, "left_eye": LEFT_EYE, "right_eye": RIGHT_EYE,
         "left_brow": LEFT_BROW, "right_brow": RIGHT_BROW, "left_iris": LEFT_IRIS, "right_iris": RIGHT_IRIS,
         "oval": OVAL, "nose": NOSE}),
    # iBUG 300-W: image order, so 36..41 is the subject's right eye.
    IBUG: LandmarkSet(
        IBUG, 68, (36, 45), _span(60, 67), (_span(42, 47), _span(36, 41)), (),
        {"oval": _span(0, 16), "right_brow": _span(17, 21), "left_brow": _span(22, 26), "nose": _span(27, 35),
         "right_eye": _span(36, 41), "left_eye": _span(42, 47), "lips_outer": _span(48, 59), "lips_inner": _span(60,
         67)}, contour=_span(0, 16)),
    # WFLW: 60..67 is the eye at the left of the image (subject's right), 96 and 97 the pupils.
    WFLW: LandmarkSet(
        WFLW, 98, (60, 72), _span(88, 95), (_span(68, 75), _span(60, 67)), (97, 96),
        {"oval": _span(0, 32), "right_brow": _span(33, 41), "left_brow": _span(42, 50), "nose": _span(51, 59),
         "right_eye": _span(60, 67), "left_eye": _span(68, 75), "lips_outer": _span(76, 87), "lips_inner": _span(88,
         95),
         "right_iris": (96,), "left_iris": (97,)}, contour=_span(0, 32)),
}  # fmt: skip


def landmark_set(name: str) -> LandmarkSet:
    """Look up the set called ``name``; UserError names the known ones, since a manifest says which it is."""
    if name not in LANDMARK_SETS:
        raise UserError(
            f"unknown landmark set '{name[:40]}'; known: {', '.join(LANDMARK_SETS)}; detect the landmarks again"
        )
    return LANDMARK_SETS[name]


def landmark_set_of(count: int) -> LandmarkSet:
    """Look up the set with `count` landmarks; KeyError names the known ones."""
    for kind in LANDMARK_SETS.values():
        if kind.count == count:
            return kind
    raise KeyError(f"no set of {count} landmarks; known: {', '.join(LANDMARK_SETS)}")


def contour_landmarks(count: int) -> tuple[int, ...]:
    """List the face contour of the set with `count` landmarks; empty for a set without one, or an unknown set."""
    return next((kind.contour for kind in LANDMARK_SETS.values() if kind.count == count), ())


def _numbers(text: str, width: int) -> np.ndarray:
    return np.array([item.split(",") for item in text.split()], np.int32).reshape(-1, width)


def _strip(ring: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangulate a ring whose first and middle members are its corners, by a strip between its two chains.

    A strip (not a fan from one corner) keeps triangles well shaped when the opening closes to a slit.
    """
    half = len(ring) // 2
    lower = list(ring[: half + 1])
    upper = [ring[0], *ring[: half - 1 : -1]]
    triangles = []
    for i in range(half):
        if i > 0:
            triangles.append((lower[i], lower[i + 1], upper[i]))
        if i < half - 1:
            triangles.append((upper[i], lower[i + 1], upper[i + 1]))
    return triangles


def facemesh_triangles() -> tuple[np.ndarray, np.ndarray]:
    """Triangulate the face mesh: (898, 3) int32, with parts (898,) int8 (0 skin, 1 eye, 2 mouth opening).

    The normal cross(b - a, c - a) points out of the face: towards -z in the project's axes (x right, y down, z away).
    """
    skin = _numbers(SKIN, 3)
    directed = {(int(t[i]), int(t[(i + 1) % 3])) for t in skin for i in range(3)}
    filled, parts = [skin], [np.full(len(skin), SKIN_PART, np.int8)]
    for ring, part in ((LEFT_EYE, EYE_PART), (RIGHT_EYE, EYE_PART), (LIPS_INNER, MOUTH_PART)):
        triangles = np.array(_strip(ring), np.int32)
        # A neighbour runs along a shared edge the other way round: turn the filling if it repeats an edge of the skin.
        if any((int(t[i]), int(t[(i + 1) % 3])) in directed for t in triangles for i in range(3)):
            triangles = np.ascontiguousarray(triangles[:, ::-1])
        filled.append(triangles)
        parts.append(np.full(len(triangles), part, np.int8))
    return np.concatenate(filled).astype(np.int32), np.concatenate(parts)


def mirror_pairs() -> np.ndarray:
    """Pair each vertex with its mirror image: (468,) int32, itself on the mid-sagittal plane."""
    mirror = np.arange(FACE_VERTICES, dtype=np.int32)
    pairs = _numbers(MIRROR, 2)
    mirror[pairs[:, 0]], mirror[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return mirror


def landmark_weights(kind: str = MEDIAPIPE) -> np.ndarray:
    """Weight the landmark term: (count,) float64; lips, eyes and brows more, the oval less, irises 0.

    The oval is an apparent contour that slides over the skin when the head turns, so it must not steer the fit.
    Irises belong to the eyeballs (gaze), not to the face.
    """
    chosen = landmark_set(kind)
    weights = np.ones(chosen.count)
    emphasis = {
        "oval": 0.35, "left_brow": 1.5, "right_brow": 1.5, "lips_outer": 2.5, "lips_inner": 2.5,
        "left_eye": 5.0, "right_eye": 5.0, "left_iris": 0.0, "right_iris": 0.0,
    }  # fmt: skip
    for region, value in emphasis.items():
        weights[list(chosen.regions.get(region, ()))] = value
    return weights
