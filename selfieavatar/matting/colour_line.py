"""Estimate alpha by projection onto the colour line between the local foreground and background colours.

alpha = (I - B).(F - B) / |F - B|^2, the least-squares solution of the compositing equation I = alpha F + (1 - alpha) B
for known F and B. It resolves single hairs before a plain wall. It is unreliable where F and B are alike or scatter, so
it comes with a confidence.
"""

from __future__ import annotations

import cv2
import numpy as np

from selfieavatar.matting.guided import box_mean, dot, enlarge_at, linear, pixels, shrink, unit

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
    near, scatter_near, seen_near = _local_colour(small, unit(shrink(person, size)), radius)
    far, scatter_far, seen_far = _local_colour(small, weight, 2 * radius)
    seen = (seen_near & seen_far).astype(np.float32)
    if plate is None:
        # All inputs are smooth: the line itself can be computed on the coarse grid.
        model = _line_model(near, far, scatter_near, scatter_far, seen)
        slope, rest = (enlarge_at(part, full, where) for part in model)
    else:
        shift, use, left = _plate_colour(small, weight, scatter_far, plate, 2 * radius)
        # Upsample the coarse colours at the unknown pixels.
        coarse = [near, far, shift, cv2.merge([scatter_near, scatter_far, seen]), cv2.merge([use, left])]
        near, far, shift, scatters, facts = (enlarge_at(part, full, where)[:, None] for part in coarse)
        share = facts[..., :1] * plate[1].reshape(-1)[where][:, None, None]
        far += share * (pixels(plate[0], where)[:, None] + shift - far)
        scatters[..., 1:2] += share * (facts[..., 1:] - scatters[..., 1:2])
        slope, rest = (part[:, 0] for part in _line_model(near, far, *cv2.split(scatters)))
    offset, confidence, confidence_far, noise = rest.T
    alpha = np.clip(linear(slope, offset, pixels(guide, where)), 0.0, 1.0)
    return alpha, confidence + _foreground_weight(alpha) * (confidence_far - confidence), noise


def _line_model(
    near: np.ndarray, far: np.ndarray, scatter_near: np.ndarray, scatter_far: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit alpha as a linear function of colour.

    Returns its slope (h,w,3) and (h,w,4) of offset, confidence, confidence that it is foreground, and noise.
    """
    line = near - far
    length = dot(line, line)
    # Contrast to noise: below about two standard deviations the position on the line is unreliable.
    known = (seen > 0.99).astype(np.float32)
    confidence, confidence_far = (
        _smoothstep(length / (length + 4.0 * scatter + 0.004), 0.5, 0.8) * known
        for scatter in (scatter_near + scatter_far, scatter_far)
    )
    inverse = 1.0 / (length + 1e-5)
    noise = 3.0 * np.sqrt(scatter_far * inverse)
    return line * cv2.merge([inverse] * 3), cv2.merge([-dot(line, far) * inverse, confidence, confidence_far, noise])


def _smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Interpolate smoothly from 0 at `low` to 1 at `high`."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def _foreground_weight(alpha: np.ndarray) -> np.ndarray:
    """Weigh colours at the person's end of the line, where the scatter of the person's colours is irrelevant."""
    return _smoothstep(alpha, 0.7, 1.0)


def _plate_colour(
    small: np.ndarray, weight: np.ndarray, scatter: np.ndarray, plate: Plate, radius: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure how well the plate explains the local background, on the coarse grid.

    Returns:
        change of light against the plate (h,w,3); 1 where the plate leaves less scatter than the local mean colour
        (h,w); and that scatter (h,w).
    """
    size = small.shape[1::-1]
    known = weight * (shrink(plate[1].astype(np.uint8) * 255, size) > 252)
    backdrop = unit(shrink(plate[0], size))
    shift, left, reached = _local_colour(small - backdrop, known, radius)
    return shift, ((left < scatter) & reached).astype(np.float32), left


def _local_colour(image: np.ndarray, weight: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute weighted local statistics: mean colour (h,w,3), summed variance (h,w), known (h,w) bool."""

    def smooth(plane: np.ndarray) -> np.ndarray:
        return box_mean(box_mean(plane, radius), radius)  # twice: a tent, so that pixels enter a window gradually

    total = smooth(weight)
    inverse = 1.0 / (total + 1e-6)
    mean = cv2.merge([smooth(plane * weight) * inverse for plane in cv2.split(image)])
    scatter = smooth(dot(image, image) * weight) * inverse - dot(mean, mean)
    return mean, np.maximum(scatter, 0.0), total > 2e-3
