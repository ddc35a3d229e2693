"""Render off-face UV into I_UV: coordinates of hair and ears, which rotate with the head, and of the torso.

Both are packed into the v of I_UV, whose third channel is 0 there: hair fills the upper half of the square, the torso
the lower one; 0, 0 is neither.

Hair and ears lie near the head sphere. I_UV holds the azimuthal equidistant projection, about the face's axis, of the
direction from the sphere's centre to its intersection with the line of sight. So a strand of hair keeps its coordinates
while the head rotates.
"""

import math

import numpy as np

from selfieavatar.io.compiled import njit

REACH = 1.25  # distance of a line of sight from the centre of the head sphere, in radii, up to which it meets hair
_WIDEST = math.radians(115.0)  # angle from the face's axis at the border of the square
# Near the sphere's outline a pixel spans many degrees: from here on angles grow linearly.
_RIM = 0.95
_RIM_ANGLE = math.asin(_RIM)
_STEPS = 8192
# Of the cosine of a direction's angle to the face's axis, -1 to 1: angle over sine, over the width of the square.
_COSINE = np.linspace(-1.0, 1.0, _STEPS + 1)[1:-1]
_SPREAD = np.pad(np.arccos(_COSINE) / np.sqrt(1 - _COSINE**2), 1, mode="edge") / (2 * _WIDEST)
_LEAST = 1 / 65535  # of v: 0 stands for no coordinates


def paint_hair(
    uv: np.ndarray, face: np.ndarray, camera: np.ndarray, rotation: np.ndarray, translation: np.ndarray,
    head_sphere: np.ndarray,
) -> None:  # fmt: skip
    """Write the coordinates of hair and ears wherever lines of sight pass the head sphere within `REACH`.

    Args:
        uv: (S, S, 3) uint16, I_UV, changed in place.
        face: (S, S) bool, pixels of the face, which keep their values.
        camera: focal length, cx, cy in pixels.
        rotation: (3, 3), model to camera.
        translation: (3,) cm, model to camera.
        head_sphere: (4,) centre and radius in the model, cm.
    """
    centre = rotation @ head_sphere[:3] + translation
    bounds = np.array([_tangents(centre[k], centre[2], REACH * head_sphere[3]) for k in range(2)])
    first, last = np.clip(np.floor(bounds * camera[0] + camera[1:, None]), 0, len(uv)).astype(np.int64).T + [[0], [1]]
    to_model = np.ascontiguousarray(rotation.T)
    _paint_hair(uv, face, camera, to_model, centre, head_sphere[3], first, last.clip(max=len(uv)))


def _tangents(aside: float, ahead: float, radius: float) -> tuple[float, float]:
    """Compute the slopes of the tangents to a sphere in the plane of its centre and the optical axis."""
    distance = math.hypot(aside, ahead)
    half = math.asin(min(radius / distance, 1.0)) if distance > 0 else math.pi / 2
    low, high = (math.atan2(aside, ahead) + sign * half for sign in (-1, 1))
    right_angle = math.pi / 2 - 1e-3
    return math.tan(max(low, -right_angle)), math.tan(min(high, right_angle))


@njit()
def _paint_hair(uv, face, camera, to_model, centre, radius, first, last):
    """Run `paint_hair` over columns first[0] to last[0] and rows first[1] to last[1]; centre (3,) in camera axes."""
    distance2 = centre[0] ** 2 + centre[1] ** 2 + centre[2] ** 2
    for row in range(first[1], last[1]):
        dy = (row + 0.5 - camera[2]) / camera[0]
        for column in range(first[0], last[0]):
            if face[row, column]:
                continue
            dx = (column + 0.5 - camera[1]) / camera[0]
            squared, along = dx * dx + dy * dy + 1.0, centre[0] * dx + centre[1] * dy + centre[2]
            away2 = max(distance2 - along * along / squared, 1e-12) / (radius * radius)
            if not away2 <= REACH * REACH:  # true for the NaN of an overflow, too
                continue
            away = math.sqrt(away2)
            if away < _RIM:
                outwards, nearer = 1.0 / radius, math.sqrt((1.0 - away2) / squared)
            else:
                angle = _RIM_ANGLE + away - _RIM
                outwards, nearer = math.sin(angle) / (away * radius), math.cos(angle) / math.sqrt(squared)
            # From the centre: outwards along the perpendicular to the line of sight, and back along it.
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
    """Write the coordinates of the torso off the face: the pixel's position in the reference image.

    Args:
        uv: (S, S, 3) uint16, I_UV, changed in place.
        face: (S, S) bool, pixels of the face, which keep their values.
        shift: (2,) translation of the torso against the reference image, as shares of the side.
        top: first row of the torso, as share of the side.
    """
    side = len(uv)
    centres = (np.arange(side) + 0.5) / side
    u, v = (np.clip(centres - offset, 0, 1) for offset in shift)
    first = int(np.searchsorted(centres, top))
    part, free = uv[first:, :, :2], ~face[first:]
    part[..., 0] = np.where(free, np.round(65535 * u).astype(np.uint16)[None], part[..., 0])
    part[..., 1] = np.where(free, np.round(65535 * (0.5 + v[first:, None] / 2)).astype(np.uint16), part[..., 1])
