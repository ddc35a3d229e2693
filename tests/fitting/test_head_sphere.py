"""The head sphere is found again from outlines of spheres, shoulders and raised hands notwithstanding."""

import cv2
import numpy as np
import pytest

from selfieavatar.fitting.head_sphere import learn_head_sphere
from selfieavatar.geometry.camera import Camera

SIDE = 200
CAMERA = Camera(500.0, (104.0, 96.0), SIDE)
TEMPLATE = np.array([[-7.5, 0, 5.5], [7.5, 0, 5.5], [0, -5.5, 0], [0, 11.5, -4.0]])
TRUTH = np.array([0.0, -3.5, 9.0, 8.8])
ROTATION = np.array([[0.1 * np.sin(k), 0.6 * np.cos(1.3 * k), 0.1 * np.cos(k)] for k in range(12)])
TRANSLATION = np.array([[2 * np.sin(k), 3.0 + np.cos(k), 65.0 + k] for k in range(12)])


def matte(rotation, translation, hand=False):
    """A sphere over shoulders."""
    centre = cv2.Rodrigues(rotation)[0] @ TRUTH[:3] + translation
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    x, y = (columns - 104.0) / 500.0, (rows - 96.0) / 500.0
    along = (centre[0] * x + centre[1] * y + centre[2]) / np.sqrt(x**2 + y**2 + 1)
    head = centre @ centre - along**2 < TRUTH[3] ** 2
    shoulders = (rows > 165) | (hand & (columns < 40) & (rows > 60))
    return 255 * (head | shoulders | ((np.abs(columns - 104) < 25) & (rows > 120))).astype(np.uint8)


@pytest.mark.parametrize("hand", [False, True])
def test_the_head_sphere_is_found_again(hand):
    poses = zip(ROTATION, TRANSLATION, strict=True)
    mattes = np.array([matte(*pose, hand and k % 4 == 0) for k, pose in enumerate(poses)])
    found = learn_head_sphere(TEMPLATE, CAMERA, ROTATION, TRANSLATION, mattes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, TRUTH, atol=0.5)


@pytest.mark.parametrize("level", [0, 255])
def test_without_an_outline_there_is_no_head_sphere(level):
    mattes = np.full((12, SIDE, SIDE), level, np.uint8)
    assert learn_head_sphere(TEMPLATE, CAMERA, ROTATION, TRANSLATION, mattes) is None


def test_the_outline_of_something_else_is_no_head_sphere():
    mattes = np.zeros((12, SIDE, SIDE), np.uint8)
    for image in mattes:
        cv2.circle(image, (104, 110), 12, 255, -1)
    assert learn_head_sphere(TEMPLATE, CAMERA, ROTATION, TRANSLATION, mattes) is None


def test_without_frames_there_is_no_head_sphere():
    assert (
        learn_head_sphere(TEMPLATE, CAMERA, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, SIDE, SIDE), np.uint8))
        is None
    )
