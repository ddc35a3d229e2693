"""Eyeballs of a subject and the direction in which they look, from the iris landmarks."""

from __future__ import annotations

import numpy as np

from stages.face.camera import Camera, rotation_matrix
from stages.face.landmark_sets import LEFT_LIDS, RIGHT_LIDS

# Adults: eyeball radius 12.0 mm, iris radius 5.85 mm (Bekerman et al. 2014; Rufer et al. 2005): the ratio ties one to
# the other.
EYE_TO_IRIS = 12.0 / 5.85
_OWN_SHARE = 0.25  # of its departure from the common movement that each eye keeps
CLOSED_SHARE = 0.45  # an eye open less than this share of its usual opening hides the iris


def eye_opening(points: np.ndarray) -> np.ndarray:
    """(N, 2) opening of the left and right eye: mean distance between the lids over the outer eye corners' distance.

    Args:
        points: (N, 478, 2) px.
    """
    span = np.linalg.norm(points[:, 33] - points[:, 263], axis=1)
    openings = [
        np.mean([np.linalg.norm(points[:, up] - points[:, low], axis=1) for up, low in lids], axis=0)
        for lids in (LEFT_LIDS, RIGHT_LIDS)
    ]
    return np.stack(openings, 1) / span[:, None]


def iris_pixels(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Iris centres (N, 2, 2) px and radii (N, 2) px, left eye first; the centre is the mean of the point and its
    ring.
    """
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
    """Eyeball centres (2, 3), radii (2,) and the iris radius, all in cm, in the template.

    The usual place of the iris, carried into the template at the depth of the eye corners, is taken for looking
    straight ahead; the eyeball's centre lies behind it.

    Args:
        points: (N, 478, 2) px. rotation, translation: (N, 3) of the fitted frames. corners: (2, 2, 3) outer and inner
        corner
            of the left, then the right eye in the template, cm.
    """
    rotations = rotation_matrix(rotation)
    centres, radii = iris_pixels(points)
    opening = eye_opening(points)
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
) -> np.ndarray:  # fmt: skip
    """(N, 4) left yaw, left pitch, right yaw, right pitch, rad, relative to the head; yaw + to picture right, pitch +
    down.

    The ray through the iris meets the sphere on which the iris centre moves. A closed eye, or a frame without pose,
    is NaN. `usual` (2,) is how far the eyes are open as a rule (default: the median of the given frames).
    """
    rotations = rotation_matrix(np.nan_to_num(rotation))
    centres, _ = iris_pixels(points)
    opening = eye_opening(points)
    if usual is None:
        usual = np.nanmedian(opening, axis=0) if np.isfinite(opening).any() else np.ones(2)
    angles = []
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
    return np.concatenate(angles, 1)


def conjugate(gaze: np.ndarray) -> np.ndarray:
    """(N, 4) angles of `gaze_angles` with the noise of the two irises shared: eyes turn together (Hering's law).

    The usual difference between both, a squint or a near object, stays; of what departs from it each eye keeps a
    quarter. An eye whose iris is hidden follows the other; frames with both hidden stay NaN.
    """
    left, right = gaze[:, :2], gaze[:, 2:]
    both = np.isfinite(left) & np.isfinite(right)
    usual = np.array([np.median((left - right)[seen, k]) if seen.any() else 0.0 for k, seen in enumerate(both.T)])
    # Where each eye says that the common gaze is.
    said = np.stack([left - usual / 2, right + usual / 2])
    known = np.isfinite(said)
    common = np.where(known, said, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    own = np.where(known, said - common, 0)
    turned = common + _OWN_SHARE * own + np.stack([usual / 2, -usual / 2])[:, None]
    return np.concatenate(list(turned), axis=1)
