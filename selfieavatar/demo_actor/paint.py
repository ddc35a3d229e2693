"""Paint the actor's textures, sRGB in [0, 1]: skin with lips, brows and freckles, eyes, teeth, hair, cloth."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import map_coordinates

from selfieavatar.demo_actor.head import CLOTH, EYE, GUM, HAIR, LASH, SKIN, TEETH, TONGUE
from selfieavatar.demo_actor.shape import MOUTH_Y, SkinGrid, bump, lip_profile, sculpt, slit_height, smoothstep
from selfieavatar.demo_actor.traits import Traits

IRIS_ANGLE, PUPIL_ANGLE = 0.43, 0.18  # rad from the axis of the eye


def noise(rng: np.random.Generator, size: Sequence[int], blur: float | tuple[float, float]) -> np.ndarray:
    """Draw Gaussian noise (H,W) of unit deviation, blurred by `blur` (texels, or (x, y))."""
    sx, sy = blur if isinstance(blur, tuple) else (blur, blur)
    # Coarse noise is made small and enlarged: a wide kernel at full size would take most of the start-up time.
    fx, fy = max(1, int(sx / 3)), max(1, int(sy / 3))
    field: np.ndarray = rng.standard_normal((-(-size[0] // fy), -(-size[1] // fx)), dtype=np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigmaX=max(sx / fx, 0.05), sigmaY=max(sy / fy, 0.05))
    if fx > 1 or fy > 1:
        field = cv2.resize(field, size[::-1], interpolation=cv2.INTER_CUBIC)
    return field / field.std()


def blend(image: np.ndarray, colour: np.ndarray | tuple, amount: np.ndarray) -> np.ndarray:
    """Blend `image` with `colour` by `amount` (H,W), clipped to [0,1]."""
    amount = np.clip(amount, 0, 1).astype(np.float32)[..., None]
    return image + (np.asarray(colour, np.float32) - image) * amount


def surface_noise(rng: np.random.Generator, around: np.ndarray, down: np.ndarray, blur_cm: float) -> np.ndarray:
    """Draw noise of unit deviation that is uniform on the skin rather than on its texture.

    around, down: azimuth (H,W) rad and ring height (H,W) cm of each texel.
    """
    radius, step = 8.0, 0.04  # cm
    field = noise(rng, (int(34 / step), int(2 * np.pi * radius / step)), blur_cm / step)
    x = ((around + np.pi) * radius / step).astype(np.float32)
    y = ((down + 12.5) / step).astype(np.float32)
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def grid_image(grid: SkinGrid, values: np.ndarray, size: int) -> np.ndarray:
    """Resample values (V,) of the skin's vertices to an image (size, size) over its uv."""
    table = values.reshape(len(grid.ring_y), -1)
    table = np.delete(table, [grid.eye_row + 1, grid.mouth_row + 1], axis=0)
    centre = (np.arange(size) + 0.5) / size
    at = np.meshgrid(centre * (table.shape[0] - 1), centre * (table.shape[1] - 1), indexing="ij")
    return map_coordinates(table.astype(np.float32), at, order=1, mode="nearest")


def brow_shape(x: np.ndarray, y: np.ndarray, identity: Traits) -> np.ndarray:
    """Compute the mask of the brows in [0, 1] at flat coordinates (cm)."""
    side = np.abs(x)
    t = np.clip((side - 1.1) / 4.4, 0, 1)
    line = -2.25 - identity.brow_height - 1.0 * np.sin(np.pi * np.clip(t * 0.72, 0, 1)) + 0.45 * t
    half = 0.40 * (1 - t) ** 0.6 * (0.65 + 0.35 * smoothstep(0.0, 0.25, t)) + 0.09
    across = 1 - smoothstep(0.55, 1.15, np.abs(y - line) / half)
    return across * smoothstep(0.85, 1.75, side) * (1 - smoothstep(5.1, 5.6, side))


def paint_skin(grid: SkinGrid, identity: Traits, rng: np.random.Generator, size: int = 1024) -> np.ndarray:
    """Paint head and neck (size,size,3)."""
    x, y, front = (grid_image(grid, v, size) for v in (grid.flat[:, 0], grid.flat[:, 1], grid.front))
    side, base = np.abs(x), np.asarray(identity.skin, np.float32)
    skin = np.broadcast_to(base, (size, size, 3)).copy()
    around = grid_image(grid, np.tile(grid.azimuth, len(grid.ring_y)), size)
    down = grid_image(grid, np.repeat(grid.ring_y, len(grid.azimuth)), size)

    def mottle(blur_cm: float) -> np.ndarray:
        return surface_noise(rng, around, down, blur_cm)

    skin *= (1 + 0.024 * mottle(0.6) + 0.018 * mottle(0.16) + 0.022 * mottle(0.06))[..., None]
    red = np.clip(base * [1.02, 0.78, 0.76], 0, 1)
    flush = 0.55 * bump(side, y, (3.9, 3.8), (1.7, 1.6)) + 0.45 * bump(x, y, (0, 3.7), (1.3, 1.0))
    flush += 0.22 * bump(x, y, (0, 10.2), (1.8, 1.0)) + 0.07 * mottle(0.4)
    skin = blend(skin, red, flush)
    lids = bump(side, y, (3.05, -0.5), (2.0, 0.7)) * 0.4 + 0.35 * bump(side, y, (2.6, 1.15), (1.5, 0.5))
    skin = blend(skin, base * [0.80, 0.66, 0.66], lids * front)
    spots = np.clip(mottle(0.07) - 2.2 + 0.5 * identity.freckles, 0, 1)
    where = bump(side, y, (2.6, 2.6), (2.6, 1.8)) * front
    skin = blend(skin, base * [0.72, 0.55, 0.45], 1.6 * spots * where * identity.freckles)
    hollow = grid_image(grid, sculpt(grid.flat, grid.below, identity)[:, 2] * grid.front, size)
    small = cv2.resize(hollow, (size // 4, size // 4), interpolation=cv2.INTER_AREA)
    cavity = hollow - cv2.resize(cv2.GaussianBlur(small, (0, 0), 4.5), (size, size), interpolation=cv2.INTER_LINEAR)
    skin *= (1 - 0.55 * np.clip(cavity, 0, 1) + 0.10 * np.clip(-cavity, 0, 0.5))[..., None]
    nostril = np.exp(-((((side - 0.62 * identity.nose_width) / 0.36) ** 2 + ((y - 4.66) / 0.2) ** 2) ** 2))
    skin = blend(skin, base * [0.22, 0.13, 0.12], 0.85 * nostril * front)
    skin = paint_lips(skin, x, y, front, identity, rng)
    strokes = 0.5 + 0.5 * np.clip(noise(rng, (size, size), (0.7, 2.2)), -1, 1)
    brow = brow_shape(x, y, identity) * front
    skin = blend(skin, np.asarray(identity.hair) * 0.55, brow * (0.72 + 0.28 * strokes))
    lash_line = np.exp(-((np.abs(y) / 0.07) ** 2)) * smoothstep(1.5, 1.35, np.abs(side - 3.05)) * front
    return np.clip(blend(skin, base * [0.45, 0.32, 0.32], 0.7 * lash_line), 0, 1)


def paint_lips(
    skin: np.ndarray, x: np.ndarray, y: np.ndarray, front: np.ndarray, identity: Traits, rng: np.random.Generator
) -> np.ndarray:
    """Paint the red of the lips, its fine lines and the dark line between them over `skin`."""
    upper, lower = lip_profile(x, identity.lip_fullness)
    away: np.ndarray = y - slit_height(x.ravel()).reshape(x.shape).astype(np.float32)
    q = np.where(away > 0, away / np.maximum(lower, 1e-3), -away / np.maximum(upper, 1e-3))
    lip = (1 - smoothstep(0.9, 1.06, q)) * (np.abs(x) < 2.6) * (np.abs(y - MOUTH_Y) < 1.8) * front
    lines = 0.08 * noise(rng, x.shape, (1.0, 6.0))
    tint = np.where((away > 0)[..., None], [0.84, 0.40, 0.44], [0.72, 0.31, 0.36]) * (1 + lines[..., None])
    base = np.asarray(identity.skin, np.float32)
    skin = blend(skin, base[None, None] * 0.28 + 0.70 * tint * (0.35 + 0.75 * base.mean()), 0.92 * lip)
    seam = np.exp(-((away / 0.08) ** 2)) * smoothstep(2.75, 2.55, np.abs(x)) * front
    return blend(skin, base * [0.34, 0.14, 0.15], 0.85 * seam)


def paint_eye(identity: Traits, rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """Paint an eyeball (size,size,3): pupil in the middle, radius = angle from the axis (2 rad at the edge)."""
    centre = (np.arange(size) + 0.5) / size - 0.5
    dx, dy = np.meshgrid(centre, centre)
    angle, around = np.hypot(dx, dy) * 4.0, np.arctan2(dy, dx)
    eye = np.broadcast_to([0.93, 0.91, 0.89], (size, size, 3)).copy()
    eye = blend(eye, (0.85, 0.62, 0.58), smoothstep(0.55, 1.2, angle))
    veins = np.clip(noise(rng, (size, size), (6.0, 1.5)) - 1.6, 0, 1) * smoothstep(0.55, 1.0, angle)
    eye = blend(eye, (0.75, 0.3, 0.28), 0.5 * veins)
    rays = np.interp(around.ravel(), np.linspace(-np.pi, np.pi, 241), rng.uniform(0.72, 1.25, 241)).reshape(
        around.shape
    )
    iris = np.asarray(identity.iris) * rays[..., None] * (1.25 - 0.5 * smoothstep(0.2, 0.42, angle))[..., None]
    iris = blend(iris, np.asarray(identity.iris) * 0.35, smoothstep(0.34, 0.43, angle))
    eye = blend(eye, iris, 1 - smoothstep(IRIS_ANGLE - 0.02, IRIS_ANGLE + 0.025, angle))
    return np.clip(blend(eye, (0.02, 0.02, 0.025), 1 - smoothstep(PUPIL_ANGLE - 0.02, PUPIL_ANGLE + 0.02, angle)), 0, 1)


def paint_teeth(size: int = 256) -> np.ndarray:
    """Paint a row of teeth, roots at v = 0 and edges at v = 1."""
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    place = (u - 0.5) * 8.0
    gap = np.abs(place - np.round(place)) < 0.045
    teeth = np.broadcast_to([0.93, 0.90, 0.83], (size, size, 3)) * (0.55 + 0.45 * np.cos((u - 0.5) * 2.4))[..., None]
    teeth = blend(teeth, (0.5, 0.42, 0.38), 0.8 * gap * smoothstep(0.2, 0.5, v))
    return blend(teeth, (0.70, 0.35, 0.36), 1 - smoothstep(0.28, 0.4, v + 0.06 * np.cos(2 * np.pi * place)))


def paint_hair(identity: Traits, rng: np.random.Generator, size: int = 1024) -> np.ndarray:
    """Paint strands of hair along v (size,size,3)."""
    strands = 0.6 * noise(rng, (size, size), (1.3, 60.0)) + 0.5 * noise(rng, (size, size), (5.0, 120.0))
    tone = np.clip(1.0 + 0.3 * strands, 0.35, 2.0)
    return np.clip(np.asarray(identity.hair) * tone[..., None] + 0.012 * strands[..., None], 0, 1)


def paint_cloth(identity: Traits, rng: np.random.Generator, size: int = 768) -> np.ndarray:
    """Paint the garment (size,size,3): plain knit, stripes or checks, with a ribbed collar at the top."""
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    base = np.asarray(identity.cloth, np.float32)
    knit = 0.05 * np.sin(2 * np.pi * 220 * u) * np.sin(2 * np.pi * 160 * v) + 0.04 * noise(rng, (size, size), 1.0)
    folds = 0.07 * noise(rng, (size, size), (30.0, 90.0))
    cloth = np.broadcast_to(base, (size, size, 3)) * (1 + knit + folds)[..., None]
    pale = np.clip(base * 0.4 + 0.55, 0, 1)
    if identity.pattern == 1:
        cloth = blend(cloth, pale, 0.85 * smoothstep(0.1, 0.2, np.sin(2 * np.pi * 14 * v) - 0.3))
    elif identity.pattern == 2:
        check = smoothstep(0.5, 0.7, np.sin(2 * np.pi * 40 * u)) + smoothstep(0.5, 0.7, np.sin(2 * np.pi * 18 * v))
        cloth = blend(cloth, pale, 0.3 * check)
    collar = (1 - smoothstep(0.26, 0.275, v)) * (0.85 + 0.15 * np.sin(2 * np.pi * 120 * u))
    return np.clip(blend(cloth, base * 0.6, collar), 0, 1)


def paint_all(grid: SkinGrid, identity: Traits) -> dict[int, np.ndarray]:
    """Paint all textures, by material number, sRGB in [0, 1]."""
    rng = np.random.default_rng([identity.seed, 303])
    lash = np.broadcast_to(np.asarray(identity.hair) * 0.25, (4, 4, 3))
    return {
        SKIN: paint_skin(grid, identity, rng),
        EYE: paint_eye(identity, rng),
        LASH: lash,
        GUM: np.broadcast_to([0.33, 0.09, 0.10], (4, 4, 3)),
        TEETH: paint_teeth(),
        TONGUE: np.broadcast_to([0.66, 0.30, 0.31], (4, 4, 3)),
        HAIR: paint_hair(identity, rng),
        CLOTH: paint_cloth(identity, rng),
    }
