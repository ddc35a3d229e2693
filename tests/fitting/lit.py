"""Videos of the small made-up face under known light, for the tests of the photometric fit."""

import numpy as np

from selfieavatar.geometry.camera import Camera
from selfieavatar.identity import Identity
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.shading import BAND_FACTORS
from tests.rendering.faces import identity

# Soft light from above and the left, a little warm: irradiance per unit of each band's polynomial.
LIGHT = np.zeros((9, 3), np.float32)
LIGHT[0], LIGHT[1], LIGHT[2], LIGHT[3] = (0.8, 0.75, 0.7), -0.15, -0.25, (-0.15, -0.15, -0.12)
LIGHT /= BAND_FACTORS[:, None].astype(np.float32)


def subject(size_px: int) -> tuple[dict[str, np.ndarray], MorphableModel, Camera]:
    """Arrays of the identity (without eyes and mouth), the same as a model, and the camera."""
    arrays = identity(size_px=size_px)
    arrays["tri_part"] = np.zeros_like(arrays["tri_part"])
    count = len(arrays["template"])
    vertices = np.full(count, -1, np.int32)
    vertices[::9] = np.arange(count)[::9]
    arrays["landmark_vertices"] = vertices
    known = Identity.from_arrays(arrays)
    return arrays, known.model, known.camera


def video(
    arrays: dict[str, np.ndarray], turns: np.ndarray, lights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Camera points (N, V, 3), images (N, S, S, 3), mattes (N, S, S), rotations (N, 3) of a head that shakes."""
    renderer = Renderer(Identity.from_arrays(arrays))
    rotation = np.stack([0.3 * np.sin(3.0 * turns), turns, 0.0 * turns], axis=1)
    poses = [(r, np.array([0.0, 0.0, 45.0]), np.zeros(2)) for r in rotation]
    drawn = [renderer.render(*pose, light=light) for pose, light in zip(poses, lights, strict=True)]
    points = np.stack([renderer.vertices(*pose) for pose in poses])
    mattes = np.stack([d.mask for d in drawn]).astype(np.uint8) * 255
    return points, np.stack([d.image for d in drawn]), mattes, rotation
