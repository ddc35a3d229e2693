"""Eyeballs behind the lids, the discs of UV that show them, and the plane of the teeth.

Eyes. The mesh spans each eye opening with plain triangles (tri_part 1). Behind them an eyeball is ray-cast. In I_R it
is a white ball with a dark iris, clipped by the lids. In I_UV its points do not take the mesh's UV, which would be
fixed to the lids, but lie in a disc of their own in a corner of the UV square that the face leaves free: the disc's
centre is the point that the eye looks through, its rim lies 90 degrees off. So the learnt texture holds one iris, in
the middle of the disc, and it moves with the gaze and disappears under the lids by sampling alone. UV jumps at the
lids: sample it with nearest neighbours, or scale it up after the look-up, never before.

Mouth. Where a mesh closes the mouth by plain triangles (tri_part 2, and no teeth), their UV would squeeze the whole
inside of the mouth into whatever slit the lips leave, too fine for the pixels. In I_UV they hold the place at which the
line of sight meets a plane behind the lips that turns with the head, as the upper teeth do.
"""

from __future__ import annotations

import cv2
import numpy as np

from selfieavatar.morphable.model import MorphableModel
from selfieavatar.rendering.kernels import MOUTH, TEETH
from selfieavatar.rendering.raster_cpu import ZBuffer, uv_clip

_DISC_SEARCH_PX = 256
_DISC_LARGEST = 0.12
_DISC_SMALLEST = 0.03
# Free texels around a disc, in UV: the generator's convolutions and bilinear look-ups bleed over about this much.
_DISC_MARGIN = 0.015
_MOUTH_MARGIN = 0.004  # free texels around the mouth's disc, in UV
_MOUTH_REACH = 1.1  # radius of the mouth's disc over half the width of the closed mouth
_TEETH_CM = 0.7  # from the lips back to the teeth


def eyeballs(model: MorphableModel) -> np.ndarray:
    """Return the eyeballs (2, 5) float64, left eye first: centre and radius, cm, and sine of the iris's half angle."""
    eyes = np.ones((2, 5))
    eyes[:, :3] = np.asarray(model.eye_center, np.float64)
    eyes[:, 3] = np.maximum(np.asarray(model.eye_radius, np.float64), 1e-3)
    eyes[:, 4] = np.clip(model.iris_radius / eyes[:, 3], 0.05, 0.95)
    return eyes


def gaze_axes(gaze: np.ndarray) -> np.ndarray:
    """Return the axes (2, 3, 3) of both eyes, rows right, down, forward, in model axes.

    gaze (4,): left yaw, left pitch, right yaw, right pitch, rad; yaw turns towards image right, pitch towards image
    down; zero looks along -z, at the camera.
    """
    yaw, pitch = np.asarray(gaze, np.float64).reshape(2, 2).T
    zero = np.zeros(2)
    right = np.stack([np.cos(yaw), zero, np.sin(yaw)], axis=1)
    down = np.stack([-np.sin(yaw) * np.sin(pitch), np.cos(pitch), np.cos(yaw) * np.sin(pitch)], axis=1)
    forward = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], axis=1)
    return np.stack([right, down, forward], axis=1)


def mouth_plane(template: np.ndarray, uv: np.ndarray, tri: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the plane of the teeth behind the lips, (7,) float64.

    It is x, y of its middle and z in the model, UV per cm, and centre u, v and radius of the largest disc within the UV
    of the mouth. The radius is 0 where the mesh has teeth of its own, or no mouth.
    """
    inside = tri[part == MOUTH]
    if not len(inside) or (part == TEETH).any():
        return np.zeros(7)
    side = _DISC_SEARCH_PX
    buffer = ZBuffer((side, side), len(inside))
    buffer.draw(uv_clip(uv), inside)
    room = cv2.distanceTransform(np.pad((buffer.face_at >= 0).astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(np.argmax(room), room.shape)
    lips = template[np.unique(inside)]
    low, high = lips.min(0), lips.max(0)
    radius = room[row, column] / side - _MOUTH_MARGIN
    if radius <= 0 or high[0] <= low[0]:
        return np.zeros(7)
    middle, reach = (low + high) / 2, _MOUTH_REACH * (high[0] - low[0]) / 2
    u, v = (column - 0.5) / side, (row - 0.5) / side
    return np.array([*middle[:2], middle[2] + _TEETH_CM, radius / reach, u, v, radius])


def eye_discs(uv: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Find two discs of the UV square that no triangle touches: (2, 3) float64 centre u, v and radius.

    The left eye gets the one with the larger u. The radius is 0 for both when the layout has no room for two discs of
    3 % of its side; the eye openings then keep the UV of the mesh.
    """
    side = _DISC_SEARCH_PX
    buffer = ZBuffer((side, side), len(tri))
    buffer.draw(uv_clip(uv), tri)
    free = np.pad((buffer.face_at < 0).astype(np.uint8), 1)
    discs = np.zeros((2, 3))
    rows, columns = np.mgrid[: side + 2, : side + 2]
    for index in range(2):
        room = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # The nearest place to a corner wins among equals, so the result does not hang on rounding.
        place = np.unravel_index(np.argmax(np.minimum(room, side * (_DISC_LARGEST + _DISC_MARGIN))), room.shape)
        radius = min(room[place] / side - _DISC_MARGIN, _DISC_LARGEST)
        if radius < _DISC_SMALLEST:
            return np.zeros((2, 3))
        discs[index] = (place[1] - 0.5) / side, (place[0] - 0.5) / side, radius
        taken = (columns - place[1]) ** 2 + (rows - place[0]) ** 2 <= ((radius + _DISC_MARGIN) * side) ** 2
        free[taken] = 0
    return discs[np.argsort(-discs[:, 0], kind="stable")]
