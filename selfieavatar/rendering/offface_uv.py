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
_RIM_MIDDLE = _RIM_ANGLE + (REACH - _RIM) / 2
_SIN_MIDDLE, _COS_MIDDLE = math.sin(_RIM_MIDDLE), math.cos(_RIM_MIDDLE)
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
def _rim_outwards_and_back(away):
    """Compute sine and cosine of the angle that stands for a line of sight `away` radii off, beyond `_RIM`.

    By their series about an angle at most 0.15 away, which LLVM vectorises.
    """
    t = _RIM_ANGLE - _RIM_MIDDLE + away - _RIM
    t2 = t * t
    sine = t * (1 - t2 / 6 * (1 - t2 / 20 * (1 - t2 / 42 * (1 - t2 / 72))))
    cosine = 1 - t2 / 2 * (1 - t2 / 12 * (1 - t2 / 30 * (1 - t2 / 56 * (1 - t2 / 90))))
    return _SIN_MIDDLE * cosine + _COS_MIDDLE * sine, _COS_MIDDLE * cosine - _SIN_MIDDLE * sine


@njit(error_model="numpy")
def _paint_hair(uv, face, camera, to_model, centre, radius, first, last):
    """Run `paint_hair` over columns first[0] to last[0] and rows first[1] to last[1]; centre (3,) in camera axes."""
    distance2 = centre[0] ** 2 + centre[1] ** 2 + centre[2] ** 2
    width = uv.shape[1]
    square, at, rights, downs = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    for row in range(first[1], last[1]):
        dy = (row + 0.5 - camera[2]) / camera[0]
        # One loop without branches, which LLVM vectorises, and one that looks up and writes.
        for column in range(np.uint64(first[0]), np.uint64(last[0])):
            dx = (np.float64(column) + 0.5 - camera[1]) / camera[0]
            squared, along = dx * dx + dy * dy + 1.0, centre[0] * dx + centre[1] * dy + centre[2]
            away2 = max(distance2 - along * along / squared, 1e-12) / (radius * radius)
            away = math.sqrt(away2)
            sine, cosine = _rim_outwards_and_back(away)
            rim = away >= _RIM
            outwards = sine / (away * radius) if rim else 1.0 / radius
            inner = math.sqrt(max(1.0 - away2, 0.0) / squared)
            nearer = cosine / math.sqrt(squared) if rim else inner
            # From the centre: outwards along the perpendicular to the line of sight, and back along it.
            share = outwards * along / squared - nearer
            x, y, z = share * dx - outwards * centre[0], share * dy - outwards * centre[1], share - outwards * centre[2]
            ahead = -(to_model[2, 0] * x + to_model[2, 1] * y + to_model[2, 2] * z)
            square[column] = away2
            rights[column] = to_model[0, 0] * x + to_model[0, 1] * y + to_model[0, 2] * z
            downs[column] = to_model[1, 0] * x + to_model[1, 1] * y + to_model[1, 2] * z
            at[column] = min(max((ahead + 1.0) * (_STEPS / 2), 0.0), _STEPS - 1.0)
        for column in range(np.uint64(first[0]), np.uint64(last[0])):
            # The NaN of an overflow compares false.
            if not face[row, column] and square[column] <= REACH * REACH:
                step = int(at[column])
                spread = _SPREAD[step] + (at[column] - step) * (_SPREAD[step + 1] - _SPREAD[step])
                u = min(max(0.5 + rights[column] * spread, 0.0), 1.0)
                v = min(max(0.5 + downs[column] * spread, _LEAST), 1.0 - 2 * _LEAST)
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
    across, down = np.round(65535 * u).astype(np.uint16), np.round(65535 * (0.5 + v / 2)).astype(np.uint16)
    _paint_torso(uv, face, across, down, first)


@njit()
def _paint_torso(uv, face, across, down, first):
    """Write the coordinates of columns and of rows, the latter from row `first` on."""
    for row in range(first, len(down)):
        for column in range(len(across)):
            if not face[row, column]:
                uv[row, column, 0], uv[row, column, 1] = across[column], down[row]
