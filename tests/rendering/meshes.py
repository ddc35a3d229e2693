"""Make the meshes of the rendering tests: a bumpy sphere, and ICT-FaceKit where the shared models exist."""

import os
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("SELFIEAVATAR_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def bumpy_sphere(rings: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make a closed ball of radius about 6 with random bumps: vertices (V, 3) float32, triangles (F, 3) int32."""
    generator = np.random.default_rng(seed)
    polar = np.linspace(0.0, np.pi, rings + 1)[1:-1]
    turn = np.linspace(0.0, 2.0 * np.pi, 2 * rings, endpoint=False)
    p, t = np.meshgrid(polar, turn, indexing="ij")
    radius = 6.0 + generator.normal(0.0, 0.35, p.shape)
    grid = np.stack([np.sin(p) * np.cos(t), np.cos(p), np.sin(p) * np.sin(t)], axis=-1) * radius[..., None]
    vertices = np.concatenate([grid.reshape(-1, 3), [[0.0, 6.0, 0.0], [0.0, -6.0, 0.0]]])
    rows, columns = np.meshgrid(np.arange(len(polar) - 1), np.arange(len(turn)), indexing="ij")
    a = rows * len(turn) + columns
    b = rows * len(turn) + (columns + 1) % len(turn)
    c, d = a + len(turn), b + len(turn)
    sides = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    k, k1 = np.arange(len(turn)), (np.arange(len(turn)) + 1) % len(turn)
    top = np.stack([np.full_like(k, grid.shape[0] * len(turn)), k1, k], axis=-1)
    last = (grid.shape[0] - 1) * len(turn)
    bottom = np.stack([np.full_like(k, grid.shape[0] * len(turn) + 1), last + k, last + k1], axis=-1)
    return vertices.astype(np.float32), np.concatenate([sides, top, bottom]).astype(np.int32)


def ict_head() -> tuple[np.ndarray, np.ndarray]:
    """Load ICT-FaceKit's neutral head, facing the camera: (26719, 3), triangles (52220, 3); skips if absent."""
    path = SHARED / "models" / "ict_facekit" / "ict_facekit_light.npz"
    if not path.is_file():
        pytest.skip(f"needs the ICT-FaceKit model at {path} (set SELFIEAVATAR_SHARED)")
    with np.load(path) as arrays:
        return (arrays["neutral"] * np.float32([1.0, -1.0, -1.0])), arrays["tri"].astype(np.int32)
