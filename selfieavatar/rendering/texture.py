"""The subject's texture, read off the frames: every texel asks the images in which it is seen, and takes the median.

The median over frames, weighted by how squarely and how surely a texel is seen, ignores passing shadows, highlights and
tracking slips that a mean would smear in. Given the light of each frame (`fitting.lighting`) the readings are
divided by the irradiance first, and the texture is the albedo; without it the light of the footage stays in.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from selfieavatar.geometry.normals import orient_outwards, vertex_normals
from selfieavatar.rendering import shading
from selfieavatar.rendering.raster_cpu import ZBuffer, bilinear, clip_positions, uv_clip

MOST_FRAMES = 64
# A texel counts as seen when it is at most this much (cm) behind the surface that the z-buffer shows.
_DEPTH_SLACK_CM = 0.3
# Cosine of the view angle below which a texel is too foreshortened to be read.
_LEAST_COSINE = 0.2
_ALPHA_ERODE_SHARE = 0.01
_CHANNELS = 512  # that OpenCV takes at a time
# Below this matte a reading is as much background as person.
_LEAST_ALPHA = 0.5
# An albedo is never read off a surface that gets less than this share of the mean irradiance.
LEAST_IRRADIANCE = 0.1


class TexelReading(NamedTuple):
    """What one frame shows on P texels: colours (P, 3) uint8; shares (P,) float32 in [0, 1], how well each is seen;
    normals (P, 3), unit, outwards, camera axes."""

    colours: np.ndarray
    shares: np.ndarray
    normals: np.ndarray


def read_texels(
    points: Iterable[np.ndarray],
    images: Iterable[np.ndarray],
    tri: np.ndarray,
    texels: tuple[tuple, np.ndarray, np.ndarray],
    focal_px: float,
    principal: np.ndarray,
    alpha: Iterable[np.ndarray] | None = None,
    outwards: float | None = None,
) -> Iterator[TexelReading]:
    """One frame after the other, looked up at the places of `mesh_texels`; arguments as of `unwrap`."""
    _, face, weights = texels
    mattes = iter(alpha) if alpha is not None else None
    for positions, image in zip(points, images, strict=True):
        positions = np.asarray(positions, np.float64)
        sign = orient_outwards(positions, tri) if outwards is None else outwards
        matte = next(mattes) if mattes is not None else None
        place, normal = _surface(positions, tri, face, weights, sign)
        share, pixel = _visibility(positions, tri, place, normal, focal_px, principal, (image.shape[0], image.shape[1]))
        size = np.array([image.shape[1], image.shape[0]])
        colours = np.round(bilinear(image, pixel / size)).astype(np.uint8)
        yield TexelReading(colours, share if matte is None else share * _matte_share(matte, pixel / size), normal)


def unwrap(
    points: Iterable[np.ndarray],
    images: Iterable[np.ndarray],
    tri: np.ndarray,
    uv: np.ndarray,
    focal_px: float,
    principal: np.ndarray,
    size_px: int,
    alpha: Iterable[np.ndarray] | None = None,
    outwards: float | None = None,
    lights: Iterable[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Texture (size_px, size_px, 3) uint8 and weight (size_px, size_px) float32 of a mesh seen in some frames.

    points: camera points (V, 3) in cm of each frame (at most MOST_FRAMES are kept in memory: further ones raise
    ValueError); images: (H, W, 3) uint8 RGB of each; tri (F, 3), uv (V, 2); focal_px, principal (2,): the camera in
    pixels of the images; alpha: (H, W) uint8 or float in [0, 1] of each, to leave out what lies off the person;
    outwards: +1 or -1, see `normals.orient_outwards` (default: found from the first frame); lights: (9, 3) of each
    frame, to get the albedo (values beyond 255 are cut).
    The weight is the mean over the frames of visibility times squared cosine of the view angle times alpha; it is 0 for
    texels never seen, whose colour is grown smoothly from their neighbourhood.
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
            # In the shade the same noise of the image is a larger one of the albedo.
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
    """Rows and columns of the texels on the mesh, their triangle (P,) and barycentrics (P, 3)."""
    buffer = ZBuffer((size_px, size_px), len(tri))
    buffer.draw(uv_clip(uv), np.ascontiguousarray(tri, np.int32))
    rast = buffer.rast()
    texels = np.nonzero(rast[..., 3] > 0)
    u, v = rast[texels][:, 0], rast[texels][:, 1]
    return texels, buffer.face_at[texels], np.stack([u, v, 1.0 - u - v], axis=1)


def _surface(
    points: np.ndarray, tri: np.ndarray, face: np.ndarray, weights: np.ndarray, sign: float
) -> tuple[np.ndarray, np.ndarray]:
    """Camera points and outward normals (P, 3) of the texels."""
    corners = tri[face]
    place = np.einsum("pk,pkc->pc", weights, points[corners])
    normal = np.einsum("pk,pkc->pc", weights, vertex_normals(points, tri)[corners]) * sign
    return place, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def _visibility(
    points: np.ndarray,
    tri: np.ndarray,
    place: np.ndarray,
    normal: np.ndarray,
    focal_px: float,
    principal: np.ndarray,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """How well each texel is seen, (P,) in [0, 1], and where in the image, (P, 2) pixels."""
    height, width = size
    # Twice the image's resolution: the z-buffer's own grid must not decide at the outline of the nose.
    buffer = ZBuffer((2 * height, 2 * width), len(tri))
    buffer.draw(clip_positions(points, focal_px, principal, size), np.ascontiguousarray(tri, np.int32))
    depth = np.maximum(place[:, 2], 1e-6)
    pixel = place[:, :2] / depth[:, None] * focal_px + np.asarray(principal)
    column, row = np.floor(2.0 * pixel).astype(np.int64).T
    inside = (column >= 0) & (row >= 0) & (column < 2 * width) & (row < 2 * height) & (place[:, 2] > 0)
    # The front surface in cm, from z/w by the same mapping: a point moved forward by the slack must not be hidden.
    moved = place - place / np.linalg.norm(place, axis=1, keepdims=True) * _DEPTH_SLACK_CM
    clip = clip_positions(moved, focal_px, principal, size).astype(np.float64)
    seen = np.zeros(len(place), bool)
    seen[inside] = clip[inside, 2] / clip[inside, 3] <= buffer.depth[row[inside], column[inside]]
    cosine = -(normal * place).sum(axis=1) / np.linalg.norm(place, axis=1)
    return np.where(seen & (cosine > _LEAST_COSINE), cosine**2, 0.0).astype(np.float32), pixel


def _matte_share(alpha: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Alpha (P,) in [0, 1] at the image places uv (P, 2) in [0, 1], drawn in a little from the person's edge."""
    alpha = np.asarray(alpha)
    alpha = alpha.astype(np.float32) / 255.0 if alpha.dtype == np.uint8 else alpha.astype(np.float32)
    reach = max(1, round(_ALPHA_ERODE_SHARE * alpha.shape[0]))
    share = bilinear(cv2.erode(alpha, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))[..., None], uv)[:, 0]
    return np.where(share >= _LEAST_ALPHA, share, 0.0)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted lower median over the first axis: values (N, P, C), weights (N, P) >= 0 -> (P, C) float32.

    0 where all weights are 0. Zero-weight entries never matter.
    """
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
    """Push-pull filling (Gortler et al. 1996): image (T, T, C) float32 with the unknown pixels grown smoothly.

    known (T, T) bool; known pixels stay as they are. An image without any known pixel comes back middle grey.
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
        # Sums of colour times weight and of weight shrink alike; weights saturate so that one seed fills its block.
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
