"""Lay a disc-shaped mesh out in UV without flipped triangles, by Tutte's embedding.

Its spring weights correct the areas.

Tutte (1963), Floater (1997): with positive weights and a convex border every triangle of the solution keeps its
orientation, so the area correction may change the weights freely as long as they stay positive.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

_LOW, _HIGH = 0.02, 0.98
RIM_GAIN = 1.5  # each of two rings of triangles around eyes and mouth gets this many times its area
_SUPERELLIPSE = 2.8  # exponent of the border: 2 is a circle, larger fills the corners; strictly convex


def border_loop(tri: np.ndarray) -> np.ndarray:
    """Trace the one border of a mesh: its vertices, in the direction in which its triangles run along it.

    Raises:
        ValueError: the mesh has no border or more than one.
    """
    directed = {(int(t[i]), int(t[(i + 1) % 3])) for t in tri for i in range(3)}
    following = {a: b for a, b in directed if (b, a) not in directed}
    if not following:
        raise ValueError("the mesh is closed: it has no border to lay out")
    start = min(following)
    loop, at = [start], following[start]
    while at != start:
        loop.append(at)
        at = following[at]
    if len(loop) != len(following):
        raise ValueError("the mesh has more than one border: fill its openings first")
    return np.array(loop, np.int32)


def signed_areas(uv: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Compute the signed area of each UV triangle (F,); positive where it runs clockwise on an image with v down."""
    a, b, c = (uv[tri[:, i]] for i in range(3))
    return 0.5 * ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))


def surface_areas(vertices: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Compute the area of each triangle in space (F,)."""
    a, b, c = (vertices[tri[:, i]] for i in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def _border_places(vertices: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """Place the border (B, 2) on a superellipse: by the direction from the middle, evened out by arc length."""
    flat = vertices[loop, :2] - (vertices[loop, :2].min(0) + vertices[loop, :2].max(0)) / 2
    length = np.linalg.norm(np.roll(flat, -1, 0) - flat, axis=1)
    share = np.concatenate([[0], np.cumsum(length)[:-1]]) / length.sum()
    turn = np.sign(np.sum(flat[:, 0] * np.roll(flat[:, 1], -1) - flat[:, 1] * np.roll(flat[:, 0], -1)))
    # The topmost vertex stays at the top.
    top = int(np.argmin(flat[:, 1]))
    angle = -np.pi / 2 + turn * 2 * np.pi * (share - share[top])
    dense = np.linspace(0, 2 * np.pi, 4001)
    cosine, sine = np.cos(dense), np.sin(dense)
    power = 2 / _SUPERELLIPSE
    curve = np.stack([np.sign(cosine) * np.abs(cosine) ** power, np.sign(sine) * np.abs(sine) ** power], 1)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = (angle % (2 * np.pi)) / (2 * np.pi) * arc[-1]
    places = np.stack([np.interp(at, arc, curve[:, i]) for i in range(2)], 1)
    low, high = places.min(0), places.max(0)
    return _LOW + (places - low) / (high - low) * (_HIGH - _LOW)


def target_areas(
    vertices: np.ndarray, tri: np.ndarray, part: np.ndarray, eye_share: float, mouth_share: float
) -> np.ndarray:
    """Wish an area for each triangle (F,), sum 1: the surface's own, but fixed shares for eyes and inner mouth.

    A closed mouth has no area in the template, yet teeth and tongue need texels.
    """
    area = surface_areas(vertices, tri)
    area = np.maximum(area, 0.1 * np.median(area[part == 0]))
    # Lids and lips are small but carry the expression: triangles around the openings get more texels, in two rings.
    inside = np.unique(tri[part > 0])
    near = np.isin(tri, inside).any(1) & (part == 0)
    wider = np.isin(tri, np.unique(tri[near])).any(1) & (part == 0)
    area = np.where(wider, area * RIM_GAIN, area) * np.where(near, RIM_GAIN, 1.0)
    wanted = area / area[part == 0].sum()
    shares = {1: 2 * eye_share, 2: mouth_share}
    for which, share in shares.items():
        inside = part == which
        if inside.any():
            wanted[inside] = share * (0.5 * area[inside] / area[inside].sum() + 0.5 / inside.sum())
    wanted[part == 0] *= 1 - sum(share for which, share in shares.items() if (part == which).any())
    return wanted


def layout(
    vertices: np.ndarray,
    tri: np.ndarray,
    part: np.ndarray,
    eye_share: float = 0.035,
    mouth_share: float = 0.06,
    rounds: int = 60,
) -> np.ndarray:
    """Lay a disc-shaped mesh out in UV.

    Args:
        vertices: (V, 3) template. tri: (F, 3). part: (F,) 0 skin, 1 eye opening, 2 mouth opening.
        eye_share: share of the face's texels that each eye opening gets; mouth_share: the inner mouth.
        rounds: area corrections.

    Returns:
        (V, 2) float32 in [0.02, 0.98], u right, v down, all triangles of one orientation.
    """
    loop = border_loop(tri)
    count = len(vertices)
    fixed = np.zeros(count, bool)
    fixed[loop] = True
    uv = np.zeros((count, 2))
    uv[loop] = _border_places(np.asarray(vertices, float), loop)
    wanted = target_areas(np.asarray(vertices, float), tri, part, eye_share, mouth_share)
    edges = np.sort(np.concatenate([tri[:, [0, 1]], tri[:, [1, 2]], tri[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(tri)), 3)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    stiffness = np.ones(len(unique))
    touching = np.bincount(inverse, minlength=len(unique))
    best, best_error = uv, np.inf
    for _ in range(rounds):
        uv = _embed(uv, unique, stiffness, fixed)
        have = np.abs(signed_areas(uv, tri))
        ratio = np.log(have / have.sum() / wanted)
        error = float(np.abs(ratio).mean())
        if error < best_error:
            best, best_error = uv.copy(), error
        # Springs around too large triangles get stiffer, around too small ones softer.
        change = np.bincount(inverse, np.clip(ratio, -2, 2)[owner], minlength=len(unique)) / touching
        stiffness = np.clip(stiffness * np.exp(0.5 * change), 1e-3, 1e3)
        stiffness /= np.exp(np.log(stiffness).mean())
    return best.astype(np.float32)


def _embed(uv: np.ndarray, edges: np.ndarray, stiffness: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Solve Tutte's embedding: places of the free vertices at which all springs balance."""
    count = len(uv)
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    both = np.concatenate([stiffness, stiffness])
    matrix = coo_matrix((-both, (rows, columns)), shape=(count, count)).tocsr()
    degree = np.bincount(rows, both, minlength=count)
    free = ~fixed
    inner = matrix[free][:, free] + coo_matrix((degree[free], (np.arange(free.sum()),) * 2)).tocsr()
    right = -(matrix[free][:, fixed] @ uv[fixed])
    out = uv.copy()
    out[free] = spsolve(inner.tocsc(), right)
    return out
