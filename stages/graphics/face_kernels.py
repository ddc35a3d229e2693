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
    squared, along, distance2 = 0.0, 0.0, 0.0
    for k in range(3):
        direction = to_model[k, 0] * dx + to_model[k, 1] * dy + to_model[k, 2]
        offset = origin[k] - center[k]
        squared += direction * direction
        along += direction * offset
        distance2 += offset * offset
    under_root = along * along - squared * (distance2 - radius * radius)
    reach = (-along - math.sqrt(max(under_root, 0.0))) / squared
    length2, right, down, forward = 0.0, 0.0, 0.0, 0.0
    for k in range(3):
        direction = to_model[k, 0] * dx + to_model[k, 1] * dy + to_model[k, 2]
        point = origin[k] + reach * direction - center[k]
        length2 += point * point
        right += point * axes[0, k]
        down += point * axes[1, k]
        forward += point * axes[2, k]
    length = math.sqrt(max(length2, 1e-12))
    return right / length, down / length, forward / length


@njit(cache=True, nogil=True)
def _attribute_lines(edges, tri, values, face, y, lines):
    """Vertex attributes of a triangle as linear functions along row y, so that a run of its samples is quickly painted.

    edges (F, 3, 3): of a drawn `ZBuffer`; values (V, A). lines (A + 1, 2) is written: coefficients a, b of a*x + b,
    first for the divisor that makes the rest perspective-correct, then for each attribute times it.
    """
    i, j, k = np.uint64(tri[face, 0]), np.uint64(tri[face, 1]), np.uint64(tri[face, 2])
    a0, a1, a2 = edges[face, 0, 0], edges[face, 1, 0], edges[face, 2, 0]
    b0 = edges[face, 0, 1] * y + edges[face, 0, 2]
    b1 = edges[face, 1, 1] * y + edges[face, 1, 2]
    b2 = edges[face, 2, 1] * y + edges[face, 2, 2]
    lines[0, 0], lines[0, 1] = a0 + a1 + a2, b0 + b1 + b2
    for a in range(values.shape[1]):
        v0, v1, v2 = np.float64(values[i, a]), np.float64(values[j, a]), np.float64(values[k, a])
        lines[a + 1, 0] = a0 * v0 + a1 * v1 + a2 * v2
        lines[a + 1, 1] = b0 * v0 + b1 * v1 + b2 * v2


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
        return np.float64(SCLERA[0]), np.float64(SCLERA[1]), np.float64(SCLERA[2])
    if sine >= PUPIL_SHARE * iris_sine:
        return np.float64(IRIS[0]), np.float64(IRIS[1]), np.float64(IRIS[2])
    return np.float64(PUPIL[0]), np.float64(PUPIL[1]), np.float64(PUPIL[2])


@njit(cache=True, nogil=True, error_model="numpy")
def paint_picture(
    face_at, extent, edges, tri, values, part, eye_of, texture, camera, to_model, origin, eyes, axes, factor, picture
):
    """Textured, shaded face, averaged over factor x factor samples, into a black picture (S, S, 3) uint8.

    face_at (S*factor, S*factor), extent (4,), edges (F, 3, 3): of a filled `ZBuffer`; tri (F, 3); values (V, 5):
    shading R, G, B, u, v; part (F,); eye_of (F,): which eyeball lies behind an eye opening; texture (T, T, 3) float32
    in 0..255; camera, to_model, origin, axes (2, 3, 3): see `eyeball_point`; eyes (2, 5): centre, radius, sine of the
    iris's half angle.
    """
    step, share = 1.0 / factor, 1.0 / (factor * factor)
    left, right = np.uint64(extent[0] // factor), np.uint64(-(-extent[2] // factor))
    lines, sums = np.empty((6, 2)), np.zeros((picture.shape[1], 3))
    for row in range(extent[1] // factor, -(-extent[3] // factor)):
        sums[:] = 0.0
        for sample_row in range(row * factor, (row + 1) * factor):
            py, last = (sample_row + 0.5) * step, np.int32(-1)
            for column in range(left, right):
                for x in range(column * np.uint64(factor), (column + np.uint64(1)) * np.uint64(factor)):
                    face = face_at[sample_row, x]
                    if face < 0:
                        continue
                    if face != last:
                        last = face
                        _attribute_lines(edges, tri, values, np.uint64(face), py, lines)
                    px = (np.float64(x) + 0.5) * step
                    scale = 1.0 / (lines[0, 0] * px + lines[0, 1])
                    if part[face] == EYE:
                        e = eye_of[face]
                        right_, down, forward = eyeball_point(
                            px, py, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e]
                        )
                        texel = _eyeball_colour(right_, down, forward, eyes[e, 4])
                        dimming = 1.0
                    else:
                        u, v = (lines[4, 0] * px + lines[4, 1]) * scale, (lines[5, 0] * px + lines[5, 1]) * scale
                        texel = _read_texture(texture, u, v)
                        dimming = MOUTH_DIMMING if part[face] == MOUTH else 1.0
                    for c in range(3):
                        light = (lines[c + 1, 0] * px + lines[c + 1, 1]) * scale
                        sums[column, c] += min(max(texel[c] * dimming * light, 0.0), 255.0)
        for column in range(left, right):
            for c in range(3):
                picture[row, column, c] = np.uint8(sums[column, c] * share + 0.5)


@njit(cache=True, nogil=True, error_model="numpy")
def paint_uv(
    face_at, extent, edges, tri, uv, part, eye_of, camera, to_model, origin, eyes, axes, discs, picture, mask
):
    """Exact texture coordinates of each pixel's centre: u, v and 65535 into an empty picture (S, S, 3) uint16.

    uv (V, 2); discs (2, 3): centre and radius, in UV, of the disc that stands for each eyeball (see
    `renderer.eye_discs`); a radius of 0 leaves the eye opening with the UV of its mesh. mask (S, S) uint8, empty: 1 is
    written where the face is. The other arguments are those of `paint_picture`, with one sample per pixel.
    """
    lines = np.empty((3, 2))
    for row in range(extent[1], extent[3]):
        py, last = row + 0.5, np.int32(-1)
        for column in range(np.uint64(extent[0]), np.uint64(extent[2])):
            face = face_at[row, column]
            if face < 0:
                continue
            if face != last:
                last = face
                _attribute_lines(edges, tri, uv, np.uint64(face), py, lines)
            px = np.float64(column) + 0.5
            scale = 1.0 / (lines[0, 0] * px + lines[0, 1])
            u, v = (lines[1, 0] * px + lines[1, 1]) * scale, (lines[2, 0] * px + lines[2, 1]) * scale
            if part[face] == EYE and discs[eye_of[face], 2] > 0.0:
                e = eye_of[face]
                right, down, forward = eyeball_point(
                    px, py, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e]
                )
                if forward < 0.0:
                    rim = 1.0 / max(math.sqrt(right * right + down * down), 1e-6)
                    right, down = right * rim, down * rim
                u, v = discs[e, 0] + discs[e, 2] * right, discs[e, 1] + discs[e, 2] * down
            mask[row, column] = 1
            picture[row, column, 0] = np.uint16(min(max(u, 0.0), 1.0) * 65535.0 + 0.5)
            picture[row, column, 1] = np.uint16(min(max(v, 0.0), 1.0) * 65535.0 + 0.5)
            picture[row, column, 2] = 65535
