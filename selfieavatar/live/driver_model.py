"""Make a face model of somebody who was never tracked, from a second or two before the camera.

There is no time to learn how a new face moves. Its shape is measured, and it is taken to move as the avatar's person
does, in its own proportions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from selfieavatar.fitting.gaze import estimate_eyes
from selfieavatar.fitting.landmark_measures import mesh_inter_ocular_distance
from selfieavatar.fitting.landmark_solver import SolverSettings, fit_landmarks
from selfieavatar.fitting.personal_model import align_shapes
from selfieavatar.geometry.camera import Camera
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.model import MorphableModel


def driver_model(person: MorphableModel, points: np.ndarray, depth: np.ndarray, camera: Camera) -> MorphableModel:
    """Make a model of a driver's shape, proportions and eyes that moves as the avatar's person does.

    Args:
        person: model of the avatar, on MediaPipe's mesh. points: (N, 478, 2) px of the driver, as good as at rest.
        depth: (N, 478) px. camera: in the pixels of the points.
    """
    shapes = np.concatenate([points, depth[..., None]], axis=2)[:, : ls.FACE_VERTICES].astype(float)
    _, template = align_shapes(shapes)
    size = np.ptp(template, axis=0) / np.ptp(person.template, axis=0)
    model = replace(person, template=template.astype(np.float32), expression_basis=person.expression_basis * size)
    apart, eyes = np.zeros(len(points) - 1, bool), mesh_inter_ocular_distance(points)
    settings = SolverSettings(temporal=0.0)
    fit = fit_landmarks(model, camera, points, ls.landmark_weights(), eyes, apart, settings)
    good = np.isfinite(fit.error)
    corners = template[[[ls.LEFT_OUTER_CORNER, ls.LEFT_INNER_CORNER], [ls.RIGHT_OUTER_CORNER, ls.RIGHT_INNER_CORNER]]]
    centre, radius, iris = estimate_eyes(points[good], fit.rotation[good], fit.translation[good], camera, corners)
    centre, radius = centre.astype(np.float32), radius.astype(np.float32)
    return replace(model, eye_center=centre, eye_radius=radius, iris_radius=iris)
