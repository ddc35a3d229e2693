"""Paint the room behind the actor: a wall under uneven light, a window, a shelf with books, a plant, a painting."""

from __future__ import annotations

import cv2
import numpy as np

from selfieavatar.demo_actor.traits import Traits


def _box(canvas: np.ndarray, box: tuple[float, float, float, float], colour: np.ndarray | tuple) -> None:
    """Fill a box (x0, y0, x1, y1) in shares of the canvas."""
    size = canvas.shape[0]
    x0, y0, x1, y1 = (int(round(v * size)) for v in box)
    cv2.rectangle(canvas, (x0, y0), (x1, y1), tuple(float(c) for c in colour), -1, cv2.LINE_AA)


def _shelf(canvas: np.ndarray, rng: np.random.Generator, left: float, right: float, top: float) -> None:
    """Paint a shelf with books of many colours."""
    wood = np.array([0.36, 0.24, 0.15])
    for level in range(3):
        board = top + 0.23 * (level + 1)
        x = left + 0.012
        while x < right - 0.03:
            width, height = rng.uniform(0.016, 0.036), rng.uniform(0.11, 0.19)
            hue = rng.uniform(0.12, 0.75, 3) * rng.uniform(0.5, 1.0)
            if rng.uniform() > 0.12:
                _box(canvas, (x, board - height, x + width, board), hue)
                label = (x + 0.2 * width, board - 0.8 * height, x + 0.8 * width, board - 0.74 * height)
                _box(canvas, label, np.clip(hue + 0.3, 0, 1))
            x += width + 0.003
        _box(canvas, (left, board, right, board + 0.014), wood)
        _box(canvas, (left, board + 0.014, right, board + 0.024), wood * 0.55)
    _box(canvas, (left - 0.012, top, left, top + 0.74), wood * 0.8)
    _box(canvas, (right, top, right + 0.012, top + 0.74), wood * 0.8)


def _window(canvas: np.ndarray, left: float, right: float, top: float, bottom: float) -> None:
    """Paint a bright window with a sky gradient, green below it and a cross of bars."""
    size = canvas.shape[0]
    _box(canvas, (left - 0.015, top - 0.015, right + 0.015, bottom + 0.02), (0.86, 0.85, 0.82))
    rows = np.arange(int(top * size), int(bottom * size))
    share = (rows - rows[0]) / len(rows)
    sky = np.array([0.62, 0.78, 0.95]) + share[:, None] * (np.array([0.95, 0.94, 0.88]) - [0.62, 0.78, 0.95])
    sky[share > 0.72] = [0.38, 0.52, 0.3]
    x0, x1 = max(int(left * size), 0), int(right * size)
    canvas[rows[rows < size], x0:x1] = sky[rows < size][:, None]
    middle = 0.5 * (left + right)
    _box(canvas, (middle - 0.008, top, middle + 0.008, bottom), (0.86, 0.85, 0.82))
    _box(canvas, (left, top + 0.4 * (bottom - top), right, top + 0.4 * (bottom - top) + 0.014), (0.86, 0.85, 0.82))


def _plant(canvas: np.ndarray, rng: np.random.Generator, x: float, y: float) -> None:
    """Paint a pot with long leaves."""
    size = canvas.shape[0]
    for _ in range(26):
        angle, length = rng.uniform(-2.6, -0.55), rng.uniform(0.10, 0.24)
        tip = np.array([x + length * np.cos(angle), y - 0.02 + length * np.sin(angle)])
        middle = 0.5 * (tip + [x, y - 0.02]) + rng.normal(0, 0.012, 2)
        t = np.linspace(0, 1, 12)[:, None]
        line = (1 - t) ** 2 * [x, y - 0.02] + 2 * t * (1 - t) * middle + t**2 * tip
        normal = np.array([-np.sin(angle), np.cos(angle)])
        half = 0.011 * np.sin(np.pi * np.clip(t, 0.02, 1)) ** 0.7
        leaf = np.concatenate([line + half * normal, (line - half * normal)[::-1]])
        colour = np.array([0.16, 0.40, 0.17]) * rng.uniform(0.6, 1.35)
        cv2.fillPoly(canvas, [np.round(leaf * size).astype(np.int32)], tuple(colour.tolist()), cv2.LINE_AA)
    _box(canvas, (x - 0.045, y - 0.02, x + 0.045, y + 0.09), (0.66, 0.36, 0.24))
    _box(canvas, (x - 0.052, y - 0.03, x + 0.052, y - 0.01), (0.72, 0.42, 0.29))


def paint_background(identity: Traits, size: int) -> np.ndarray:
    """Paint the room (size,size,3), sRGB in [0,1] f32, slightly out of focus. The seed decides layout and colours."""
    rng = np.random.default_rng([identity.seed, 404])
    work = 512
    y, x = np.mgrid[0:work, 0:work] / work
    glow = 1.08 - 0.45 * np.hypot(x - (0.25 if identity.light_side < 0 else 0.75), 0.8 * (y - 0.15))
    canvas = (np.asarray(identity.wall) * glow[..., None]).astype(np.float32)
    canvas += 0.012 * cv2.GaussianBlur(rng.standard_normal((work, work, 3)).astype(np.float32), (0, 0), 2.0) * 2
    flip = identity.light_side > 0
    shelf, window = ((0.03, 0.34), (0.72, 1.02)) if flip else ((0.66, 0.97), (-0.02, 0.28))
    _window(canvas, window[0], window[1], 0.06, 0.56)
    _shelf(canvas, rng, shelf[0], shelf[1], 0.03)
    _plant(canvas, rng, 0.84 if flip else 0.16, 0.80)
    _box(canvas, (0.0, 0.87, 1.0, 1.0), np.asarray(identity.wall) * 0.45)
    _box(canvas, (0.44, 0.02, 0.60, 0.15), (0.2, 0.16, 0.13))
    _box(canvas, (0.452, 0.032, 0.588, 0.138), rng.uniform(0.3, 0.8, 3))
    _box(canvas, (0.49, 0.06, 0.55, 0.138), rng.uniform(0.2, 0.9, 3))
    canvas = cv2.GaussianBlur(np.clip(canvas, 0, 1), (0, 0), 1.6)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA if size < work else cv2.INTER_CUBIC).clip(0, 1)
