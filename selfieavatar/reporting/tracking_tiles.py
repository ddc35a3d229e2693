"""Draw the tiles of the tracking videos: what the fit says about a frame.

Images are RGB uint8 (S, S, 3); points are in continuous pixel coordinates. Nothing is changed in place.
"""

import cv2
import numpy as np

from selfieavatar.geometry.normals import vertex_normals
from selfieavatar.rendering.raster_cpu import clip_positions, interpolate, rasterize
from selfieavatar.reporting import annotate

_DIM = 0.35  # of the frame behind the drawings


def facing_triangles(points: np.ndarray, tri: np.ndarray, outward: float) -> np.ndarray:
    """Select the triangles of tri (F, 3) that face the camera; points (V, 3) in camera space, see `orient_outwards`."""
    a, b, c = (points[tri[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    return tri[outward * np.einsum("ij,ij->i", normal, a) < 0]


def normal_image(
    image: np.ndarray, points: np.ndarray, tri: np.ndarray, outward: float, focal_px: float, principal: np.ndarray
) -> np.ndarray:
    """Draw the mesh, coloured by its normals, over the dimmed image: red right, green up, blue towards the camera.

    points (V, 3) in camera space, cm; focal_px and principal (2,) in pixels of the image; see `orient_outwards`.
    """
    size = image.shape[0], image.shape[1]
    rast = rasterize(clip_positions(points, focal_px, principal, size), tri, size)
    normals = interpolate(vertex_normals(points, tri) * np.float32(outward), rast, tri)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    colours = np.rint((normals * [1, -1, -1] + 1) * 127.5).astype(np.uint8)
    return np.where(rast[..., 3:] > 0, colours, _dimmed(image))


def uv_checkerboard(image: np.ndarray, uv: np.ndarray, squares: int = 12) -> np.ndarray:
    """Draw a checkerboard on the face's texture over the dimmed image; uv (S, S, 3) is I_UV, 16 bit.

    It slides where the fit slides on the skin, and breaks where the texture coordinates do.
    """
    u, v = (uv[..., k].astype(np.int64) * squares // 65536 for k in range(2))
    board = np.where(((u + v) % 2 == 1)[..., None], (240, 240, 240), (30, 90, 200))
    drawn = (0.6 * board + 0.4 * image).astype(np.uint8)
    return np.where(uv[..., 2:] > 0, drawn, _dimmed(image))


def gaze_arrows(image: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Draw an arrow for each eye from starts (2, 2) to ends (2, 2)."""
    thickness = max(1, image.shape[0] // 250)
    return annotate.arrows(image, starts, ends, thickness=thickness)


def mask_outline(image: np.ndarray, alpha: np.ndarray, thickness: int) -> np.ndarray:
    """Draw the edge of alpha, but not where the person is merely cut off by the image's border."""
    pad = 2 + thickness
    wide = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    wide_alpha = cv2.copyMakeBorder(alpha, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    return annotate.alpha_edge(wide, wide_alpha, thickness=thickness)[pad:-pad, pad:-pad]


def on_checkerboard(frame: np.ndarray, alpha: np.ndarray, squares: int = 16) -> np.ndarray:
    """Blend a frame (S, S, 3) over a grey checkerboard by alpha (S, S) uint8."""
    size = frame.shape[0]
    odd = np.arange(size) * squares // size % 2
    board = np.where(odd[:, None] ^ odd[None], 200, 150)[..., None]
    weight = alpha[..., None].astype(np.float32) / 255.0
    return np.rint(frame * weight + board * (1.0 - weight)).astype(np.uint8)


def _dimmed(image: np.ndarray) -> np.ndarray:
    return (image * np.float32(_DIM)).astype(np.uint8)
