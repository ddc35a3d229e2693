"""Learn the head sphere, on which hair and ears lie, from the outline of the head in the mattes.

It is the sphere whose outline meets that of the matte best over many frames: a line of sight that grazes a sphere
passes its centre at the distance of its radius. Around shoulders and chin the outline is not the head's and is left
out.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.optimize import least_squares

from selfieavatar.geometry.camera import Camera, rotation_matrix

_UPWARDS = np.cos(np.radians(75))  # the outline that counts lies within this angle of upwards
_BORDER_PX = 2  # the outline there is the image's
_EVERY = 3  # of the outline's pixels
_LEAST_RAYS = 100
_OUTLIER_CM = 0.1  # deviation from which on strands and hands pull less
_PRIOR = 0.03  # of the centre against the guess: cm to cm of the mean deviation
_PLAUSIBLE = (0.35, 1.5)  # radius over the width of the face


def learn_head_sphere(
    template: np.ndarray, camera: Camera, rotation: np.ndarray, translation: np.ndarray, mattes: np.ndarray
) -> np.ndarray | None:
    """Fit the head sphere to outlines of the mattes by robust least squares.

    Args:
        template: (V, 3) cm of the model. camera: of the images. rotation: (N, 3) rad. translation: (N, 3) cm.
        mattes: (N, S, S) uint8, 255 on the person.

    Returns:
        (4,) float32 centre in the axes of the model and radius, cm. None where the outline of the head is not in the
        images, or is that of something else.
    """
    low, high = template.min(0), template.max(0)
    guess = np.array([(low[0] + high[0]) / 2, 0.4 * low[1], high[2]])
    eyes, rays = [], []
    for R, t, matte in zip(rotation_matrix(np.asarray(rotation, float)), translation, mattes, strict=True):
        found = _outline(matte, camera, R @ guess + t, -R[:, 1]) @ R
        rays.append(found)
        eyes.append(np.broadcast_to(-t @ R, found.shape))
    if sum(map(len, rays)) < _LEAST_RAYS:
        return None
    sight, eye = np.concatenate(rays), np.concatenate(eyes)

    def residuals(values: np.ndarray) -> np.ndarray:
        offset = np.array([guess[0], *values[:2]]) - eye
        passed = np.linalg.norm(np.cross(offset, sight), axis=1)
        prior = _PRIOR * (values[:2] - guess[1:])
        return np.concatenate([(passed - values[2]) / np.sqrt(len(sight)), prior])

    width = high[0] - low[0]
    start = np.array([*guess[1:], 0.6 * width])
    down, back, radius = least_squares(residuals, start, loss="soft_l1", f_scale=_OUTLIER_CM / np.sqrt(len(sight))).x
    if not _PLAUSIBLE[0] * width <= radius <= _PLAUSIBLE[1] * width:
        return None
    # Rounded to far below what is known of it, so that the last bits of a solver on several threads change no image.
    return np.round([guess[0], down, back, radius], 2).astype(np.float32)


def _outline(matte: np.ndarray, camera: Camera, centre: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Trace the outline of the person above a point `centre` (3,) of the head: (R, 3) unit rays in camera axes.

    up (3,): upwards for the head.
    """
    contours, _ = cv2.findContours((matte >= 128).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours or np.linalg.norm(up[:2]) < 1e-6:
        return np.zeros((0, 3))
    pixels = max(contours, key=len)[::_EVERY, 0]
    inside = ((pixels >= _BORDER_PX) & (pixels < len(matte) - _BORDER_PX)).all(1)
    places = pixels[inside] + 0.5
    away = places - (camera.focal_px * centre[:2] / centre[2] + np.array(camera.principal))
    above = away @ (up[:2] / np.linalg.norm(up[:2])) > _UPWARDS * np.linalg.norm(away, axis=1)
    flat = (places[above] - np.array(camera.principal)) / camera.focal_px
    sight = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    return sight / np.linalg.norm(sight, axis=1, keepdims=True)
