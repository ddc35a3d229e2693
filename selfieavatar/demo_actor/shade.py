"""Shade the actor per pixel: a warm key light, a cool fill, ambient light from above and below, gloss, textures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfieavatar.io.compiled import njit
from selfieavatar.rendering.raster_cpu import barycentrics

# Per material (skin, eye, lash, gum, teeth, tongue, cloth, hair): gloss strength, gloss exponent, wrap of the diffuse
# light (0 hard, 0.5 like skin).
MATERIALS = np.array([
    (0.16, 22.0, 0.30), (0.90, 260.0, 0.45), (0.02, 10.0, 0.3), (0.25, 40.0, 0.5), (0.35, 60.0, 0.6),
    (0.30, 30.0, 0.5), (0.03, 8.0, 0.15), (0.16, 14.0, 0.25),
], np.float32)  # fmt: skip


@dataclass(frozen=True)
class Light:
    """Hold the lights: unit vectors towards them in camera axes, colours in linear RGB."""

    key: np.ndarray
    key_colour: np.ndarray
    fill: np.ndarray
    fill_colour: np.ndarray
    above: np.ndarray
    under: np.ndarray

    def packed(self) -> np.ndarray:
        """Pack the lights to (6,3) f32 for the kernel."""
        rows = [self.key, self.key_colour, self.fill, self.fill_colour, self.above, self.under]
        return np.stack(rows).astype(np.float32)


def room_light(side: float) -> Light:
    """Make the room's light; the key comes from the left of the image for `side` < 0."""
    key, fill = np.array([0.55 * side, -0.55, -0.75]), np.array([-0.8 * side, -0.1, -0.5])
    return Light(
        key / np.linalg.norm(key),
        np.array([0.90, 0.84, 0.76]),
        fill / np.linalg.norm(fill),
        np.array([0.17, 0.19, 0.23]),
        np.array([0.28, 0.30, 0.33]),
        np.array([0.15, 0.125, 0.11]),
    )


def pack_textures(textures: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pack sRGB textures to one linear array (N,3) f32, and (M,3) i64 offset, rows, columns of each material."""
    table, parts, offset = np.zeros((max(textures) + 1, 3), np.int64), [], 0
    for number in sorted(textures):
        rows, columns = textures[number].shape[:2]
        table[number] = offset, rows, columns
        parts.append(np.asarray(textures[number], np.float32).reshape(-1, 3) ** np.float32(2.2))
        offset += rows * columns
    return np.concatenate(parts), table


@njit(fastmath=True)
def _texel(texels, offset, rows, columns, u, v, out):
    """Sample the texture bilinearly at uv, clamped at the border."""
    x = min(max(u * columns - 0.5, 0.0), columns - 1.0)
    y = min(max(v * rows - 0.5, 0.0), rows - 1.0)
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, columns - 1), min(y0 + 1, rows - 1)
    fx, fy = x - x0, y - y0
    a, b = offset + y0 * columns + x0, offset + y0 * columns + x1
    c, d = offset + y1 * columns + x0, offset + y1 * columns + x1
    for k in range(3):
        out[k] = ((1 - fx) * texels[a, k] + fx * texels[b, k]) * (1 - fy) + (
            (1 - fx) * texels[c, k] + fx * texels[d, k]
        ) * fy


@njit(fastmath=True)
def _light(normal, view, albedo, openness, material, light, out):
    """Shade one point: wrapped diffuse light, hemisphere ambient light, Blinn's gloss."""
    key, fill = np.float32(0.0), np.float32(0.0)
    half = np.empty(3, np.float32)
    length = np.float32(0.0)
    for k in range(3):
        key += normal[k] * light[0, k]
        fill += normal[k] * light[2, k]
        half[k] = light[0, k] + view[k]
        length += half[k] * half[k]
    gloss = np.float32(0.0)
    for k in range(3):
        gloss += normal[k] * half[k]
    gloss = max(gloss / np.sqrt(length), np.float32(0.0)) ** material[1] * material[0]
    wrap = material[2]
    key = max((key + wrap) / (1 + wrap), np.float32(0.0))
    key = key * key * wrap + key * (1 - wrap)
    fill = max(fill, np.float32(0.0))
    up = np.float32(0.5) - np.float32(0.5) * normal[1]
    for k in range(3):
        around = light[4, k] * up + light[5, k] * (1 - up)
        direct = light[1, k] * key * (np.float32(0.2) + np.float32(0.8) * openness)
        out[k] = albedo[k] * (direct + (light[3, k] * fill + around) * openness) + gloss * light[1, k] * openness


@njit(fastmath=True)
def shade_image(
    face_at, edges, tri, points, normals, uv, openness, material_of, texels, table, materials, light, scale, colour,
    cover,
):  # fmt: skip
    """Shade a supersampled image and average it.

    face_at (s*H, s*W) triangle numbers or -1, edges (F,3,3) of the z-buffer; points, normals (V,3) camera axes,
    uv (V,2), openness (V,) ambient occlusion, material_of (F,). Writes colour (H,W,3) linear RGB, premultiplied by
    the coverage, and cover (H,W) in [0,1].
    """
    normal, view = np.empty(3, np.float32), np.empty(3, np.float32)
    albedo, lit = np.empty(3, np.float32), np.empty(3, np.float32)
    share = np.float32(1.0 / (scale * scale))
    colour[:] = 0.0
    cover[:] = 0.0
    for row in range(face_at.shape[0]):
        for column in range(face_at.shape[1]):
            face = face_at[row, column]
            if face < 0:
                continue
            a, b = barycentrics(edges, face, column + 0.5, row + 0.5)
            c = 1.0 - a - b
            i, j, k = tri[face, 0], tri[face, 1], tri[face, 2]
            size, far, facing = 0.0, 0.0, 0.0
            for n in range(3):
                normal[n] = a * normals[i, n] + b * normals[j, n] + c * normals[k, n]
                view[n] = -(a * points[i, n] + b * points[j, n] + c * points[k, n])
                size += normal[n] * normal[n]
                far += view[n] * view[n]
                facing += normal[n] * view[n]
            # Surfaces are thin sheets, lit on the visible side.
            size = max(np.sqrt(size), 1e-9) * (1.0 if facing >= 0.0 else -1.0)
            far = max(np.sqrt(far), 1e-9)
            for n in range(3):
                normal[n] /= size
                view[n] /= far
            material = material_of[face]
            u, v = a * uv[i, 0] + b * uv[j, 0] + c * uv[k, 0], a * uv[i, 1] + b * uv[j, 1] + c * uv[k, 1]
            _texel(texels, table[material, 0], table[material, 1], table[material, 2], u, v, albedo)
            ambient = np.float32(a * openness[i] + b * openness[j] + c * openness[k])
            _light(normal, view, albedo, ambient, materials[material], light, lit)
            y, x = row // scale, column // scale
            for n in range(3):
                colour[y, x, n] += lit[n] * share
            cover[y, x] += share


@njit(fastmath=True)
def develop(colour, cover, background, curve, image, alpha):
    """Composite over the linear `background` (H,W,3) and encode as sRGB: image (H,W,3) u8, alpha (H,W) u8.

    curve: (n,) u8, sRGB code of linear light k/(n-1).
    """
    last = curve.shape[0] - 1
    for y in range(colour.shape[0]):
        for x in range(colour.shape[1]):
            alpha[y, x] = np.uint8(cover[y, x] * 255.0 + 0.5)
            for n in range(3):
                value = colour[y, x, n] + (1.0 - cover[y, x]) * background[y, x, n]
                image[y, x, n] = curve[int(min(max(value, 0.0), 1.0) * last + 0.5)]


def tone_curve(steps: int = 4096) -> np.ndarray:
    """Tabulate the sRGB codes u8 of linear light on a grid of `steps`, gamma 2.2."""
    return np.round(255.0 * np.linspace(0, 1, steps) ** (1 / 2.2)).astype(np.uint8)
