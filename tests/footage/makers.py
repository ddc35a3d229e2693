"""A made-up recording that has all that an avatar needs, frame by frame."""

import numpy as np

from selfieavatar.footage.measures import Footage

FPS = 25.0


def good_table(minutes=2.0):
    """Columns of a recording: the head goes round the advised ellipse, everything moves, nothing is wrong."""
    count = int(minutes * 60 * FPS)
    time_s = np.arange(count) / FPS
    rng = np.random.default_rng(0)
    reach, turn = np.abs(np.sin(time_s * 0.9)), time_s * 2 * np.pi / 11
    blink = (time_s % 4) < 0.16
    opening = 0.19 * (1 - np.cos(time_s * 2.1))
    zero = np.zeros(count)
    return {
        "clip": np.zeros(count, int), "time_s": time_s, "seconds": zero + 1 / FPS,
        "left_out": np.full(count, "", object), "fitted": zero == 0, "bridged": zero > 0, "duplicate": zero > 0,
        "error": zero + 0.005, "face_px": zero + 56, "cut": zero > 0,
        "yaw": 33 * reach * np.cos(turn), "pitch": 17 * reach * np.sin(turn), "roll": 12 * np.sin(time_s * 0.7),
        "gaze_yaw": 20 * np.sin(time_s * 1.3), "gaze_pitch": 10 * np.sin(time_s * 1.7),
        "lids": np.where(blink, 0.01, 0.1), "mouth_open": opening, "mouth_width": 0.55 + 0.15 * np.sin(time_s * 1.1),
        "brows": 0.3 + 0.06 * np.sin(time_s), "softness": 0.003 + 0.001 * rng.random(count),
        "brightness": 0.5 + 0.002 * rng.standard_normal(count), "left": zero + 0.5, "right": zero + 0.53,
        "clipped": zero, "teeth": (opening > 0.2).astype(float),
    }  # fmt: skip


def good_footage(**changes):
    """Facts about its one clip."""
    facts = {"source_scale": 5.0, "fps": FPS, "static": True, "faces": 1, "shifts": np.full(23, 0.0005)}
    return [Footage(**(facts | changes))]
