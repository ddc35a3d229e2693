"""Pieces of geometry: joining them and simple solids."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from selfieavatar.demo_actor.shape import grid_triangles


@dataclass
class Piece:
    """One piece of the body. ``vertices`` (V,3) cm, ``tri`` (F,3) i32, ``uv`` (V,2) in [0,1], ``material`` its number
    in the list of materials, ``follow`` (V,) 1 = moves with the head, 0 = with the trunk, ``open`` (V,) share of the
    surroundings' light that reaches the vertex (ambient occlusion), 1 = all."""

    vertices: np.ndarray
    tri: np.ndarray
    uv: np.ndarray
    material: int
    follow: np.ndarray = field(default=None)
    open: np.ndarray = field(default=None)

    def __post_init__(self) -> None:
        if self.follow is None:
            self.follow = np.ones(len(self.vertices))
        if self.open is None:
            self.open = np.ones(len(self.vertices))


def sheet(points: np.ndarray, material: int, follow: float = 1.0) -> Piece:
    """A piece from a grid of points (R,C,3)."""
    rows, cols = points.shape[:2]
    index = np.arange(rows * cols, dtype=np.int32).reshape(rows, cols)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, cols), np.linspace(0, 1, rows)), -1).reshape(-1, 2)
    return Piece(points.reshape(-1, 3), grid_triangles(index), uv, material, np.full(rows * cols, follow))


def ellipsoid(centre: tuple, radii: tuple, material: int, rows: int = 20, cols: int = 28) -> Piece:
    """A closed ellipsoid with poles up and down."""
    polar = np.linspace(1e-3, np.pi - 1e-3, rows)[:, None]
    turn = np.linspace(-np.pi, np.pi, cols)[None]
    ring = np.sin(polar)
    unit = np.stack(np.broadcast_arrays(ring * np.sin(turn), -np.cos(polar), -ring * np.cos(turn)), -1)
    return sheet(np.asarray(centre) + unit * np.asarray(radii), material)
