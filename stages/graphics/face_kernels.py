"""The inner loops that turn a filled z-buffer into the face picture and the UV picture (numba, processor)."""

import math

import numpy as np
from numba import njit

from stages.graphics.raster_cpu import barycentrics

SKIN, EYE, MOUTH = 0, 1, 2
# Brightness of the inside of the mouth relative to its texture, and the plain colours of an eyeball (0 to 255).
MOUTH_DIMMING = 0.35
SCLERA = np.array([232.0, 226.0, 222.0], np.float32)
IRIS = np.array([66.0, 46.0, 36.0], np.float32)
PUPIL = np.array([10.0, 9.0, 9.0], np.float32)
PUPIL_SHARE = 0.42


@njit(cache=True, nogil=True)
def eyeball_point(x, y, camera, to_model, origin, center, radius, axes):
    """Where the line of sight through pixel (x, y) meets an eyeball, in the eye's own axes.

    camera: focal length, cx, cy in pixels; to_model (3, 3), origin (3,): rotation from camera to model and the
    camera's place in the model; center (3,), radius: the eyeball; axes (3, 3): rows right, down, forward of the gaze.
    Returns the unit vector (right, down, forward) from the eyeball's centre. A line of sight that misses the ball
    gives the point of the ball nearest to it, so that small errors of the fit leave no hole in the eye.
    """
    dx, dy = (x - camera[1]) / camera[0], (y - camera[2]) / camera[0]
    direction = np.empty(3)
    squared, along, distance2 = 0.0, 0.0, 0.0
    for k in range(3):
        direction[k] = to_model[k, 0] * dx + to_model[k, 1] * dy + to_model[k, 2]
        offset = origin[k] - center[k]
        squared += direction[k] * direction[k]
        along += direction[k] * offset
        distance2 += offset * offset
    under_root = along * along - squared * (distance2 - radius * radius)
    reach = (-along - math.sqrt(max(under_root, 0.0))) / squared
    length2, right, down, forward = 0.0, 0.0, 0.0, 0.0
    for k in range(3):
        point = origin[k] + reach * direction[k] - center[k]
        length2 += point * point
        right += point * axes[0, k]
        down += point * axes[1, k]
        forward += point * axes[2, k]
    length = math.sqrt(max(length2, 1e-12))
    return right / length, down / length, forward / length


@njit(cache=True, nogil=True)
def _read_texture(texture, u, v):
    """Bilinear look-up in texture (T, U, 3) at u, v in [0, 1]; beyond the border the border goes on."""
    rows, columns = texture.shape[0], texture.shape[1]
    x = min(max(u * columns - 0.5, 0.0), columns - 1.0)
    y = min(max(v * rows - 0.5, 0.0), rows - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, columns - 1), min(top + 1, rows - 1)
    fx, fy = x - left, y - top
    w00, w01, w10, w11 = (1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy
    a, b, c, d = texture[top, left], texture[top, right], texture[bottom, left], texture[bottom, right]
    return (
        w00 * a[0] + w01 * b[0] + w10 * c[0] + w11 * d[0],
        w00 * a[1] + w01 * b[1] + w10 * c[1] + w11 * d[1],
        w00 * a[2] + w01 * b[2] + w10 * c[2] + w11 * d[2],
    )


@njit(cache=True, nogil=True)
def paint_picture(
    face_at, edges, tri, part, eye_of, shading, uv, texture, camera, to_model, origin, eyes, axes, factor, picture
):
    """Textured, shaded face, averaged over factor x factor samples, black elsewhere.

    face_at (S*factor, S*factor) and edges: a filled z-buffer; tri (F, 3); part (F,); eye_of (F,): which eyeball lies
    behind an eye opening; shading (V, 3), uv (V, 2), texture (T, T, 3) float32 in 0..255; camera, to_model, origin,
    axes (2, 3, 3): see `eyeball_point`, camera in sample pixels; eyes (2, 5): centre, radius, sine of the iris's
    half angle; picture (S, S, 3) uint8: written.
    """
    size = picture.shape[0]
    samples = np.float32(1.0 / (factor * factor))
    for row in range(size):
        for column in range(size):
            total0, total1, total2 = 0.0, 0.0, 0.0
            for sample in range(factor * factor):
                y, x = row * factor + sample // factor, column * factor + sample % factor
                face = face_at[y, x]
                if face < 0:
                    continue
                a, b = barycentrics(edges, face, x + 0.5, y + 0.5)
                c = 1.0 - a - b
                i, j, k = tri[face, 0], tri[face, 1], tri[face, 2]
                s0 = a * shading[i, 0] + b * shading[j, 0] + c * shading[k, 0]
                s1 = a * shading[i, 1] + b * shading[j, 1] + c * shading[k, 1]
                s2 = a * shading[i, 2] + b * shading[j, 2] + c * shading[k, 2]
                if part[face] == EYE:
                    e = eye_of[face]
                    right, down, forward = eyeball_point(
                        x + 0.5, y + 0.5, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e]
                    )
                    sine = math.sqrt(right * right + down * down)
                    colour = SCLERA
                    if forward > 0.0 and sine < eyes[e, 4]:
                        colour = PUPIL if sine < PUPIL_SHARE * eyes[e, 4] else IRIS
                    t0, t1, t2 = np.float64(colour[0]), np.float64(colour[1]), np.float64(colour[2])
                else:
                    u = a * uv[i, 0] + b * uv[j, 0] + c * uv[k, 0]
                    v = a * uv[i, 1] + b * uv[j, 1] + c * uv[k, 1]
                    dimming = MOUTH_DIMMING if part[face] == MOUTH else 1.0
                    t0, t1, t2 = _read_texture(texture, u, v)
                    t0, t1, t2 = t0 * dimming, t1 * dimming, t2 * dimming
                total0 += min(max(t0 * s0, 0.0), 255.0)
                total1 += min(max(t1 * s1, 0.0), 255.0)
                total2 += min(max(t2 * s2, 0.0), 255.0)
            picture[row, column, 0] = np.uint8(total0 * samples + 0.5)
            picture[row, column, 1] = np.uint8(total1 * samples + 0.5)
            picture[row, column, 2] = np.uint8(total2 * samples + 0.5)


@njit(cache=True, nogil=True)
def paint_uv(
    face_at, edges, tri, part, eye_of, uv, camera, to_model, origin, eyes, axes, discs, picture, mask
):
    """Exact texture coordinates of each pixel's centre: picture (S, S, 3) uint16 of u, v and 65535 on the face.

    discs (2, 3): centre and radius, in UV, of the disc that stands for each eyeball (see `renderer.eye_discs`); a
    radius of 0 leaves the eye opening with the UV of its mesh. mask (S, S) uint8: 1 where the face is. The other
    arguments are those of `paint_picture` with one sample per pixel.
    """
    size = picture.shape[0]
    for row in range(size):
        for column in range(size):
            face = face_at[row, column]
            mask[row, column] = face >= 0
            if face < 0:
                picture[row, column, :] = 0
                continue
            a, b = barycentrics(edges, face, column + 0.5, row + 0.5)
            c = 1.0 - a - b
            i, j, k = tri[face, 0], tri[face, 1], tri[face, 2]
            u = a * uv[i, 0] + b * uv[j, 0] + c * uv[k, 0]
            v = a * uv[i, 1] + b * uv[j, 1] + c * uv[k, 1]
            if part[face] == EYE and discs[eye_of[face], 2] > 0.0:
                e = eye_of[face]
                right, down, forward = eyeball_point(
                    column + 0.5, row + 0.5, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e]
                )
                if forward < 0.0:
                    scale = 1.0 / max(math.sqrt(right * right + down * down), 1e-6)
                    right, down = right * scale, down * scale
                u, v = discs[e, 0] + discs[e, 2] * right, discs[e, 1] + discs[e, 2] * down
            picture[row, column, 0] = np.uint16(min(max(u, 0.0), 1.0) * 65535.0 + 0.5)
            picture[row, column, 1] = np.uint16(min(max(v, 0.0), 1.0) * 65535.0 + 0.5)
            picture[row, column, 2] = 65535
