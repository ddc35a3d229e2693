"""Rasterise by an exact z-buffer on the CPU (numba), with the projection of all rasterisers here.

The triangle test is the homogeneous one of Olano and Greer ("Triangle Scan Conversion using 2D Homogeneous
Coordinates", 1997): edge functions come from the clip-space corners without dividing by w, so triangles that cross
the near plane need no clipping, and the same functions give perspective-correct barycentrics.

Conventions, equal to nvdiffrast's: clip positions (x, y, z, w); a point is inside when x, y, z lie in [-w, w];
barycentrics (u, v) weigh the first and the second corner, 1-u-v the third; triangle numbers are stored plus one.
In `clip_positions` y grows downwards, so y = -w is the first row and images are top row first.
"""

import copy
from collections.abc import Sequence

import numpy as np

from selfieavatar.io.compiled import njit

NEAR_CM = 1.0
FAR_CM = 1000.0
# The smallest positive normal number: torch and others may flush denormal numbers to zero, and a threshold of zero
# would draw samples on a shared edge twice.
_SMALLEST = float(np.finfo(np.float64).tiny)


def clip_matrix(
    focal_px: float, principal: Sequence[float] | np.ndarray, size: tuple[int, int], near: float = NEAR_CM,
    far: float = FAR_CM,
) -> np.ndarray:  # fmt: skip
    """Build the projection matrix (4, 4) float64 of camera points to clip space: clip = matrix @ (X, Y, Z, 1).

    focal_px, principal (2,) [cx, cy]: pixels of an image of size (height, width); near, far: limits of Z in cm.
    """
    height, width = size
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[0, 2] = 2.0 * focal_px / width, 2.0 * float(principal[0]) / width - 1.0
    matrix[1, 1], matrix[1, 2] = 2.0 * focal_px / height, 2.0 * float(principal[1]) / height - 1.0
    matrix[2, 2], matrix[2, 3] = (far + near) / (far - near), -2.0 * far * near / (far - near)
    matrix[3, 2] = 1.0
    return matrix


def uv_clip(uv: np.ndarray) -> np.ndarray:
    """Return clip positions (V, 4) float32 that draw a mesh into its own UV (V, 2) square, v = 0 in the first row."""
    uv = np.asarray(uv, np.float32)
    return np.concatenate([uv * 2.0 - 1.0, np.zeros_like(uv[:, :1]), np.ones_like(uv[:, :1])], axis=1)


def clip_positions(
    points: np.ndarray, focal_px: float, principal: Sequence[float] | np.ndarray, size: tuple[int, int],
    near: float = NEAR_CM, far: float = FAR_CM,
) -> np.ndarray:  # fmt: skip
    """Project camera points (..., V, 3) in cm to clip positions (..., V, 4) float32; see `clip_matrix`."""
    matrix = clip_matrix(focal_px, principal, size, near, far)
    points = np.asarray(points, np.float64)
    return (points @ matrix[:, :3].T + matrix[:, 3]).astype(np.float32)


@njit()
def edge_functions(clip, tri, height, width, edges, planes, boxes):
    """Set up the edge functions of each triangle.

    clip (V, 4) and tri (F, 3) in; out: edges (F, 3, 3) coefficients a, b, c of the three functions a*x + b*y + c in
    pixels, positive inside for either orientation; planes (F, 3) of z/w; boxes (F, 4) float64 x0, y0, x1, y1 in pixels,
    empty (x0 > x1) for triangles that are degenerate, not finite or behind the camera.
    """
    corner = np.empty((3, 3))
    for face in range(tri.shape[0]):
        boxes[face, 0] = boxes[face, 1] = np.inf
        boxes[face, 2] = boxes[face, 3] = -np.inf
        behind = 0
        x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
        for k in range(3):
            vertex = tri[face, k]
            w = np.float64(clip[vertex, 3])
            corner[k, 0] = 0.5 * (np.float64(clip[vertex, 0]) + w) * width
            corner[k, 1] = 0.5 * (np.float64(clip[vertex, 1]) + w) * height
            corner[k, 2] = w
            if w > 0.0:
                x0, x1 = min(x0, corner[k, 0] / w), max(x1, corner[k, 0] / w)
                y0, y1 = min(y0, corner[k, 1] / w), max(y1, corner[k, 1] / w)
            else:
                behind += 1
        if behind == 3:
            continue
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            # Exactly the negative of the neighbour's function across this edge: no cracks, no overlap.
            edges[face, k, 0] = corner[i, 1] * corner[j, 2] - corner[i, 2] * corner[j, 1]
            edges[face, k, 1] = corner[i, 2] * corner[j, 0] - corner[i, 0] * corner[j, 2]
            edges[face, k, 2] = corner[i, 0] * corner[j, 1] - corner[i, 1] * corner[j, 0]
        det = edges[face, 0, 0] * corner[0, 0] + edges[face, 0, 1] * corner[0, 1] + edges[face, 0, 2] * corner[0, 2]
        if not (abs(det) > 1e-30 and abs(det) < 1e300):
            continue
        sign = 1.0 if det > 0.0 else -1.0
        for c in range(3):
            plane = 0.0
            for k in range(3):
                # The sign alone is applied: a division by det would break the exact antisymmetry of shared edges.
                edges[face, k, c] *= sign
                plane += edges[face, k, c] * clip[tri[face, k], 2]
            planes[face, c] = plane / abs(det)
        if behind > 0:
            x0, y0, x1, y1 = 0.0, 0.0, float(width), float(height)
        boxes[face, 0], boxes[face, 1], boxes[face, 2], boxes[face, 3] = x0, y0, x1, y1


@njit()
def _least(a, b):
    """Apply the fill rule: the least value of an edge function inside, 0 for the triangle that owns the edge.

    So a sample on a shared edge belongs to one triangle, as if it were shifted by (eps, eps**2).
    """
    return 0.0 if a > 0.0 or (a == 0.0 and b > 0.0) else _SMALLEST


@njit()
def _sample_range(low, high, samples, count):
    """Find the first and one past the last sample, of `count` on an axis, whose centre is in [low, high] pixels."""
    first = np.int64(np.ceil(min(max(low * samples - 0.5, 0.0), count)))
    return first, np.int64(np.floor(min(max(high * samples - 0.5, -1.0), count - 1.0))) + 1


@njit()
def fill(edges, planes, boxes, samples, extent, face_at, depth):
    """Fill the z-buffer with samples x samples points a pixel.

    face_at (H*s, W*s) int32: number of the nearest triangle or -1; depth (H*s, W*s) float64: its z/w; extent (4,)
    int64, x0, y0, x1, y1 in samples: the filled part of the buffers, before and after.
    """
    face_at[extent[1] : extent[3], extent[0] : extent[2]] = -1
    depth[extent[1] : extent[3], extent[0] : extent[2]] = np.inf
    rows, columns = face_at.shape
    extent[0], extent[1], extent[2], extent[3] = columns, rows, 0, 0
    step = 1.0 / samples
    for face in range(edges.shape[0]):
        left, right = _sample_range(boxes[face, 0], boxes[face, 2], samples, columns)
        top, bottom = _sample_range(boxes[face, 1], boxes[face, 3], samples, rows)
        if left >= right or top >= bottom:
            continue
        extent[0], extent[1] = min(extent[0], left), min(extent[1], top)
        extent[2], extent[3] = max(extent[2], right), max(extent[3], bottom)
        a0, b0, c0 = edges[face, 0, 0], edges[face, 0, 1], edges[face, 0, 2]
        a1, b1, c1 = edges[face, 1, 0], edges[face, 1, 1], edges[face, 1, 2]
        a2, b2, c2 = edges[face, 2, 0], edges[face, 2, 1], edges[face, 2, 2]
        az, bz, cz = planes[face, 0], planes[face, 1], planes[face, 2]
        least0, least1, least2 = _least(a0, b0), _least(a1, b1), _least(a2, b2)
        for row in range(top, bottom):
            y = (row + 0.5) * step
            r0, r1, r2, rz = b0 * y + c0, b1 * y + c1, b2 * y + c2, bz * y + cz
            depth_row, face_row = depth[row], face_at[row]
            # One test without branches and unsigned columns, which LLVM vectorises.
            for column in range(np.uint64(left), np.uint64(right)):
                x = (np.float64(column) + 0.5) * step
                z = az * x + rz
                inside = (a0 * x + r0 >= least0) & (a1 * x + r1 >= least1) & (a2 * x + r2 >= least2)
                if inside & (z < depth_row[column]) & (z >= -1.0) & (z <= 1.0):
                    depth_row[column] = z
                    face_row[column] = face
    if extent[0] > extent[2]:
        extent[:] = 0


@njit()
def barycentrics(edges, face, x, y):
    """Compute perspective-correct weights of a triangle's first and second corner at the point (x, y) in pixels."""
    e0 = edges[face, 0, 0] * x + (edges[face, 0, 1] * y + edges[face, 0, 2])
    e1 = edges[face, 1, 0] * x + (edges[face, 1, 1] * y + edges[face, 1, 2])
    e2 = edges[face, 2, 0] * x + (edges[face, 2, 1] * y + edges[face, 2, 2])
    total = e0 + e1 + e2
    return e0 / total, e1 / total


@njit()
def _resolve(edges, samples, face_at, depth, rast):
    for row in range(face_at.shape[0]):
        for column in range(face_at.shape[1]):
            face = face_at[row, column]
            if face < 0:
                rast[row, column, :] = 0.0
                continue
            u, v = barycentrics(edges, face, (column + 0.5) / samples, (row + 0.5) / samples)
            rast[row, column, 0] = u
            rast[row, column, 1] = v
            rast[row, column, 2] = depth[row, column]
            rast[row, column, 3] = face + 1


class ZBuffer:
    """Hold the buffers for one image size and one number of triangles, to be reused from frame to frame.

    After `draw`: `face_at` (H*s, W*s) int32, `depth` (H*s, W*s) float64 z/w (inf where empty), `edges` (F, 3, 3) as
    functions of pixels; s: samples per pixel and axis. One object serves one thread at a time.
    """

    def __init__(self, size: tuple[int, int], faces: int, samples: int = 1) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.edges = np.zeros((faces, 3, 3))
        self.planes = np.zeros((faces, 3))
        self.boxes = np.zeros((faces, 4))
        self._empty(samples)

    def _empty(self, samples: int) -> None:
        self.samples = int(samples)
        height, width = (side * self.samples for side in self.size)
        self.face_at = np.full((height, width), -1, np.int32)
        self.depth = np.full((height, width), np.inf)
        self.extent = np.zeros(4, np.int64)

    def finer(self, samples: int) -> "ZBuffer":
        """Make a buffer of more samples that shares this one's triangles: fill it after each `draw` of this one."""
        other = copy.copy(self)
        other._empty(samples)
        return other

    def draw(self, clip: np.ndarray, tri: np.ndarray) -> None:
        """Rasterise triangles tri (F, 3) int32 of clip positions (V, 4)."""
        edge_functions(clip, tri, self.size[0], self.size[1], self.edges, self.planes, self.boxes)
        self.fill()

    def fill(self) -> None:
        """Rasterise the triangles of the last `draw`."""
        fill(self.edges, self.planes, self.boxes, self.samples, self.extent, self.face_at, self.depth)

    def rast(self) -> np.ndarray:
        """Resolve to nvdiffrast's rast (H, W, 4) float32: u, v, z/w and triangle number plus one."""
        image = np.empty((*self.face_at.shape, 4), np.float32)
        _resolve(self.edges, self.samples, self.face_at, self.depth, image)
        return image


def rasterize(clip: np.ndarray, tri: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Rasterise clip positions (V, 4) or (B, V, 4), triangles (F, 3) to rast (H, W, 4) or (B, H, W, 4) float32.

    Channels: u, v, z/w, triangle number plus one; all zero where empty. size: (height, width) in pixels.

    Raises:
        ValueError: a triangle has the number of a missing vertex.
    """
    clip = np.ascontiguousarray(clip)
    tri = np.ascontiguousarray(tri, np.int32)
    if tri.size and (tri.min() < 0 or tri.max() >= clip.shape[-2]):
        raise ValueError(f"triangles name vertices {tri.min()}..{tri.max()}, but there are {clip.shape[-2]}")
    buffer = ZBuffer(size, len(tri))
    images = []
    for positions in clip.reshape(-1, *clip.shape[-2:]):
        buffer.draw(positions, tri)
        images.append(buffer.rast())
    return np.stack(images) if clip.ndim == 3 else images[0]


def interpolate(attributes: np.ndarray, rast: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Interpolate vertex attributes (V, A) to the pixels of rast (H, W, 4): (H, W, A) float32, 0 where empty."""
    attributes = np.asarray(attributes, np.float32)
    face = rast[..., 3].astype(np.int64) - 1
    hit = face >= 0
    corners = attributes[tri[face[hit]]]
    weights = np.stack([rast[hit, 0], rast[hit, 1], 1.0 - rast[hit, 0] - rast[hit, 1]], axis=1)
    image = np.zeros((*face.shape, attributes.shape[1]), np.float32)
    image[hit] = np.einsum("pk,pka->pa", weights, corners)
    return image


def bilinear(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Sample a texture (T, U, C) bilinearly at uv (..., 2) in [0, 1], border repeated: (..., C) float32."""
    texture = np.asarray(texture)
    rows, columns = texture.shape[:2]
    x = np.clip(np.asarray(uv[..., 0], np.float32) * columns - 0.5, 0.0, columns - 1.0)
    y = np.clip(np.asarray(uv[..., 1], np.float32) * rows - 0.5, 0.0, rows - 1.0)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = texture[top, left] * (1 - fx) + texture[top, right] * fx
    lower = texture[bottom, left] * (1 - fx) + texture[bottom, right] * fx
    return (upper * (1 - fy) + lower * fy).astype(np.float32)
