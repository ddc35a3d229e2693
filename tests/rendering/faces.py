"""Make a small synthetic subject, as in identity.npz: an oval face with eye openings, a mouth, a blink and a jaw."""

import numpy as np


def identity(size_px: int = 96, texture_px: int = 64, step: int = 20) -> dict[str, np.ndarray]:
    """Make the arrays of an identity with a convex face (14 x 18 cm); expression 0 blinks, 1 drops the jaw."""
    grid = np.linspace(-1.0, 1.0, step + 1)
    x, y = (axis.ravel() for axis in np.meshgrid(grid, grid))
    # A square mapped onto a disc, so that the corners of the UV square stay free.
    dx, dy = x * np.sqrt(1.0 - y**2 / 2.0), y * np.sqrt(1.0 - x**2 / 2.0)
    template = np.stack([7.0 * dx, 9.0 * dy, 6.0 * (dx**2 + dy**2)], axis=1).astype(np.float32)
    a = (np.arange(step)[:, None] * (step + 1) + np.arange(step)).ravel()
    b, c, d = a + 1, a + step + 1, a + step + 2
    tri = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)]).astype(np.int32)
    centre = template[tri].mean(axis=1)
    part = np.zeros(len(tri), np.int8)
    for side in (-1.0, 1.0):
        part[((centre[:, 0] - side * 3.0) / 1.6) ** 2 + ((centre[:, 1] + 2.2) / 0.9) ** 2 < 1.0] = 1
    part[(centre[:, 0] / 2.4) ** 2 + ((centre[:, 1] - 4.5) / 0.8) ** 2 < 1.0] = 2
    basis = np.zeros((2, len(template), 3), np.float32)
    lids = np.unique(tri[part == 1])
    basis[0, lids, 1] = -2.2 - template[lids, 1]
    basis[1, template[:, 1] > 4.6, 1] = 1.5
    rows, columns = np.mgrid[:texture_px, :texture_px] / texture_px
    texture = np.stack([150 + 60 * np.sin(9 * rows), 140 + 50 * np.cos(8 * columns), 120 + 40 * rows], axis=-1)
    depth = float(6.0 * ((3.0 / 7.0) ** 2 + (2.2 / 9.0) ** 2))
    ones = np.ones(2, np.float32)
    return {
        "model": np.array("made-up"), "expression_scale": ones, "expression_low": -ones, "expression_high": ones,
        "landmark_vertices": np.arange(0, len(template), 9, dtype=np.int32),
        "template": template, "expression_basis": basis, "tri": tri, "tri_part": part,
        "uv": (np.stack([dx, dy], axis=1) * 0.49 + 0.5).astype(np.float32),
        "focal_px": np.float32(2.2 * size_px), "principal": np.array([size_px / 2, size_px / 2], np.float32),
        "size_px": np.int32(size_px), "texture": texture.astype(np.uint8),
        "eye_center": np.array([[3.0, -2.2, depth + 1.1], [-3.0, -2.2, depth + 1.1]], np.float32),
        "eye_radius": np.array([1.25, 1.25], np.float32), "iris_radius": np.float32(0.6),
    }  # fmt: skip


def torso(top: float) -> dict[str, np.ndarray]:
    """Arrays of a torso whose chin is in that row."""
    image = np.full((128, 128), 255, np.uint8)
    return {"torso_picture": image, "torso_mask": image, "torso_top": np.float32(top)}
