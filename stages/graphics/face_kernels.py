"""The inner loops that turn a filled z-buffer into the face picture and the UV picture (numba, processor)."""

import math

import numpy as np
from numba import njit

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
def attribute_planes(edges, boxes, tri, values, planes):
    """Vertex attributes as linear functions of the pixel, so that painting needs no look-up of corners.

    edges (F, 3, 3), boxes (F, 4): of a drawn `ZBuffer`; values (V, A). planes (F, A + 1, 3) is written: coefficients
    a, b, c of a*x + b*y + c, first for the divisor that makes the rest perspective-correct, then for each attribute
    times it. Triangles outside the picture are left out.
    """
    for face in range(tri.shape[0]):
        if boxes[face, 2] <= boxes[face, 0] or boxes[face, 3] <= boxes[face, 1]:
            continue
        i, j, k = tri[face, 0], tri[face, 1], tri[face, 2]
        for c in range(3):
            e0, e1, e2 = edges[face, 0, c], edges[face, 1, c], edges[face, 2, c]
            planes[face, 0, c] = e0 + e1 + e2
            for a in range(values.shape[1]):
                planes[face, a + 1, c] = e0 * values[i, a] + e1 * values[j, a] + e2 * values[k, a]


@njit(cache=True, nogil=True)
def _plane(planes, face, attribute, x, y):
    return planes[face, attribute, 0] * x + (planes[face, attribute, 1] * y + planes[face, attribute, 2])


@njit(cache=True, nogil=True)
def _read_texture(texture, u, v):
    """Bilinear look-up in texture (T, U, 3) at u, v in [0, 1]; beyond the border the border goes on."""
    rows, columns = texture.shape[0], texture.shape[1]
    x = min(max(u * columns - 0.5, 0.0), columns - 1.0)
    y = min(max(v * rows - 0.5, 0.0), rows - 1.0)
    # Unsigned: numba then leaves out its test for negative indices.
    left, top = np.uint64(x), np.uint64(y)
    right, bottom = np.uint64(min(x + 1.0, columns - 1.0)), np.uint64(min(y + 1.0, rows - 1.0))
    fx, fy = x - np.float64(left), y - np.float64(top)
    w00, w01, w10, w11 = (1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy
    red = w00 * texture[top, left, 0] + w01 * texture[top, right, 0]
    red += w10 * texture[bottom, left, 0] + w11 * texture[bottom, right, 0]
    green = w00 * texture[top, left, 1] + w01 * texture[top, right, 1]
    green += w10 * texture[bottom, left, 1] + w11 * texture[bottom, right, 1]
    blue = w00 * texture[top, left, 2] + w01 * texture[top, right, 2]
    blue += w10 * texture[bottom, left, 2] + w11 * texture[bottom, right, 2]
    return red, green, blue


@njit(cache=True, nogil=True)
def _eyeball_colour(right, down, forward, iris_sine):
    sine = math.sqrt(right * right + down * down)
    if forward <= 0.0 or sine >= iris_sine:
        return SCLERA[0], SCLERA[1], SCLERA[2]
    if sine >= PUPIL_SHARE * iris_sine:
        return IRIS[0], IRIS[1], IRIS[2]
    return PUPIL[0], PUPIL[1], PUPIL[2]


@njit(cache=True, nogil=True)
def paint_picture(face_at, planes, part, eye_of, texture, camera, to_model, origin, eyes, axes, factor, picture):
    """Textured, shaded face, averaged over factor x factor samples, black elsewhere.

    face_at (S*factor, S*factor): triangles of a filled z-buffer; planes (F, 6, 3): `attribute_planes` of shading R, G,
    B, u, v; part (F,); eye_of (F,): which eyeball lies behind an eye opening; texture (T, T, 3) float32 in 0..255;
    camera, to_model, origin, axes (2, 3, 3): see `eyeball_point`, camera in sample pixels; eyes (2, 5): centre,
    radius, sine of the iris's half angle; picture (S, S, 3) uint8: written.
    """
    size = picture.shape[0]
    share = 1.0 / (factor * factor)
    for row in range(size):
        for column in range(size):
            total0, total1, total2 = 0.0, 0.0, 0.0
            for y in range(row * factor, (row + 1) * factor):
                for x in range(column * factor, (column + 1) * factor):
                    face = face_at[y, x]
                    if face < 0:
                        continue
                    px, py = x + 0.5, y + 0.5
                    scale = 1.0 / _plane(planes, face, 0, px, py)
                    if part[face] == EYE:
                        e = eye_of[face]
                        right, down, forward = eyeball_point(
                            px, py, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e]
                        )
                        t0, t1, t2 = _eyeball_colour(right, down, forward, eyes[e, 4])
                        t0, t1, t2 = np.float64(t0), np.float64(t1), np.float64(t2)
                    else:
                        u = _plane(planes, face, 4, px, py) * scale
                        v = _plane(planes, face, 5, px, py) * scale
                        t0, t1, t2 = _read_texture(texture, u, v)
                        if part[face] == MOUTH:
                            t0, t1, t2 = t0 * MOUTH_DIMMING, t1 * MOUTH_DIMMING, t2 * MOUTH_DIMMING
                    total0 += min(max(t0 * _plane(planes, face, 1, px, py) * scale, 0.0), 255.0)
                    total1 += min(max(t1 * _plane(planes, face, 2, px, py) * scale, 0.0), 255.0)
                    total2 += min(max(t2 * _plane(planes, face, 3, px, py) * scale, 0.0), 255.0)
            picture[row, column, 0] = np.uint8(total0 * share + 0.5)
            picture[row, column, 1] = np.uint8(total1 * share + 0.5)
            picture[row, column, 2] = np.uint8(total2 * share + 0.5)


@njit(cache=True, nogil=True)
def paint_uv(face_at, planes, part, eye_of, camera, to_model, origin, eyes, axes, discs, picture, mask):
    """Exact texture coordinates of each pixel's centre: picture (S, S, 3) uint16 of u, v and 65535 on the face.

    planes (F, 3, 3): `attribute_planes` of u, v; discs (2, 3): centre and radius, in UV, of the disc that stands for
    each eyeball (see `renderer.eye_discs`); a radius of 0 leaves the eye opening with the UV of its mesh. mask (S, S)
    uint8: 1 where the face is. The other arguments are those of `paint_picture` with one sample per pixel.
    """
    size = picture.shape[0]
    for row in range(size):
        for column in range(size):
            face = face_at[row, column]
            mask[row, column] = face >= 0
            if face < 0:
                picture[row, column, :] = 0
                continue
            px, py = column + 0.5, row + 0.5
            scale = 1.0 / _plane(planes, face, 0, px, py)
            u, v = _plane(planes, face, 1, px, py) * scale, _plane(planes, face, 2, px, py) * scale
            if part[face] == EYE and discs[eye_of[face], 2] > 0.0:
                e = eye_of[face]
                right, down, forward = eyeball_point(
                    px, py, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e]
                )
                if forward < 0.0:
                    rim = 1.0 / max(math.sqrt(right * right + down * down), 1e-6)
                    right, down = right * rim, down * rim
                u, v = discs[e, 0] + discs[e, 2] * right, discs[e, 1] + discs[e, 2] * down
            picture[row, column, 0] = np.uint16(min(max(u, 0.0), 1.0) * 65535.0 + 0.5)
            picture[row, column, 1] = np.uint16(min(max(v, 0.0), 1.0) * 65535.0 + 0.5)
            picture[row, column, 2] = 65535
