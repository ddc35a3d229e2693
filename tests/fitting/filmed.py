"""A made-up head with a known texture, filmed under changing light."""

import cv2
import numpy as np

from selfieavatar.fitting.registration import shrink
from selfieavatar.identity import Identity
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.shading import default_light
from tests.fitting import makers


def skin(seed: int = 3, size: int = 256) -> np.ndarray:
    """(T, T, 3) uint8 with freckles and larger patches."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), blur) for blur in (2.0, 5.0)]
    grey = 140 + sum(25 * layer / layer.std() for layer in layers)
    return np.clip(np.repeat(grey[..., None], 3, 2), 0, 255).astype(np.uint8)


def video(model, rotation, translation, expression) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grey image and matte of each frame; the light grows stronger from one side and from frame to frame."""
    renderer = Renderer(Identity(model, makers.camera(), skin()))
    observations = []
    for number, pose in enumerate(zip(rotation, translation, expression, strict=True)):
        light = default_light() * (1 + 0.3 * np.sin(0.4 * number))
        light[3] += 0.2 * np.sin(0.3 * number)
        drawn = renderer.render(*pose, light=light.astype(np.float32))
        observations.append((shrink(drawn.image), drawn.mask.astype(np.uint8) * 255))
    return observations
