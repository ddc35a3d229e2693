"""Generate the actor's motion from the seed: speech by syllables, blinks, brows, smiles, gaze and head rotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from selfieavatar.demo_actor.head import EXPRESSIONS, gaze_rotation

# Mouth shapes of vowels: jaw_open, smile, pucker, upper_lip, lower_lip.
VOWELS = {
    "a": (0.72, 0.05, 0.0, 0.25, 0.3),
    "e": (0.44, 0.34, 0.0, 0.25, 0.35),
    "i": (0.24, 0.50, 0.0, 0.28, 0.4),
    "o": (0.52, 0.0, 0.62, 0.12, 0.20),
    "u": (0.24, 0.0, 0.95, 0.10, 0.15),
    "er": (0.34, 0.0, 0.35, 0.2, 0.30),
}
# Consonants: the same with b, p, m closed; f, v with the lower lip up; the others nearly closed.
CONSONANTS = {
    "b": (0.0, 0.0, 0.12, 0.0, 0.0),
    "f": (0.02, 0.1, 0.0, 0.2, 0.0),
    "t": (0.08, 0.15, 0.0, 0.12, 0.15),
    "w": (0.1, 0.0, 0.7, 0.05, 0.05),
}
TAKES = {"train": ("aeiouer", 0), "test": ("iaoeu", 1)}
MAX_YAW = np.radians(25.0)
LEAST_S = 24.0


@dataclass(frozen=True)
class Motion:
    """Hold the motion of one take.

    Attributes:
        expression: (N,E) in [0,1].
        gaze: (N,4) rad in the head: left yaw, left pitch, right yaw, right pitch.
        head_angles: (N,3) rad yaw (+ face towards image right), pitch (+ down), roll (+ clockwise in the image).
        sway: (N,3) cm displacement of the base of the neck.
    """

    expression: np.ndarray
    gaze: np.ndarray
    head_angles: np.ndarray
    sway: np.ndarray

    def rotations(self) -> np.ndarray:
        """Compute the head rotations (N,3,3), model to camera axes."""
        return np.stack([head_rotation(angles) for angles in self.head_angles])


def head_rotation(angles: np.ndarray) -> np.ndarray:
    """Build the rotation (3,3), model to camera axes, of yaw, pitch and roll (3,); see `Motion.head_angles`."""
    c, s = np.cos(angles[2]), np.sin(angles[2])
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ gaze_rotation(angles[0], angles[1])


def _through(keys: Sequence[tuple[float, ...]], times: np.ndarray) -> np.ndarray:
    """Interpolate (time, values...) monotonically (PCHIP) to a smooth curve (N,C)."""
    table = np.asarray(keys)
    return PchipInterpolator(table[:, 0], table[:, 1:])(np.clip(times, table[0, 0], table[-1, 0]))


def _speech(times: np.ndarray, rng: np.random.Generator, vowels: list[str]) -> np.ndarray:
    """Generate the mouth parameters (N,5) of phrases with pauses between them."""
    rest = (0.0, 0.0, 0.0, 0.0, 0.0)
    keys: list[tuple[float, ...]] = [(-0.1, *rest)]
    clock, bag = 0.3, list[str]()
    while clock < times[-1] + 1:
        for _ in range(int(rng.integers(5, 12))):
            if not bag:
                bag = list(rng.permutation(vowels))
            consonant = np.array(CONSONANTS[str(rng.choice(list(CONSONANTS), p=(0.34, 0.14, 0.4, 0.12)))])
            vowel = np.array(VOWELS[bag.pop()]) * rng.uniform(0.8, 1.25)
            keys.append((clock + 0.02, *consonant))
            keys.append((clock + 0.07, *consonant))
            clock += rng.uniform(0.17, 0.23)
            keys.append((clock, *vowel))
            clock += rng.uniform(0.08, 0.14)
        keys.append((clock + 0.12, *rest))
        clock += rng.uniform(0.5, 1.1)
        keys.append((clock - 0.1, *rest))
    return np.clip(_through(keys, times), 0, 1)


Range = tuple[float, float]


def _bumps(
    times: np.ndarray, rng: np.random.Generator, every: Range, length: Range, height: Range, first: float
) -> np.ndarray:
    """Generate events (N,) that rise and fall smoothly at random intervals (seconds)."""
    curve, clock = np.zeros(len(times)), first
    while clock < times[-1]:
        duration, top = rng.uniform(*length), rng.uniform(*height)
        edge = 0.3 * duration
        rise = np.clip((times - clock) / edge, 0, 1) * np.clip((clock + duration - times) / edge, 0, 1)
        curve = np.maximum(curve, top * rise**2 * (3 - 2 * rise))
        clock += duration + rng.uniform(*every)
    return curve


def _blinks(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Generate the closure of the lids (N,): down in 80 ms, shut for 90 ms, up in 150 ms, every 1.2 to 2.4 s."""
    keys, clock = [(-1.0, 0.0)], rng.uniform(0.7, 1.3)
    while clock < times[-1]:
        keys += [(clock, 0.0), (clock + 0.08, 1.0), (clock + 0.17, 1.0), (clock + 0.32, 0.0)]
        clock += rng.uniform(1.2, 2.4)
    return np.clip(_through([*keys, (times[-1] + 9, 0.0)], times)[:, 0], 0, 1)


def _gaze(times: np.ndarray, rng: np.random.Generator, yaw: np.ndarray) -> np.ndarray:
    """Generate the gaze (N,2), yaw and pitch in the head: fixations and saccades, less half the head's yaw."""
    target, clock = np.zeros((len(times), 2)), 0.0
    while clock < times[-1]:
        away = rng.uniform() < 0.45
        look = rng.uniform((-0.42, -0.14), (0.42, 0.26)) if away else rng.normal(0, 0.03, 2)
        target[times >= clock] = look
        clock += rng.uniform(0.5, 1.1) if away else rng.uniform(0.8, 2.0)
    target = gaussian_filter1d(target, 0.025 / (times[1] - times[0]), axis=0)
    target[:, 0] -= 0.5 * yaw
    return np.clip(target, (-0.5, -0.25), (0.5, 0.35))


def _head_angles(times: np.ndarray, rng: np.random.Generator, side: float) -> np.ndarray:
    """Generate yaw, pitch, roll (N,3): poses that cover +-25 degrees evenly, with nods while speaking."""
    keys, clock, step = [(0.0, 0.0, 0.0, 0.0)], 0.5, 0
    while clock < times[-1] + 2:
        band = (-1) ** step * side * rng.uniform(0.15, 1.0) if step % 3 else side * (-1) ** (step // 3)
        keys.append((clock + rng.uniform(0.7, 1.1), band * MAX_YAW, rng.uniform(-0.10, 0.14), rng.uniform(-0.1, 0.1)))
        clock = keys[-1][0] + rng.uniform(0.15, 0.6)
        keys.append((clock, band * MAX_YAW * 0.96, keys[-1][2] + 0.01, keys[-1][3]))
        if step % 2:
            clock += rng.uniform(0.6, 0.9)
            keys.append((clock, rng.normal(0, 0.05), rng.normal(0, 0.04), rng.normal(0, 0.03)))
        step += 1
    angles = gaussian_filter1d(_through(keys, times), 1.5, axis=0, mode="nearest")
    angles[:, 1] += 0.02 * np.sin(2 * np.pi * 0.9 * times + rng.uniform(0, 6)) + 0.012 * np.sin(2 * np.pi * 2.1 * times)
    return angles


def make_motion(seed: int, take: str, frames: int, fps: float) -> Motion:
    """Generate the motion of one take; train and test of one seed differ in phrases and in the path of the head.

    take: "train" or "test".
    """
    vowels, number = TAKES[take]
    names = [v for v in VOWELS if v in vowels]
    rng = np.random.default_rng([seed, 505, number])
    # Generated for LEAST_S at least, then cut: a short take is the beginning of a longer one.
    times = np.arange(max(frames, int(LEAST_S * fps))) / fps
    expression = np.zeros((len(times), len(EXPRESSIONS)))
    column = {name: k for k, name in enumerate(EXPRESSIONS)}
    mouth = _speech(times, rng, names)
    smile = _bumps(times, rng, (2.0, 4.5), (1.2, 2.2), (0.6, 1.0), first=2.2)
    expression[:, :5] = mouth * (1 - 0.35 * smile)[:, None]
    expression[:, column["smile"]] = np.maximum(expression[:, column["smile"]], smile)
    expression[:, column["squint"]] = 0.7 * smile
    raised = _bumps(times, rng, (2.0, 4.0), (0.6, 1.3), (0.5, 1.0), first=1.2)
    expression[:, column["brow_raise"]] = raised
    lowered = _bumps(times, rng, (3.0, 6.0), (0.6, 1.2), (0.4, 0.9), first=3.4)
    expression[:, column["brow_lower"]] = lowered * (1 - raised)
    blink = _blinks(times, rng)
    expression[:, column["blink_left"]] = expression[:, column["blink_right"]] = blink
    angles = _head_angles(times, rng, side=1.0 if number == 0 else -1.0)
    look = _gaze(times, rng, angles[:, 0])
    gaze = np.concatenate([look, look], axis=1)
    slow = gaussian_filter1d(rng.normal(size=(len(times), 3)), 1.4 * fps, axis=0, mode="reflect")
    slow /= slow.std(axis=0)
    sway = slow * [0.7, 0.3, 0.8] + np.stack([6.0 * angles[:, 0] * 0.35, 0 * times, 0 * times], -1)
    return Motion(np.clip(expression, 0, 1)[:frames], gaze[:frames], angles[:frames], sway[:frames])
