"""Unwrap the subject's texture from frames by a weighted median over the views of each texel.

The median, weighted by view angle and visibility, ignores passing shadows, highlights and tracking errors that a mean
would blend in. With the light of each frame (`fitting.lighting`) the samples are divided by the irradiance and the
texture is the albedo; without it the light of the footage stays in.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from selfieavatar.geometry.normals import orient_outwards, vertex_normals
from selfieavatar.rendering import shading
from selfieavatar.rendering.raster_cpu import ZBuffer, bilinear, clip_positions, uv_clip

MOST_FRAMES = 64
_DEPTH_SLACK_CM = 0.3  # largest distance of a visible texel behind the surface in the z-buffer
_LEAST_COSINE = 0.2  # of the view angle, below which a texel is too foreshortened
_ALPHA_ERODE_SHARE = 0.01
_CHANNELS = 512  # OpenCV's maximum
_LEAST_ALPHA = 0.5  # below, a sample is as much background as person
LEAST_IRRADIANCE = 0.1  # lower bound of the divisor of an albedo, as share of the mean irradiance


class TexelReading(NamedTuple):
    """Hold the samples of one frame on P texels.

    Attributes:
        colours: (P, 3) uint8.
        shares: (P,) float32 in [0, 1], weights by visibility.
        normals: (P, 3), unit, outwards, camera axes.
    """

    colours: np.ndarray
    shares: np.ndarray
    normals: np.ndarray


def read_texels(
    points: Iterable[np.ndarray], images: Iterable[np.ndarray], tri: np.ndarray,
    texels: tuple[tuple, np.ndarray, np.ndarray], focal_px: float, principal: np.ndarray,
    alpha: Iterable[np.ndarray] | None = None, outwards: float | None = None,
) -> Iterator[TexelReading]:  # fmt: skip
    """Sample each frame at the texels of `mesh_texels`; arguments as of `unwrap`."""
    _, face, weights = texels
    mattes = iter(alpha) if alpha is not None else None
    for positions, image in zip(points, images, strict=True):
        positions = np.asarray(positions, np.float64)
        sign = orient_outwards(positions, tri) if outwards is None else outwards
        matte = next(mattes) if mattes is not None else None
        place, normal = _surface(positions, tri, face, weights, sign)
        height, width = image.shape[:2]
        share, pixel = _visibility(positions, tri, place, normal, focal_px, principal, (height, width))
        size = np.array([width, height])
        colours = np.round(bilinear(image, pixel / size)).astype(np.uint8)
        yield TexelReading(colours, share if matte is None else share * _matte_share(matte, pixel / size), normal)


def unwrap(
    points: Iterable[np.ndarray], images: Iterable[np.ndarray], tri: np.ndarray, uv: np.ndarray, focal_px: float,
    principal: np.ndarray, size_px: int, alpha: Iterable[np.ndarray] | None = None, outwards: float | None = None,
    lights: Iterable[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Unwrap the texture of a mesh from frames.

    Args:
        points: camera points (V, 3) in cm of each frame.
        images: (H, W, 3) uint8 RGB of each.
        tri: (F, 3).
        uv: (V, 2).
        focal_px: in pixels of the images.
        principal: (2,), in pixels of the images.
        size_px: side of the texture.
        alpha: (H, W) uint8 or float in [0, 1] of each, the person's matte.
        outwards: +1 or -1, see `normals.orient_outwards` (default: by the first frame).
        lights: (9, 3) of each frame, for the albedo (values beyond 255 are clipped).

    Returns:
        Texture (size_px, size_px, 3) uint8, and weight (size_px, size_px) float32: the mean over the frames of
        visibility times squared cosine of the view angle times alpha. It is 0 for unseen texels, which are inpainted.

    Raises:
        ValueError: there are more than MOST_FRAMES frames, which are kept in memory.
    """
    texels = mesh_texels(tri, uv, size_px)
    colours: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    lamps = iter(lights) if lights is not None else None
    for reading in read_texels(points, images, tri, texels, focal_px, principal, alpha, outwards):
        if len(colours) == MOST_FRAMES:
            raise ValueError(f"more than {MOST_FRAMES} frames; choose some of them")
        value, share = reading.colours, reading.shares
        if lamps is not None:
            irradiance = np.maximum(shading.shade(reading.normals, next(lamps)), LEAST_IRRADIANCE)
            value = np.minimum(value / irradiance + 0.5, 255.0).astype(np.uint8)
            # Division by a low irradiance amplifies the image's noise.
            share = share * irradiance.mean(axis=1).astype(np.float32) ** 2
        colours.append(value)
        shares.append(share)
    texture = np.zeros((size_px, size_px, 3), np.float32)
    weight = np.zeros((size_px, size_px), np.float32)
    if colours:
        stacked = np.stack(shares)
        texture[texels[0]] = weighted_median(np.stack(colours), stacked)
        weight[texels[0]] = stacked.mean(axis=0)
    filled = fill_holes(texture, weight > 1e-4)
    return np.clip(np.round(filled), 0, 255).astype(np.uint8), np.where(weight > 1e-4, weight, 0.0).astype(np.float32)


def mesh_texels(tri: np.ndarray, uv: np.ndarray, size_px: int) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Rasterise the mesh in UV space: rows and columns of its texels, their triangle (P,) and barycentrics (P, 3)."""
    buffer = ZBuffer((size_px, size_px), len(tri))
    buffer.draw(uv_clip(uv), np.ascontiguousarray(tri, np.int32))
    rast = buffer.rast()
    texels = np.nonzero(rast[..., 3] > 0)
    u, v = rast[texels][:, 0], rast[texels][:, 1]
    return texels, buffer.face_at[texels], np.stack([u, v, 1.0 - u - v], axis=1)


def _surface(
    points: np.ndarray, tri: np.ndarray, face: np.ndarray, weights: np.ndarray, sign: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate camera points and outward normals (P, 3) of the texels."""
    corners = tri[face]
    place = np.einsum("pk,pkc->pc", weights, points[corners])
    normal = np.einsum("pk,pkc->pc", weights, vertex_normals(points, tri)[corners]) * sign
    return place, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def _visibility(
    points: np.ndarray, tri: np.ndarray, place: np.ndarray, normal: np.ndarray, focal_px: float, principal: np.ndarray,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Compute visibility (P,) in [0, 1] and image position (P, 2) in pixels of each texel."""
    height, width = size
    # Twice the image's resolution keeps the z-buffer's grid from deciding at the outline of the nose.
    buffer = ZBuffer((2 * height, 2 * width), len(tri))
    buffer.draw(clip_positions(points, focal_px, principal, size), np.ascontiguousarray(tri, np.int32))
    depth = np.maximum(place[:, 2], 1e-6)
    pixel = place[:, :2] / depth[:, None] * focal_px + np.asarray(principal)
    column, row = np.floor(2.0 * pixel).astype(np.int64).T
    inside = (column >= 0) & (row >= 0) & (column < 2 * width) & (row < 2 * height) & (place[:, 2] > 0)
    # A visible point, moved forward by the slack, is in front of the z-buffer's surface.
    moved = place - place / np.linalg.norm(place, axis=1, keepdims=True) * _DEPTH_SLACK_CM
    clip = clip_positions(moved, focal_px, principal, size).astype(np.float64)
    seen = np.zeros(len(place), bool)
    seen[inside] = clip[inside, 2] / clip[inside, 3] <= buffer.depth[row[inside], column[inside]]
    cosine = -(normal * place).sum(axis=1) / np.linalg.norm(place, axis=1)
    return np.where(seen & (cosine > _LEAST_COSINE), cosine**2, 0.0).astype(np.float32), pixel


def _matte_share(alpha: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Sample the eroded matte at image positions uv (P, 2) in [0, 1]: (P,) in [0, 1]."""
    alpha = np.asarray(alpha)
    alpha = alpha.astype(np.float32) / 255.0 if alpha.dtype == np.uint8 else alpha.astype(np.float32)
    reach = max(1, round(_ALPHA_ERODE_SHARE * alpha.shape[0]))
    share = bilinear(cv2.erode(alpha, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))[..., None], uv)[:, 0]
    return np.where(share >= _LEAST_ALPHA, share, 0.0)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the weighted lower median (P, C) float32 of values (N, P, C), weights (N, P) >= 0; 0 without weight."""
    result = np.empty(values.shape[1:], np.float32)
    half = weights.sum(axis=0, dtype=np.float64) / 2.0
    for channel in range(values.shape[2]):
        order = np.argsort(values[..., channel], axis=0, kind="stable")
        running = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0, dtype=np.float64)
        chosen = np.argmax(running >= np.maximum(half, 1e-12), axis=0)
        place = np.take_along_axis(order, chosen[None], axis=0)
        result[:, channel] = np.take_along_axis(values[..., channel], place, axis=0)[0]
    result[half <= 0.0] = 0.0
    return result


def fill_holes(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Inpaint an image (T, T, C) float32 smoothly by push-pull (Gortler et al. 1996).

    Pixels `known` (T, T) bool stay as they are. Without any the result is middle grey.
    """
    if image.shape[2] > _CHANNELS:
        parts = np.split(image, range(_CHANNELS, image.shape[2], _CHANNELS), axis=2)
        return np.concatenate([fill_holes(part, known) for part in parts], axis=2)
    if not known.any():
        return np.full_like(image, 128.0)
    level = image.astype(np.float32) * known[..., None], known.astype(np.float32)
    pyramid = [level]
    while min(level[1].shape) > 1:
        height, width = level[1].shape
        smaller = ((width + 1) // 2, (height + 1) // 2)
        # Weights saturate, so that one known pixel fills its block.
        colour = cv2.resize(level[0], smaller, interpolation=cv2.INTER_AREA).reshape(*smaller[::-1], -1)
        weight = cv2.resize(level[1], smaller, interpolation=cv2.INTER_AREA)
        grown = np.minimum(weight * 4.0, 1.0)
        level = colour / np.maximum(weight, 1e-9)[..., None] * grown[..., None], grown
        pyramid.append(level)
    filled = pyramid[-1][0] / np.maximum(pyramid[-1][1], 1e-9)[..., None]
    for colour, weight in reversed(pyramid[:-1]):
        size = weight.shape[::-1]
        filled = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR).reshape(*weight.shape, -1)
        filled = colour + filled * (1.0 - weight[..., None])
    return filled
