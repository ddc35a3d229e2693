"""Measures of a face: against OpenCV's areas, and against a head that turns."""

import cv2
import numpy as np
import pytest

from selfieavatar.fitting.landmark_measures import (
    inter_ocular_distance,
    lid_area,
    lid_opening,
    mesh_inter_ocular_distance,
    outer_eye_distance,
)
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers


@pytest.mark.parametrize("measure", [inter_ocular_distance, mesh_inter_ocular_distance])
def test_the_distance_of_the_eyes_does_not_shrink_much_in_profile(measure):
    rotation = np.stack([np.zeros(41), np.linspace(-0.9, 0.9, 41), np.zeros(41)], 1)
    points, _ = makers.landmarks(makers.model(), rotation, np.tile([0, 0, 90.0], (41, 1)), np.zeros((41, 4)))
    eyes = np.linalg.norm(points[:, 33] - points[:, 263], axis=1)
    np.testing.assert_array_equal(outer_eye_distance(points), eyes)
    distance = measure(points)
    assert distance.min() / distance.max() > eyes.min() / eyes.max() and (distance >= eyes).all()


def test_openings_of_lids_that_close():
    expression = np.zeros((3, 4))
    expression[:, 0] = 0.0, 0.3, 0.6
    points, _ = makers.landmarks(makers.model(), np.zeros((3, 3)), np.tile([0, 0, 90.0], (3, 1)), expression)
    distance = outer_eye_distance(points)
    areas = lid_area(points, distance)
    for eye, ring in enumerate((ls.LEFT_EYE, ls.RIGHT_EYE)):
        expected = [cv2.contourArea(frame[list(ring)].astype(np.float32)) for frame in points]
        np.testing.assert_allclose(areas[:, eye] * distance**2, expected, rtol=1e-4)
    assert (np.diff(areas, axis=0) < 0).all() and (np.diff(lid_opening(points), axis=0) < 0).all()
