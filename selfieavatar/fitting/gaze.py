"""Eyeballs of a subject and the direction in which they look, from the iris landmarks."""

from __future__ import annotations

import numpy as np

from selfieavatar.fitting.landmark_measures import lid_opening
from selfieavatar.geometry.camera import Camera, rotation_matrix

# Adults: eyeball radius 12.0 mm, iris radius 5.85 mm (Bekerman et al. 2014; Rufer et al. 2005): the ratio ties one to
# the other.
EYE_TO_IRIS = 12.0 / 5.85
CLOSED_SHARE = 0.45  # an eye open less than this share of its usual opening hides the iris
_OPEN_SHARE = 0.8  # one open at least so far shows it; in between lids cover a part, and the detector guesses the rest
# Eyes turn by up to 45 degrees to the sides and 28 up (Lee et al., Eye 33, 2019), but people turn their heads before:
# sideways 35 are the most that is usual (LaValle, Virtual Reality, 5.3). Down they could go further than up, but then
# lids hide the iris.
RANGE = np.radians([35.0, 28.0])  # yaw and pitch
# Squared error of one wide open eye seen from ahead (some 5 degrees: benchmarks/results/fit.md) over that of a guess
# that the eyes look straight ahead.
_PRIOR = (5.0 / 29.0) ** 2
_OWN_SHARE = 0.15  # of its departure from the common movement that each eye keeps
_SEEN_WELL = 0.75  # weight of eyes whose difference is believed
_FEW_FRAMES = 10  # seen well, after which the usual difference of the eyes is half believed


def iris_pixels(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Locate the irises: centres (N, 2, 2) px, the mean of point and ring, and radii (N, 2) px, left eye first."""
    centres, radii = [], []
    for first in (473, 468):
        ring = points[:, first + 1 : first + 5]
        centre = 0.5 * points[:, first] + 0.5 * ring.mean(1)
        centres.append(centre)
        radii.append(np.linalg.norm(ring - centre[:, None], axis=2).mean(1))
    return np.stack(centres, 1), np.stack(radii, 1)


def estimate_eyes(
    points: np.ndarray, rotation: np.ndarray, translation: np.ndarray, camera: Camera, corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Estimate eyeball centres (2, 3), radii (2,) and the iris radius, all in cm, in the template.

    The usual place of the iris, carried into the template at the depth of the eye corners, is taken for looking
    straight ahead; the eyeball's centre lies behind it.

    Args:
        points: (N, 478, 2) px. rotation, translation: (N, 3) of the fitted frames. camera: in the pixels of `points`.
        corners: (2, 2, 3) outer and inner corner of the left, then the right eye in the template, cm.
    """
    rotations = rotation_matrix(rotation)
    centres, radii = iris_pixels(points)
    opening = lid_opening(points)
    is_open = opening > CLOSED_SHARE * np.median(opening, axis=0)
    rays = camera.rays(centres)  # (N, 2, 3)
    middle = corners.mean(1)  # (2, 3)
    places, sizes = [], []
    for eye in range(2):
        chosen = is_open[:, eye] if is_open[:, eye].any() else np.ones(len(points), bool)
        origin = -np.einsum("nji,nj->ni", rotations[chosen], translation[chosen])  # the camera, in the template
        ray = np.einsum("nji,nj->ni", rotations[chosen], rays[chosen, eye])
        # The cornea stands a little before the plane of the corners.
        along = (middle[eye, 2] - 0.25 - origin[:, 2]) / ray[:, 2]
        places.append(np.median(origin + along[:, None] * ray, axis=0))
        depth = (middle[eye] @ np.swapaxes(rotations[chosen], 1, 2) + translation[chosen])[:, 2]
        sizes.append(np.median(radii[chosen, eye] * depth / camera.focal_px))
    iris = float(np.clip(np.mean(sizes), 0.4, 0.75))
    radius = np.full(2, EYE_TO_IRIS * iris)
    centre = np.stack(places)
    centre[:, 2] += np.sqrt(radius**2 - iris**2)
    return centre, radius, iris


def gaze_angles(
    points: np.ndarray, rotation: np.ndarray, translation: np.ndarray, camera: Camera, eye_center: np.ndarray,
    eye_radius: np.ndarray, iris_radius: float, usual: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Intersect the ray through each iris with the sphere that its centre moves on; weigh what that tells.

    Where the ray meets the sphere at a flat angle, as of
    an eye that looks aside in a turned head, a pixel is many degrees; half-closed lids hide where the iris is.

    Args:
        points: (N, 478, 2) px. rotation, translation: (N, 3). eye_center: (2, 3) cm. eye_radius: (2,) cm.
        iris_radius: cm. usual: (2,) how far the eyes are open as a rule (default: the median of the given frames).

    Returns:
        angles (N, 4) left yaw, left pitch, right yaw, right pitch, rad, relative to the head; yaw + to image right,
        pitch + down; a closed eye, or a frame without pose, is NaN. weight (N, 4) in [0, 1], the inverse of the squared
        error that an error of the iris' place makes of each angle: 1 is a wide open eye seen from ahead, NaN has 0.
    """
    rotations = rotation_matrix(np.nan_to_num(rotation))
    centres, _ = iris_pixels(points)
    opening = lid_opening(points)
    if usual is None:
        usual = np.nanmedian(opening, axis=0) if np.isfinite(opening).any() else np.ones(2)
    shown = np.clip((opening / usual - CLOSED_SHARE) / (_OPEN_SHARE - CLOSED_SHARE), 0, 1)
    angles, weights = [], []
    for eye in range(2):
        centre = np.einsum("nij,j->ni", rotations, eye_center[eye]) + translation
        ray = camera.rays(centres[:, eye])
        reach = np.sqrt(max(eye_radius[eye] ** 2 - iris_radius**2, 1e-6))
        along = (ray * centre).sum(1)
        miss2 = (centre**2).sum(1) - along**2
        along = along - np.sqrt(np.maximum(reach**2 - miss2, 0))
        direction = np.einsum("nji,nj->ni", rotations, along[:, None] * ray - centre)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        pair = np.stack([np.arctan2(direction[:, 0], -direction[:, 2]), np.arcsin(np.clip(direction[:, 1], -1, 1))], 1)
        pair[~(opening[:, eye] > CLOSED_SHARE * usual[eye])] = np.nan
        angles.append(pair)
        weights.append(shown[:, eye, None] * _seen_from_ahead(direction, np.einsum("nji,nj->ni", rotations, ray)))
    found = np.concatenate(angles, 1)
    return found, np.where(np.isfinite(found), np.concatenate(weights, 1), 0.0)


def _seen_from_ahead(direction: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """Compute the squared share (N, 2) of a small turn of the eye in yaw and in pitch that shows in the image.

    Args:
        direction, ray: (N, 3) unit vectors in the head: where the eye looks, and the camera's ray to it.
    """
    right = np.stack([-direction[:, 2], np.zeros(len(direction)), direction[:, 0]], axis=1)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-9)
    down = np.cross(right, direction)
    return np.stack([1 - (axis * ray).sum(1) ** 2 for axis in (right, down)], axis=1)


def conjugate(gaze: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Estimate the most likely gaze (N, 4), rad, of both eyes from angles and weights (N, 4) of `gaze_angles`.

    Eyes turn together (Hering's law): the common gaze is the weighted mean of both, drawn a little towards straight
    ahead, the less the irises tell, and within `RANGE`. The usual difference between both, a squint or a near object,
    stays; of what departs from it each eye keeps a seventh. An eye whose iris is hidden follows the other. Frames that
    tell less than the guess that people look straight ahead, such as those with both eyes closed, are NaN.
    """
    angles = gaze.reshape(-1, 2, 2)  # frame, eye, yaw and pitch
    weight = np.where(np.isfinite(angles), weight.reshape(-1, 2, 2), 0.0)
    half = np.array([[0.5], [-0.5]]) * _usual_difference(angles, weight)
    said = np.where(weight > 0, angles - half, 0.0)  # where each eye says that the common gaze is
    total = weight.sum(1)
    common = (weight * said).sum(1) / (total + _PRIOR)
    common[total <= _PRIOR] = np.nan
    own = weight * (said - common[:, None])
    return np.clip(common[:, None] + _OWN_SHARE * own + half, -RANGE, RANGE).reshape(-1, 4)


def _usual_difference(angles: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the usual left minus right (2,), rad, of angles (N, 2, 2) with weights, among eyes that are seen well."""
    seen = (weight > _SEEN_WELL).all((1, 2))
    if not seen.any():
        return np.zeros(2)
    return np.median(angles[seen, 0] - angles[seen, 1], axis=0) * seen.sum() / (seen.sum() + _FEW_FRAMES)
