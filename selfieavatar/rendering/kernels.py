"""Shade a filled z-buffer to the face image and the UV image: the renderer's inner loops (numba, CPU)."""

import math

import numpy as np

from selfieavatar.io.compiled import njit

SKIN, EYE, MOUTH, HIDDEN, TEETH = range(5)  # as in selfieavatar.morphable.landmark_sets
# Brightness of the inside of the mouth relative to its texture, and the plain colours of an eyeball (0 to 255).
MOUTH_DIMMING = 0.35
SCLERA = np.array([232.0, 226.0, 222.0], np.float32)
IRIS = np.array([66.0, 46.0, 36.0], np.float32)
PUPIL = np.array([10.0, 9.0, 9.0], np.float32)
PUPIL_SHARE = 0.42


@njit()
def eyeball_point(x, y, camera, to_model, origin, center, radius, axes):
    """Intersect the line of sight through pixel (x, y) with an eyeball, in the eye's axes.

    camera: focal length, cx, cy in pixels; to_model (3, 3), origin (3,): rotation from camera to model and the
    camera's position in the model; center (3,), radius: the eyeball; axes (3, 3): rows right, down, forward of the
    gaze. Returns the unit vector (right, down, forward) from the eyeball's centre. A line of sight that misses the ball
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


@njit()
def _attribute_lines(edges, tri, values, face, y, lines):
    """Set up the vertex attributes of a triangle as linear functions along row y.

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


def pack_texture(texture: np.ndarray) -> np.ndarray:
    """Pack a texture (T, U, 3) in 0..255 to (T + 1, U + 1) int32, R + 256 G + 65536 B, last row and column repeated."""
    levels = np.pad(np.rint(np.asarray(texture)).astype(np.int32), ((0, 1), (0, 1), (0, 0)), mode="edge")
    return np.ascontiguousarray(levels[..., 0] | levels[..., 1] << 8 | levels[..., 2] << 16)


# A row of samples is textured in three short loops over flat arrays, which LLVM vectorises.
@njit()
def _place_texels(u, v, left, right, rows, columns, place, fx, fy):
    """Find the flat index of the upper left of the four texels around u, v in [0, 1] and the bilinear weights."""
    for x in range(left, right):
        tx = min(max(u[x] * np.float32(columns) - np.float32(0.5), np.float32(0.0)), np.float32(columns - 1))
        ty = min(max(v[x] * np.float32(rows) - np.float32(0.5), np.float32(0.0)), np.float32(rows - 1))
        column, row = np.int32(tx), np.int32(ty)
        fx[x], fy[x] = tx - np.float32(column), ty - np.float32(row)
        place[x] = row * np.int32(columns + 1) + column


@njit()
def _gather_texels(texels, columns, place, left, right, t00, t01, t10, t11):
    below = np.uint64(columns + 1)
    for x in range(left, right):
        at = np.uint64(place[x])
        t00[x], t01[x] = texels[at], texels[at + np.uint64(1)]
        t10[x], t11[x] = texels[at + below], texels[at + below + np.uint64(1)]


@njit()
def _add_channel(t00, t01, t10, t11, fx, fy, shift, light, left, right, sums):
    """Add one channel, `shift` bits up in the texels: bilinear, times light, clipped to 0..255."""
    bits, byte = np.int32(shift), np.int32(255)
    for x in range(left, right):
        a, b = np.float32((t00[x] >> bits) & byte), np.float32((t01[x] >> bits) & byte)
        c, d = np.float32((t10[x] >> bits) & byte), np.float32((t11[x] >> bits) & byte)
        upper, lower = a + fx[x] * (b - a), c + fx[x] * (d - c)
        colour = (upper + fy[x] * (lower - upper)) * light[x]
        sums[x] += min(max(colour, np.float32(0.0)), np.float32(255.0))


@njit()
def _eyeball_colour(right, down, forward, iris_sine):
    sine = math.sqrt(right * right + down * down)
    if forward <= 0.0 or sine >= iris_sine:
        return np.float64(SCLERA[0]), np.float64(SCLERA[1]), np.float64(SCLERA[2])
    if sine >= PUPIL_SHARE * iris_sine:
        return np.float64(IRIS[0]), np.float64(IRIS[1]), np.float64(IRIS[2])
    return np.float64(PUPIL[0]), np.float64(PUPIL[1]), np.float64(PUPIL[2])


@njit(error_model="numpy")
def _row_of_faces(
    faces, left, right, y, step, edges, tri, values, part, eye_of,
    camera, to_model, origin, eyes, axes, row, sums,
):  # fmt: skip
    """Interpolate light and texture coordinates of a row of samples: row (5, W) float32 of R, G, B, u, v; else zero.

    Eyeballs are untextured: their colours are added to sums (3, W) here, and their light is zero.
    """
    lines, scale = np.empty((6, 2)), np.empty(row.shape[1])
    row[:, left:right] = 0.0
    start = left
    while start < right:
        face, end = faces[start], start + np.uint64(1)
        while end < right and faces[end] == face:
            end += np.uint64(1)
        if face >= 0 and part[face] != HIDDEN:
            _attribute_lines(edges, tri, values, np.uint64(face), y, lines)
            for x in range(start, end):
                scale[x] = 1.0 / (lines[0, 0] * ((np.float64(x) + 0.5) * step) + lines[0, 1])
            for a in range(5):
                slope, offset, out = lines[a + 1, 0], lines[a + 1, 1], row[a]
                for x in range(start, end):
                    out[x] = (slope * ((np.float64(x) + 0.5) * step) + offset) * scale[x]
            if part[face] == MOUTH:
                row[:3, start:end] *= MOUTH_DIMMING
            elif part[face] == EYE:
                e = eye_of[face]
                for x in range(start, end):
                    px = (np.float64(x) + 0.5) * step
                    point = eyeball_point(px, y, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e])
                    colour = _eyeball_colour(point[0], point[1], point[2], eyes[e, 4])
                    for c in range(3):
                        sums[c, x] += min(max(colour[c] * row[c, x], 0.0), 255.0)
                        row[c, x] = 0.0
        start = end


@njit()
def _drawn_columns(face_at, image_row, factor, widest):
    """Find the first and one past the last pixel with a face in a row of the image, `widest` at most."""
    first, last = widest
    samples = face_at[image_row * factor : (image_row + 1) * factor]
    while first < last and samples[:, first * factor : (first + 1) * factor].max() < 0:
        first += 1
    while first < last and samples[:, (last - 1) * factor : last * factor].max() < 0:
        last -= 1
    return first, last


@njit(error_model="numpy")
def paint_image(
    face_at, extent, edges, tri, values, part, eye_of, texels, camera, to_model, origin, eyes, axes, factor, image
):
    """Render the textured, shaded face, averaged over factor x factor samples, into a black image (S, S, 3) uint8.

    face_at (S*factor, S*factor), extent (4,), edges (F, 3, 3): of a filled `ZBuffer`; tri (F, 3); values (V, 5):
    shading R, G, B, u, v; part (F,); eye_of (F,): which eyeball lies behind an eye opening; texels: of `pack_texture`;
    camera, to_model, origin, axes (2, 3, 3): see `eyeball_point`; eyes (2, 5): centre, radius, sine of the iris's half
    angle.
    """
    step, share, width = 1.0 / factor, 1.0 / (factor * factor), face_at.shape[1]
    widest = extent[0] // factor, -(-extent[2] // factor)
    rows, columns = texels.shape[0] - 1, texels.shape[1] - 1
    flat, sums = texels.ravel(), np.zeros((3, width), np.float32)
    row, corners = np.zeros((5, width), np.float32), np.zeros((4, width), np.int32)
    place, fx, fy = np.zeros(width, np.int32), np.zeros(width, np.float32), np.zeros(width, np.float32)
    for image_row in range(extent[1] // factor, -(-extent[3] // factor)):
        first, last = _drawn_columns(face_at, image_row, factor, widest)
        left, right = np.uint64(first * factor), np.uint64(last * factor)
        sums[:, left:right] = 0.0
        for sample_row in range(image_row * factor, (image_row + 1) * factor):
            _row_of_faces(
                face_at[sample_row], left, right, (sample_row + 0.5) * step, step, edges, tri, values, part, eye_of,
                camera, to_model, origin, eyes, axes, row, sums,
            )  # fmt: skip
            _place_texels(row[3], row[4], left, right, rows, columns, place, fx, fy)
            _gather_texels(flat, columns, place, left, right, corners[0], corners[1], corners[2], corners[3])
            for c in range(3):
                _add_channel(
                    corners[0], corners[1], corners[2], corners[3], fx, fy, 8 * c, row[c], left, right, sums[c]
                )
        for column in range(first, last):
            for c in range(3):
                total = 0.0
                for x in range(column * factor, (column + 1) * factor):
                    total += sums[c, x]
                image[image_row, column, c] = np.uint8(total * share + 0.5)


@njit()
def _behind_the_lips(x, y, camera, to_model, origin, mouth):
    """Compute the UV of the intersection of the line of sight through pixel (x, y) with the plane of the teeth."""
    dx, dy = (x - camera[1]) / camera[0], (y - camera[2]) / camera[0]
    ahead = max(to_model[2, 0] * dx + to_model[2, 1] * dy + to_model[2, 2], 1e-3)
    reach = (mouth[2] - origin[2]) / ahead
    right = mouth[3] * (origin[0] + reach * (to_model[0, 0] * dx + to_model[0, 1] * dy + to_model[0, 2]) - mouth[0])
    down = mouth[3] * (origin[1] + reach * (to_model[1, 0] * dx + to_model[1, 1] * dy + to_model[1, 2]) - mouth[1])
    inwards = mouth[6] / max(math.sqrt(right * right + down * down), mouth[6])
    return mouth[4] + inwards * right, mouth[5] + inwards * down


@njit(error_model="numpy")
def paint_uv(
    face_at, extent, edges, tri, uv, part, eye_of, camera, to_model, origin, eyes, axes, discs, mouth, image, mask
):
    """Render the exact texture coordinates of each pixel's centre: u, v and 65535 into an empty (S, S, 3) uint16.

    uv (V, 2); discs (2, 3): centre and radius, in UV, of the disc that stands for each eyeball (see
    `renderer.eye_discs`); a radius of 0 leaves the eye opening with the UV of its mesh. mouth (7,): see
    `renderer.mouth_plane`. mask (S, S) uint8, empty: 1 is written where the face is. The other arguments are those of
    `paint_image`, with one sample per pixel.
    """
    lines = np.empty((3, 2))
    for row in range(extent[1], extent[3]):
        py, last = row + 0.5, np.int32(-1)
        for column in range(np.uint64(extent[0]), np.uint64(extent[2])):
            face = face_at[row, column]
            if face < 0 or part[face] == HIDDEN:
                continue
            if face != last:
                last = face
                _attribute_lines(edges, tri, uv, np.uint64(face), py, lines)
            px = np.float64(column) + 0.5
            scale = 1.0 / (lines[0, 0] * px + lines[0, 1])
            u, v = (lines[1, 0] * px + lines[1, 1]) * scale, (lines[2, 0] * px + lines[2, 1]) * scale
            if part[face] == EYE and discs[eye_of[face], 2] > 0.0:
                e = eye_of[face]
                right, down, forward = eyeball_point(px, py, camera, to_model, origin, eyes[e, :3], eyes[e, 3], axes[e])
                if forward < 0.0:
                    rim = 1.0 / max(math.sqrt(right * right + down * down), 1e-6)
                    right, down = right * rim, down * rim
                u, v = discs[e, 0] + discs[e, 2] * right, discs[e, 1] + discs[e, 2] * down
            elif part[face] == MOUTH and mouth[6] > 0.0:
                u, v = _behind_the_lips(px, py, camera, to_model, origin, mouth)
            mask[row, column] = 1
            image[row, column, 0] = np.uint16(min(max(u, 0.0), 1.0) * 65535.0 + 0.5)
            image[row, column, 1] = np.uint16(min(max(v, 0.0), 1.0) * 65535.0 + 0.5)
            image[row, column, 2] = 65535
