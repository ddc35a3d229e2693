"""Draw the actor's appearance from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SKIN_TONES = ((0.93, 0.74, 0.64), (0.88, 0.67, 0.55), (0.78, 0.56, 0.43), (0.64, 0.44, 0.33), (0.48, 0.32, 0.24))
HAIR_COLOURS = ((0.09, 0.07, 0.06), (0.22, 0.13, 0.08), (0.38, 0.23, 0.12), (0.62, 0.45, 0.24), (0.34, 0.16, 0.09))
IRIS_COLOURS = ((0.22, 0.36, 0.52), (0.24, 0.38, 0.24), (0.33, 0.20, 0.10), (0.40, 0.32, 0.16))
CLOTH_COLOURS = ((0.16, 0.27, 0.46), (0.50, 0.14, 0.16), (0.16, 0.37, 0.29), (0.20, 0.21, 0.25), (0.36, 0.24, 0.42))
WALL_COLOURS = ((0.62, 0.66, 0.68), (0.70, 0.63, 0.52), (0.52, 0.60, 0.54), (0.50, 0.58, 0.62))
HAIR_STYLES = ("short", "fringe", "long")


@dataclass(frozen=True)
class Traits:
    """Hold the appearance of one actor: colours sRGB in [0, 1], lengths cm, factors relative to the average face."""

    seed: int
    skin: tuple[float, ...]
    hair: tuple[float, ...]
    iris: tuple[float, ...]
    cloth: tuple[float, ...]
    wall: tuple[float, ...]
    hair_style: str
    pattern: int
    face_width: float
    jaw_width: float
    nose_length: float
    nose_width: float
    lip_fullness: float
    eye_open: float
    eye_tilt: float
    brow_height: float
    freckles: float
    light_side: float


def draw_traits(seed: int) -> Traits:
    """Draw the identity of a seed >= 0; neighbouring seeds take different palette entries, so that they differ."""
    rng = np.random.default_rng([seed, 101])

    def pick(choices: tuple, stride: int) -> tuple:
        return choices[(seed * stride + seed // len(choices)) % len(choices)]

    # Dark skin takes a dark hair colour, so that the brows are darker than the skin.
    dark = sum(pick(SKIN_TONES, 1)) < 1.5
    hair = pick(HAIR_COLOURS[:3] if dark else HAIR_COLOURS, 2)

    def jitter(colour: tuple[float, ...], amount: float) -> tuple[float, ...]:
        return tuple(float(v) for v in np.clip(np.asarray(colour) * (1 + amount * rng.uniform(-1, 1, 3)), 0, 1))

    return Traits(
        seed=seed,
        skin=jitter(pick(SKIN_TONES, 1), 0.04),
        hair=jitter(hair, 0.12),
        iris=jitter(pick(IRIS_COLOURS, 1), 0.1),
        cloth=jitter(pick(CLOTH_COLOURS, 1), 0.12),
        wall=jitter(pick(WALL_COLOURS, 1), 0.06),
        hair_style=str(pick(HAIR_STYLES, 1)),
        pattern=seed % 3,
        face_width=float(rng.uniform(0.96, 1.04)),
        jaw_width=float(rng.uniform(0.93, 1.07)),
        nose_length=float(rng.uniform(0.92, 1.12)),
        nose_width=float(rng.uniform(0.88, 1.12)),
        lip_fullness=float(rng.uniform(0.88, 1.2)),
        eye_open=float(rng.uniform(0.94, 1.12)),
        eye_tilt=float(rng.uniform(0.0, 0.07)),
        brow_height=float(rng.uniform(-0.15, 0.2)),
        freckles=float(rng.uniform(0.1, 1.0)),
        light_side=float(rng.choice([-1.0, 1.0])),
    )
