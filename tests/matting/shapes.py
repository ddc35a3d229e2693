"""Draw images with known alpha."""

import cv2
import numpy as np


def composite(alpha, person, background):
    """Composite alpha F + (1 - alpha) B as uint8 (H,W,3)."""
    return np.rint(255 * (alpha[..., None] * person + (1 - alpha[..., None]) * background)).astype(np.uint8)


def head_and_shoulders(size=256, hairs=14, seed=0, shift=0):
    """Draw the alpha (size,size) float32 of a head with loose hair on shoulders; `shift` px to the right."""
    rng = np.random.default_rng(seed)
    big = np.zeros((size * 4, size * 4), np.uint8)
    centre = size * 2 + 4 * shift
    cv2.ellipse(big, (centre, int(size * 1.7)), (int(size * 0.8), size), 0, 0, 360, 255, -1)
    cv2.ellipse(big, (centre, size * 4), (int(size * 1.6), int(size * 1.1)), 0, 0, 360, 255, -1)
    cv2.rectangle(big, (centre - size // 2, size * 2), (centre + size // 2, size * 3 + size // 2), 255, -1)
    for angle in rng.uniform(200, 340, hairs):
        direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        root = np.array([centre, size * 1.7]) + direction * np.array([size * 0.8, size])
        tip = root + direction * size * 0.28
        cv2.line(big, tuple(root.astype(int)), tuple(tip.astype(int)), 255, 6)
    return cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


def coarse_mask(alpha, size=64):
    """Degrade alpha to a segmenter's mask: blocky, without hair."""
    kernel = np.ones((9, 9), np.uint8)
    small = cv2.resize(cv2.morphologyEx(alpha, cv2.MORPH_OPEN, kernel), (size, size), interpolation=cv2.INTER_AREA)
    return (small > 0.5).astype(np.float32)
