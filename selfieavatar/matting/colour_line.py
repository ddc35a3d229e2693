"""Estimate alpha by projection onto the colour line between the local foreground and background colours.

alpha = (I - B).(F - B) / |F - B|^2, the least-squares solution of the compositing equation I = alpha F + (1 - alpha) B
for known F and B. It resolves single hairs before a plain wall. It is unreliable where F and B are alike or scatter, so
it comes with a confidence.
"""

from __future__ import annotations

import cv2
import numpy as np

from selfieavatar.matting.guided import box_mean, dot, pixels, shrink, unit
from selfieavatar.matting.kernels import enlarge_at, line_models, project

Plate = tuple[np.ndarray, np.ndarray]
"""Image of the empty background (H,W,3) uint8 and where it is known (H,W) bool."""


def colour_line(
    guide: np.ndarray, person: np.ndarray, background: np.ndarray, radius: int, where: np.ndarray,
    plate: Plate | None = None, subsample: int = 4,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Project colours onto the line between the local mean colours of person and background.

    Args:
        guide: (H,W,3) uint8 or float32 in [0,1], the image.
        person: (H,W) uint8, 255 on sure foreground, else 0.
        background: (H,W) uint8, 255 on sure background, else 0.
        radius: of the window of the person's local colour, px; the background's is twice as wide.
        where: (N,) flat indices of the pixels to compute: the unknown ones.
        plate: replaces the background's local mean colour where it explains the sure background near by better; a local
            change of light against the plate is compensated.
        subsample: the smooth local colours are computed on a grid coarser by this factor.

    Returns:
        alpha (N,) float32 in [0,1]; confidence (N,) float32 in [0,1], near 1 where the two colours differ by much more
        than they scatter, 0 where either is unknown; noise (N,) float32 >= 0, three standard deviations of the
        background's colour in units of alpha.
    """
    height, width = person.shape
    full = (width, height)
    size = (max(1, width // subsample), max(1, height // subsample))
    radius = max(2, round(radius / subsample / 2))
    small, weight = unit(shrink(guide, size)), unit(shrink(background, size))
    near, far = local_colour(small, unit(shrink(person, size)), radius), local_colour(small, weight, 2 * radius)
    near[4] *= far[4]  # the line is known where both are
    if plate is None:
        # All inputs are smooth: the line itself can be computed on the coarse grid.
        coarse = line_models(near.reshape(5, -1), far.reshape(5, -1)).reshape(7, *near.shape[1:])
        models = enlarge_at(cv2.merge(list(coarse)), full, where)
    else:
        light = plate_light(small, weight, far[3], plate, 2 * radius)
        # Upsample the coarse colours at the unknown pixels.
        colours = enlarge_at(cv2.merge([*near, *far, *light]), full, where)
        near, far, light = colours[:5], colours[5:10], colours[10:]
        share = light[3] * np.take(plate[1], where)
        far[:3] += share * (pixels(plate[0], where) + light[:3] - far[:3])
        far[3] += share * (light[4] - far[3])
        models = line_models(near, far)
    return *project(models, pixels(guide, where)), models[6]


def plate_light(small: np.ndarray, weight: np.ndarray, scatter: np.ndarray, plate: Plate, radius: int) -> np.ndarray:
    """Measure how well the plate explains the local background, on the coarse grid.

    Returns:
        (5,h,w) float32: change of light against the plate (3); 1 where the plate leaves less scatter than the local
        mean colour; and that scatter.
    """
    size = small.shape[1::-1]
    known = weight * (shrink(plate[1].astype(np.uint8) * 255, size) > 252)
    light = local_colour(small - unit(shrink(plate[0], size)), known, radius)
    left, reached = light[3].copy(), light[4]
    light[3], light[4] = (left < scatter) * reached, left
    return light


def local_colour(image: np.ndarray, weight: np.ndarray, radius: int) -> np.ndarray:
    """Compute weighted local statistics (5,h,w) float32: mean colour (3), summed variance, and 1 where it is known."""

    def smooth(plane: np.ndarray) -> np.ndarray:
        return box_mean(box_mean(plane, radius), radius)  # twice: a tent, so that pixels enter a window gradually

    total = smooth(weight)
    inverse = 1.0 / (total + 1e-6)
    r, g, b = (smooth(plane * weight) * inverse for plane in cv2.split(image))
    scatter = smooth(dot(image, image) * weight) * inverse - (r * r + g * g + b * b)
    return np.stack([r, g, b, np.maximum(scatter, 0.0), total > 2e-3])
