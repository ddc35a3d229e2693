"""Rasterise differentiably in plain torch over the numba z-buffer: nvdiffrast's operations on the CPU.

The z-buffer gives the triangle of each pixel; the rest is torch arithmetic on the covered pixels, so gradients reach
attributes, positions and textures by autograd. Float64 tensors are computed in float64, for finite-difference tests.
"""

from typing import NamedTuple

import numpy as np
import torch

from selfieavatar.rendering import raster_cpu


def rasterize(positions: torch.Tensor, tri: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Rasterise clip positions (B, V, 4), triangles (F, 3) to rast (B, H, W, 4) of u, v, z/w, number plus one.

    size: (height, width). u, v and z/w are differentiable in the positions; visibility is made so by `antialias`.
    """
    height, width = size
    tri_array = np.ascontiguousarray(tri.detach().cpu().numpy(), np.int32)
    buffer = raster_cpu.ZBuffer(size, len(tri_array))
    faces = []
    for clip in positions.detach().cpu().numpy():
        buffer.draw(np.ascontiguousarray(clip), tri_array)
        faces.append(torch.from_numpy(buffer.face_at.astype(np.int64)))
    face = torch.stack(faces).to(positions.device)
    batch, row, column = torch.nonzero(face >= 0, as_tuple=True)
    seen = face[batch, row, column]
    corners = positions[batch[:, None], tri.long()[seen]]
    x = (2.0 * column.to(positions.dtype) + 1.0) / width - 1.0
    y = (2.0 * row.to(positions.dtype) + 1.0) / height - 1.0
    weights = _weights(corners, x, y)
    depth = (weights * corners[..., 2]).sum(1) / (weights * corners[..., 3]).sum(1)
    values = torch.stack([weights[:, 0], weights[:, 1], depth, (seen + 1).to(positions.dtype)], dim=1)
    empty = torch.zeros(*face.shape, 4, dtype=positions.dtype, device=positions.device)
    return empty.index_put((batch, row, column), values)


def _weights(corners: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Compute perspective-correct barycentrics (P, 3) of corners (P, 3, 4) at normalised x, y (P,)."""
    flat = torch.stack(
        [corners[..., 0] - x[:, None] * corners[..., 3], corners[..., 1] - y[:, None] * corners[..., 3]], dim=-1
    )
    # With the pixel moved to the origin a homogeneous edge function is a 2D cross product.
    following, last = flat.roll(-1, dims=1), flat.roll(-2, dims=1)
    areas = following[..., 0] * last[..., 1] - following[..., 1] * last[..., 0]
    return areas / areas.sum(dim=1, keepdim=True)


def interpolate(attributes: torch.Tensor, rast: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
    """Interpolate vertex attributes (B or 1, V, A) to pixels (B, H, W, A), zero where rast is empty."""
    batch, row, column = torch.nonzero(rast[..., 3] > 0, as_tuple=True)
    hit = rast[batch, row, column]
    face = hit[:, 3].detach().round().long() - 1
    source = batch if len(attributes) == len(rast) else torch.zeros_like(batch)
    corners = attributes[source[:, None], tri.long()[face]]
    weights = torch.stack([hit[:, 0], hit[:, 1], 1.0 - hit[:, 0] - hit[:, 1]], dim=1)
    values = (weights[..., None] * corners).sum(dim=1)
    empty = torch.zeros(*rast.shape[:3], attributes.shape[-1], dtype=values.dtype, device=values.device)
    return empty.index_put((batch, row, column), values)


def opposite_vertices(tri: np.ndarray) -> np.ndarray:
    """Find the neighbour's opposite vertex across each edge of each triangle (edge k is opposite corner k): (F, 3).

    -1 where the edge has no neighbour, or more than one (it then counts as a border, as in nvdiffrast).
    """
    tri = np.asarray(tri, np.int64)
    ends = np.sort(np.stack([tri[:, [1, 2]], tri[:, [2, 0]], tri[:, [0, 1]]], axis=1).reshape(-1, 2), axis=1)
    _, edge, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    edge = edge.reshape(-1)
    total = np.zeros(len(count), np.int64)
    np.add.at(total, edge, tri.reshape(-1))
    other = np.where(count[edge] == 2, total[edge] - tri.reshape(-1), -1)
    return other.reshape(-1, 3)


class _Pairs(NamedTuple):
    """Hold neighbouring pixels that show different triangles; the near one's triangle is in front."""

    batch: torch.Tensor
    near_row: torch.Tensor
    near_column: torch.Tensor
    far_row: torch.Tensor
    far_column: torch.Tensor


def _pairs(rast: torch.Tensor) -> _Pairs:
    number, depth = rast[..., 3].detach(), rast[..., 2].detach()
    depth = torch.where(number > 0, depth, torch.full_like(depth, torch.inf))
    parts = []
    for down, right in ((0, 1), (1, 0)):
        height, width = number.shape[1] - down, number.shape[2] - right
        first, second = number[:, :height, :width], number[:, down:, right:]
        batch, row, column = torch.nonzero(first != second, as_tuple=True)
        swap = depth[batch, row, column] > depth[batch, row + down, column + right]
        step_row, step_column = down * swap, right * swap
        near = row + step_row, column + step_column
        parts.append((batch, *near, row + down - step_row, column + right - step_column))
    return _Pairs(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _crossings(
    corners: torch.Tensor, opposite: torch.Tensor, has_opposite: torch.Tensor, start: torch.Tensor, step: torch.Tensor
) -> torch.Tensor:
    """Intersect silhouette edges of the near triangle with the segment from its pixel's centre to the neighbour's.

    corners, opposite (P, 3, 2): pixels; start, step (P, 2): near centre and the unit step to the far one. Returns
    (P, 3): position in [0, 1] along the segment, NaN where there is none.
    """
    first, second = corners.roll(-1, dims=1), corners.roll(-2, dims=1)
    along = second - first

    def side(point: torch.Tensor) -> torch.Tensor:
        return along[..., 0] * (point[..., 1] - first[..., 1]) - along[..., 1] * (point[..., 0] - first[..., 0])

    # A silhouette: no neighbour, or one that folds over to the same side of the edge.
    folded = side(corners).detach() * side(opposite).detach() >= 0.0
    silhouette = ~has_opposite | folded
    at_start, at_end = side(start[:, None]), side((start + step)[:, None])
    change = at_start - at_end
    position = at_start / torch.where(change.abs() > 1e-12, change, torch.ones_like(change))
    # nvdiffrast uses only edges across the segment (more vertical ones for horizontal pairs).
    parallel = (along * step[:, None]).sum(-1)
    across = 2.0 * parallel**2 <= (along**2).sum(-1)
    valid = silhouette & across & (change.abs() > 1e-12) & (position >= 0.0) & (position <= 1.0)
    return torch.where(valid, position, torch.full_like(position, torch.nan))


def antialias(colour: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
    """Antialias colour (B, H, W, C) by analytic coverage along silhouettes, with gradients to colour and positions.

    The front triangle's silhouette edge divides the segment between the centres of two pixels. Beyond its half the
    front colour blends into the far pixel; before it, the far colour into the front pixel (Laine et al. 2020, 3.5).
    """
    height, width = rast.shape[1:3]
    pairs = _pairs(rast)
    face = rast[pairs.batch, pairs.near_row, pairs.near_column, 3].detach().round().long() - 1
    scale = torch.tensor([width / 2.0, height / 2.0], dtype=positions.dtype, device=positions.device)
    pixels = (positions[..., :2] / positions[..., 3:] + 1.0) * scale
    neighbours = torch.from_numpy(opposite_vertices(tri.detach().cpu().numpy())).to(positions.device)[face]
    corners = pixels[pairs.batch[:, None], tri.long()[face]]
    opposite = pixels[pairs.batch[:, None], neighbours.clamp(min=0)]
    start = torch.stack([pairs.near_column, pairs.near_row], dim=1).to(positions.dtype) + 0.5
    step = torch.stack([pairs.far_column - pairs.near_column, pairs.far_row - pairs.near_row], dim=1)
    position = _crossings(corners, opposite, neighbours >= 0, start, step.to(positions.dtype))
    found = ~position.isnan().all(dim=1) & (face >= 0)
    pairs = _Pairs(*(values[found] for values in pairs))
    position = position[found]
    # The silhouette nearest to the near pixel's centre.
    nearest = torch.where(position.isnan(), torch.full_like(position, 2.0), position).detach().argmin(dim=1)
    share = position.gather(1, nearest[:, None]) - 0.5
    near = colour[pairs.batch, pairs.near_row, pairs.near_column]
    far = colour[pairs.batch, pairs.far_row, pairs.far_column]
    outwards, inwards = share.clamp(min=0.0) * (near - far), (-share).clamp(min=0.0) * (far - near)
    blended = colour.index_put((pairs.batch, pairs.far_row, pairs.far_column), outwards, accumulate=True)
    return blended.index_put((pairs.batch, pairs.near_row, pairs.near_column), inwards, accumulate=True)
