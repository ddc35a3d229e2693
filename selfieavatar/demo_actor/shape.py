"""Model the skin of head and neck in the reference pose: rings from the crown to the base of the neck, then sculpted.

Model space of the actor: centimetres, x right in the image, y down, z away from the camera; the origin is at the height
of the eyes in the middle of the head, the face looks along -z. Row `i` of the grid is a ring whose front point runs
down the profile of the face and whose back point runs down the back of the head; column `j` is an azimuth, 0 in the
middle of the face. The eye line and the mouth line are slits: two rows of vertices at one position that share their
vertices outside the openings, so that lids and lips can part.
Proportions are the averages of adult faces (Farkas, Anthropometry of the Head and Face, 1994), eyes a little larger.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from selfieavatar.demo_actor.traits import Traits

EYE_X, EYE_HALF = 3.05, 1.45  # centre and half width of the lid opening, cm
EYE_RADIUS, EYE_Z = 1.6, -6.15  # eyeball
MOUTH_Y, MOUTH_HALF = 6.8, 2.6
LID_REACH_UP, LID_REACH_DOWN = 1.75, 1.35  # how far from the slit a lid stretches, cm
CHIN_Y = 11.4

# Rings: front y, front z, half width, back y, back z, depth of the widest place, exponent of the side's rise.
RINGS = np.array([
    (-12.0, -8.7, 7.35, -12.0, 10.2, 0.8, 1.0), (-6.0, -8.95, 7.4, -5.6, 10.4, 0.8, 1.0),
    (-2.3, -9.1, 7.35, -2.0, 10.4, 0.8, 1.0), (0.0, -8.75, 7.15, 0.0, 10.0, 0.6, 1.0),
    (2.5, -8.7, 6.95, 2.0, 9.2, 0.2, 1.0), (4.7, -8.9, 6.6, 3.6, 8.2, 0.0, 1.0),
    (6.8, -9.0, 6.25, 4.7, 7.2, 0.2, 1.0), (8.6, -8.7, 5.85, 5.5, 6.6, 0.6, 0.9),
    (10.2, -8.5, 5.5, 6.2, 6.2, 0.8, 0.75), (11.4, -7.3, 5.1, 7.2, 6.0, 1.0, 0.65),
    (11.75, -5.0, 4.6, 8.4, 6.0, 1.2, 0.7), (12.6, -3.0, 4.5, 9.8, 6.0, 1.5, 0.9),
    (15.0, -2.8, 4.8, 12.0, 6.2, 1.8, 1.0), (20.0, -4.0, 6.6, 17.0, 6.8, 1.8, 1.0),
])  # fmt: skip
# Density of the grid's rows, by the y of the ring's front below the crown: (start, end, rows).
ROW_STRETCHES = (
    (-12.0, -11.4, 8), (-11.4, -4.0, 20), (-4.0, -1.9, 16), (-1.9, 0.0, 34), (0.0, 1.6, 24), (1.6, 3.2, 14),
    (3.2, 5.2, 28), (5.2, 6.8, 28), (6.8, 8.6, 30), (8.6, 11.4, 18), (11.4, 11.75, 6), (11.75, 20.0, 24),
)  # fmt: skip
NOSE_RIDGE = np.array([
    (-2.2, 0.0), (-0.9, 0.12), (-0.2, 0.3), (1.0, 0.95), (2.5, 1.75), (3.6, 2.3), (4.05, 2.35), (4.45, 1.75),
    (4.8, 0.6), (5.1, 0.1), (5.4, 0.0),
])  # fmt: skip
NOSE_WIDTH = np.array([(-2.2, 1.1), (-0.5, 0.85), (1.0, 0.85), (2.5, 1.0), (3.6, 1.15), (4.4, 1.2), (5.4, 1.0)])


def smoothstep(edge0: float, edge1: float, x: np.ndarray) -> np.ndarray:
    """Compute the Hermite step from 0 at `edge0` to 1 at `edge1` (either order)."""
    t = np.clip((x - edge0) / (edge1 - edge0), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x: np.ndarray, y: np.ndarray, at: tuple[float, float], size: tuple[float, float]) -> np.ndarray:
    """Evaluate a Gaussian of height 1 at `at` with widths `size` (cm)."""
    return np.exp(-(((x - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2)


@dataclass(frozen=True)
class SkinGrid:
    """Hold the mesh of head and neck in the reference pose.

    Attributes:
        rest: (V,3) f64 sculpted vertices.
        flat: (V,2) ring coordinates x, y before sculpting, on which paint and expressions are defined.
        front: (V,) 1 on the face and 0 on the back.
        index: (rows, columns) vertex numbers.
        azimuth: (columns,) rad.
        uv: (V,2).
        tri: (F,3) i32.
        below: (V,) bool, True below the mouth slit or on its lower side.
        under: (V,) bool, the same for the eye slit.
        stiff: (V,) skinning weight of the head, falling to 0 at the base of the neck.
        eye_row: the upper one of the two rows of the eye slit.
        mouth_row: the upper one of the two rows of the mouth slit.
        ring_y: (rows,) y of each ring's front.
    """

    rest: np.ndarray
    flat: np.ndarray
    front: np.ndarray
    index: np.ndarray
    azimuth: np.ndarray
    uv: np.ndarray
    tri: np.ndarray
    below: np.ndarray
    under: np.ndarray
    stiff: np.ndarray
    eye_row: int
    mouth_row: int
    ring_y: np.ndarray


def row_heights() -> tuple[np.ndarray, int, int]:
    """Compute the front y of each row with the two slit rows doubled, and the number of each pair's upper row."""
    parts = [np.linspace(a, b, n, endpoint=False) for a, b, n in ROW_STRETCHES]
    y = np.concatenate([*parts, [ROW_STRETCHES[-1][1]]])
    eye = int(np.argmin(np.abs(y - 0.0)))
    y = np.insert(y, eye, y[eye])
    mouth = int(np.flatnonzero(np.isclose(y, MOUTH_Y))[0])
    y = np.insert(y, mouth, y[mouth])
    return y, eye, mouth


def columns() -> np.ndarray:
    """Compute azimuths (rad), dense over eyes and mouth, sparse behind the ears; the last one closes the ring."""
    front = np.linspace(0.0, np.radians(48.0), 96)
    side = np.radians(np.linspace(48.0, 180.0, 34))[1:]
    half = np.concatenate([front, side])
    return np.concatenate([-half[:0:-1], half])


def ring_points(y_front: np.ndarray, azimuth: np.ndarray, jaw_width: float = 1.0) -> np.ndarray:
    """Compute the points (R,C,3) cm of the rings before sculpting.

    Args:
        y_front: (R,) y of each ring's front, between the crown and the base of the neck, cm.
        azimuth: (C,) rad.
        jaw_width: factor.
    """
    fine = np.linspace(RINGS[0, 0], RINGS[-1, 0], 800)
    smooth = gaussian_filter1d(PchipInterpolator(RINGS[:, 0], RINGS[:, 1:])(fine), 12.0, axis=0, mode="nearest")
    table = np.stack([np.interp(y_front, fine, column) for column in smooth.T], axis=1)
    z_front, half, y_back, z_back, z_mid, rise = (table[:, k, None] for k in range(6))
    # The crown is a pole: above the brows, the rings shrink as those of an ellipsoid.
    cap = np.clip((y_front - RINGS[0, 0]) / (-2.5 - RINGS[0, 0]), 0.0, 1.0)[:, None]
    dome = (1.0 - (1.0 - cap) ** 2.5) ** (1 / 2.3)
    half = half * dome
    z_front = z_mid + (z_front - z_mid) * dome
    z_back = z_mid + (z_back - z_mid) * dome
    jaw = smoothstep(5.0, 9.0, y_front)[:, None] * (1 - smoothstep(12.0, 13.0, y_front)[:, None])
    half = half * (1 + (jaw_width - 1) * jaw)
    sine, cosine = np.sin(azimuth)[None], np.cos(azimuth)[None]
    power = 2.0 / 2.25
    x = half * np.sign(sine) * np.abs(sine) ** power
    depth = np.abs(cosine) ** power
    z = np.where(cosine > 0, z_mid - (z_mid - z_front) * depth, z_mid + (z_back - z_mid) * depth)
    back = np.clip((1.0 - cosine) / 2.0, 0.0, 1.0)
    y = y_front[:, None] + (y_back - y_front[:, None]) * back**rise
    return np.stack([x, y, z], axis=-1)


def lip_profile(x: np.ndarray, fullness: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the height of the red of the upper and the lower lip over the slit (cm), 0 from the corners outwards."""
    u = np.clip(np.abs(x) / MOUTH_HALF, 0.0, 1.0)
    bow = 1.0 - 0.16 * np.exp(-((x / 0.38) ** 2)) + 0.1 * np.exp(-(((np.abs(x) - 0.62) / 0.4) ** 2))
    upper = 0.82 * fullness * (1 - u**1.9) ** 0.85 * bow
    lower = 1.02 * fullness * (1 - u**2.4) ** 0.9
    return upper, lower


def sculpt(flat: np.ndarray, below: np.ndarray, identity: Traits) -> np.ndarray:
    """Compute the displacement (V,3) of the smooth front to a face: brow, sockets, nose, cheeks, lips, chin."""
    x, y = flat[:, 0], flat[:, 1]
    side = np.abs(x)
    shift = np.zeros((len(flat), 3))
    z = shift[:, 2]
    z -= 0.22 * np.exp(-(((y + 2.2) / 0.9) ** 2)) * smoothstep(5.8, 3.0, side)
    z += 0.85 * bump(side, y, (2.8, 0.1), (1.5, 1.2))
    z += 0.6 * bump(side, y, (1.55, 0.25), (0.6, 0.9))
    z -= 0.55 * bump(side, y, (4.2, 3.1), (1.9, 1.7))
    z += 0.3 * bump(side, y, (5.2, 6.2), (1.3, 2.2))
    z -= 0.45 * bump(x, y, (0.0, 6.9), (2.8, 2.0))
    z += 0.12 * bump(x, y, (0.0, 5.5), (0.25, 0.5))
    z += 0.4 * bump(x, y, (0.0, 8.75), (2.0, 0.55))
    z -= 0.55 * bump(x, y, (0.0, 10.2), (1.7, 1.1))
    ridge = PchipInterpolator(*NOSE_RIDGE.T, extrapolate=False)(y)
    width = PchipInterpolator(*NOSE_WIDTH.T, extrapolate=False)(y) * identity.nose_width
    nose = np.nan_to_num(ridge) * identity.nose_length
    z -= nose * np.exp(-((side / np.nan_to_num(width, nan=1.0)) ** 2.3))
    z -= 0.85 * bump(side, y, (1.32 * identity.nose_width, 4.1), (0.48, 0.58))
    z += 0.25 * bump(side, y, (2.05 * identity.nose_width, 4.2), (0.4, 0.7))
    z += 0.45 * bump(side, y, (0.62, 4.68), (0.3, 0.2))
    upper, lower = lip_profile(x, identity.lip_fullness)
    height = np.where(below, lower, upper)
    q = np.clip(np.abs(y - slit_height(x)) / np.maximum(height, 1e-6), 0.0, 1.0)
    swell = np.where(below, 0.5, 0.42) * identity.lip_fullness * np.sin(np.pi * q**0.75) * (height > 1e-6)
    z -= swell * np.clip(height / 0.6, 0.0, 1.0)
    shift[:, 0] = np.sign(x) * 0.12 * bump(side, y, (5.5, 2.8), (1.5, 1.8))
    shift[:, 1] = -identity.eye_tilt * (side - EYE_X) * np.exp(-((y / 1.6) ** 2)) * smoothstep(6.5, 5.0, side)
    return shift


def slit_height(x: np.ndarray) -> np.ndarray:
    """Interpolate y of the mouth slit over x: the ring through the mouth rises a little towards its sides."""
    fine = np.linspace(-np.pi / 2, np.pi / 2, 400)
    ring = ring_points(np.array([MOUTH_Y]), fine)[0]
    return np.interp(x, ring[:, 0], ring[:, 1])


def build_grid(identity: Traits) -> SkinGrid:
    """Build the skin of one identity."""
    heights, eye, mouth = row_heights()
    azimuth = columns()
    points = ring_points(heights, azimuth, identity.jaw_width)
    rows, cols = points.shape[:2]
    index = np.arange(rows * cols, dtype=np.int32).reshape(rows, cols)
    index[:, -1] = index[:, 0]
    eye_open = (np.abs(np.abs(points[eye, :, 0]) - EYE_X) < EYE_HALF) & (np.cos(azimuth) > 0)
    mouth_open = (np.abs(points[mouth, :, 0]) < MOUTH_HALF) & (np.cos(azimuth) > 0)
    index[eye + 1, ~eye_open] = index[eye, ~eye_open]
    index[mouth + 1, ~mouth_open] = index[mouth, ~mouth_open]
    number = np.arange(rows)
    below = np.repeat((number > mouth)[:, None], cols, 1).ravel()
    under = np.repeat((number > eye)[:, None], cols, 1).ravel()
    flat = points.reshape(-1, 3)[:, :2].copy()
    front = np.repeat(smoothstep(0.05, 0.5, np.cos(azimuth))[None], rows, 0)
    front = (front * (1 - smoothstep(11.3, 11.8, heights))[:, None]).ravel()
    rest = points.reshape(-1, 3) + sculpt(flat, below, identity) * front[:, None]
    # Both rows of a slit have the same v.
    v = np.arange(rows, dtype=np.float64)
    v[eye + 1 :] -= 1
    v[mouth + 1 :] -= 1
    uv = np.stack(np.meshgrid(np.linspace(0, 1, cols), v / v[-1]), axis=-1).reshape(-1, 2)
    stiff = np.repeat((1 - smoothstep(11.9, 16.5, heights))[:, None], cols, 1).ravel()
    tri = grid_triangles(index, skip=(eye, mouth))
    return SkinGrid(rest, flat, front, index, azimuth, uv, tri, below, under, stiff, eye, mouth, heights)


def grid_triangles(index: np.ndarray, skip: tuple[int, ...] = ()) -> np.ndarray:
    """Triangulate a grid of vertex numbers (R,C), two triangles a cell, less the cells below the rows in `skip`."""
    keep = np.setdiff1d(np.arange(index.shape[0] - 1), np.asarray(skip, dtype=int))
    a, b = index[keep, :-1], index[keep, 1:]
    c, d = index[keep + 1, :-1], index[keep + 1, 1:]
    tri = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    flat = (tri[:, 0] == tri[:, 1]) | (tri[:, 1] == tri[:, 2]) | (tri[:, 0] == tri[:, 2])
    return tri[~flat].astype(np.int32)
