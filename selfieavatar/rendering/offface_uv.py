"""Coordinates off the face in I_UV: of hair and ears, which turn with the head, and of the torso, which does not.

Both are packed into the v of I_UV, whose third channel is 0 there: hair fills the upper half of the square, the torso
the lower one; 0, 0 is neither.

Hair and ears lie near a sphere around the skull. A line of sight meets it at a direction from its centre; the place of
that direction in the azimuthal equidistant projection about the face's own axis is what I_UV holds, so that a strand of
hair keeps its coordinates while the head turns.
"""

import math

import numpy as np
from numba import njit

REACH = 1.25  # distance from the centre of the skull, in radii, at which lines of sight no longer meet hair
_WIDEST = math.radians(115.0)  # angle from the face's axis at the border of the square
# Near its outline a sphere is seen so obliquely that a pixel spans many degrees: from here on angles grow evenly.
_RIM = 0.95
_RIM_ANGLE = math.asin(_RIM)
_STEPS = 8192
# Of the cosine of a direction's angle to the face's axis, -1 to 1: angle over sine, over the width of the square.
_COSINE = np.linspace(-1.0, 1.0, _STEPS + 1)[1:-1]
_SPREAD = np.pad(np.arccos(_COSINE) / np.sqrt(1 - _COSINE**2), 1, mode="edge") / (2 * _WIDEST)
_LEAST = 1 / 65535  # of v: what is 0 holds no coordinates


def paint_hair(
    uv: np.ndarray, face: np.ndarray, camera: np.ndarray, turn: np.ndarray, place: np.ndarray, head_sphere: np.ndarray
) -> None:
    """Coordinates of hair and ears into I_UV (S, S, 3) uint16 wherever lines of sight pass the skull within `REACH`.

    Args:
        face: (S, S) bool, pixels of the face, which are left alone. camera: focal length, cx, cy in pixels.
        turn, place: (3, 3) and (3,) cm, from the model to the camera. skull: (4,) centre and radius of the sphere in
        the model, cm.
    """
    centre = turn @ head_sphere[:3] + place
    bounds = np.array([_span(centre[k], centre[2], REACH * head_sphere[3]) for k in range(2)])
    first, last = np.clip(np.floor(bounds * camera[0] + camera[1:, None]), 0, len(uv)).astype(np.int64).T + [[0], [1]]
    _paint_hair(uv, face, camera, np.ascontiguousarray(turn.T), centre, head_sphere[3], first, last.clip(max=len(uv)))


def _span(aside: float, ahead: float, radius: float) -> tuple[float, float]:
    """Tangents of the directions between which a sphere is seen, in the plane of its centre and the optical axis."""
    distance = math.hypot(aside, ahead)
    half = math.asin(min(radius / distance, 1.0)) if distance > 0 else math.pi / 2
    low, high = (math.atan2(aside, ahead) + sign * half for sign in (-1, 1))
    right_angle = math.pi / 2 - 1e-3
    return math.tan(max(low, -right_angle)), math.tan(min(high, right_angle))


@njit(cache=True, nogil=True)
def _paint_hair(uv, face, camera, to_model, centre, radius, first, last):
    """`paint_hair` over columns first[0] to last[0] and rows first[1] to last[1]; centre (3,) of the skull in the
    camera's axes."""
    distance2 = centre[0] ** 2 + centre[1] ** 2 + centre[2] ** 2
    for row in range(first[1], last[1]):
        dy = (row + 0.5 - camera[2]) / camera[0]
        for column in range(first[0], last[0]):
            if face[row, column]:
                continue
            dx = (column + 0.5 - camera[1]) / camera[0]
            squared, along = dx * dx + dy * dy + 1.0, centre[0] * dx + centre[1] * dy + centre[2]
            away2 = max(distance2 - along * along / squared, 1e-12) / (radius * radius)
            if not away2 <= REACH * REACH:  # so that NaN of an overflow ends here, too
                continue
            away = math.sqrt(away2)
            if away < _RIM:
                outwards, nearer = 1.0 / radius, math.sqrt((1.0 - away2) / squared)
            else:
                angle = _RIM_ANGLE + away - _RIM
                outwards, nearer = math.sin(angle) / (away * radius), math.cos(angle) / math.sqrt(squared)
            # From the skull's centre: outwards along the perpendicular to the line of sight, and back along it.
            share = outwards * along / squared - nearer
            x, y, z = share * dx - outwards * centre[0], share * dy - outwards * centre[1], share - outwards * centre[2]
            right = to_model[0, 0] * x + to_model[0, 1] * y + to_model[0, 2] * z
            down = to_model[1, 0] * x + to_model[1, 1] * y + to_model[1, 2] * z
            ahead = -(to_model[2, 0] * x + to_model[2, 1] * y + to_model[2, 2] * z)
            at = min(max((ahead + 1.0) * (_STEPS / 2), 0.0), _STEPS - 1.0)
            step = int(at)
            spread = _SPREAD[step] + (at - step) * (_SPREAD[step + 1] - _SPREAD[step])
            u, v = min(max(0.5 + right * spread, 0.0), 1.0), min(max(0.5 + down * spread, _LEAST), 1.0 - 2 * _LEAST)
            uv[row, column, 0] = np.uint16(65535 * u + 0.5)
            uv[row, column, 1] = np.uint16(65535 * v / 2 + 0.5)


def paint_torso(uv: np.ndarray, face: np.ndarray, shift: np.ndarray, top: float) -> None:
    """Coordinates of the torso into I_UV (S, S, 3) uint16 off the face: where the pixel lies in the reference image.

    face: (S, S) bool. shift: (2,) of the torso, and top: row of the image at which it begins, as shares of the side.
    """
    side = len(uv)
    places = (np.arange(side) + 0.5) / side
    u, v = (np.clip(places - moved, 0, 1) for moved in shift)
    first = int(np.searchsorted(places, top))
    part, free = uv[first:, :, :2], ~face[first:]
    part[..., 0] = np.where(free, np.round(65535 * u).astype(np.uint16)[None], part[..., 0])
    part[..., 1] = np.where(free, np.round(65535 * (0.5 + v[first:, None] / 2)).astype(np.uint16), part[..., 1])
