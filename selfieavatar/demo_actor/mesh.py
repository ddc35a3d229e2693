"""Build meshes from grids of points and simple solids."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from selfieavatar.demo_actor.shape import grid_triangles


@dataclass
class Piece:
    """Hold one mesh of the body.

    Attributes:
        vertices: (V,3) cm.
        tri: (F,3) i32.
        uv: (V,2) in [0,1].
        material: its number in the list of materials.
        follow: (V,) skinning weight of the head, 0 = the trunk (default: 1).
        open: (V,) ambient occlusion, the share of ambient light that reaches the vertex (default: 1).
    """

    vertices: np.ndarray
    tri: np.ndarray
    uv: np.ndarray
    material: int
    follow: np.ndarray = field(default_factory=lambda: np.empty(0))
    open: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        self.follow = self.follow if len(self.follow) else np.ones(len(self.vertices))
        self.open = self.open if len(self.open) else np.ones(len(self.vertices))


def sheet(points: np.ndarray, material: int, follow: float = 1.0) -> Piece:
    """Triangulate a grid of points (R,C,3)."""
    rows, cols = points.shape[:2]
    index = np.arange(rows * cols, dtype=np.int32).reshape(rows, cols)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, cols), np.linspace(0, 1, rows)), -1).reshape(-1, 2)
    return Piece(points.reshape(-1, 3), grid_triangles(index), uv, material, np.full(rows * cols, follow))


def ellipsoid(centre: tuple, radii: tuple, material: int, rows: int = 20, cols: int = 28) -> Piece:
    """Mesh a closed ellipsoid with poles up and down."""
    polar = np.linspace(1e-3, np.pi - 1e-3, rows)[:, None]
    azimuth = np.linspace(-np.pi, np.pi, cols)[None]
    ring = np.sin(polar)
    unit = np.stack(np.broadcast_arrays(ring * np.sin(azimuth), -np.cos(polar), -ring * np.cos(azimuth)), -1)
    return sheet(np.asarray(centre) + unit * np.asarray(radii), material)
