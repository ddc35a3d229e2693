"""Blur of known Gaussians and smears, brightness, exposure and teeth of drawn faces."""

import cv2
import numpy as np
import pytest

from selfieavatar.footage.face_image import UNKNOWN, edge_blur, face_image, face_softness
from selfieavatar.morphable.landmark_sets import IBUG, landmark_set

KIND = landmark_set(IBUG)


def checks(size=256, square=32):
    """Edges along both axes, far apart."""
    at = np.arange(size) // square % 2
    return np.where(at[:, None] ^ at, 0.8, 0.2).astype(np.float32)


def eight_bits(grey):
    return np.rint(grey * 255).astype(np.float32) / 255


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_a_known_gaussian_is_measured(sigma):
    blurred = eight_bits(cv2.GaussianBlur(checks(), (0, 0), sigma))
    assert edge_blur(blurred, np.ones((256, 256), bool)) == pytest.approx(sigma, rel=0.12)


def test_motion_along_either_axis_is_blur():
    sharp = cv2.GaussianBlur(checks(), (0, 0), 0.7)
    everywhere = np.ones((256, 256), bool)
    found = [edge_blur(cv2.blur(sharp, size), everywhere) for size in ((1, 1), (5, 1), (1, 5), (10, 1))]
    assert found[0] == pytest.approx(0.7, abs=0.2)
    assert found[1] == pytest.approx(found[2], rel=0.05) and found[1] > 2 * found[0] and found[3] > 2 * found[1]


def test_without_an_edge_nothing_is_known():
    assert np.isnan(edge_blur(np.full((64, 64), 0.5, np.float32), np.ones((64, 64), bool)))


def landmarks(size, at=(0.5, 0.5), mouth=0.02):
    """68 points of a round face of half the image's size; mouth: half the opening of the inner lips, share of it."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * 0.25
    points[[36, 45]] = [[-0.15, -0.08], [0.15, -0.08]]
    ring = np.linspace(np.pi, -np.pi, 8, endpoint=False)
    points[60:68] = np.stack([0.1 * np.cos(ring), 0.12 - mouth * np.sin(ring)], 1)
    return (points + at) * size


def drawn(size, points, skin=(190, 140, 120), between=None, side=None):
    """A plain face on a dark ground, with what lies between the lips, and one side brightened."""
    image = np.full((size, size, 3), 40, np.uint8)
    cv2.fillConvexPoly(image, cv2.convexHull(points.round().astype(np.int32)), skin)
    if side:
        image[:, size // 2 :] = np.where(image[:, size // 2 :] > 45, np.uint8(side), image[:, size // 2 :])
    if between:
        cv2.fillPoly(image, [points[60:68].round().astype(np.int32)], between)
    return image


def test_the_face_is_measured_and_not_its_ground():
    points = landmarks(200)
    found = face_image(drawn(200, points, skin=(128, 128, 128)), points, KIND)
    assert found.brightness == pytest.approx(128 / 255, abs=0.01) and found.clipped == 0
    assert found.left == pytest.approx(found.right) == pytest.approx(128 / 255, abs=0.01)
    white = face_image(drawn(200, points, skin=(255, 200, 180)), points, KIND)
    assert white.clipped > 0.97
    dark = face_image(drawn(200, points, skin=(4, 4, 4)), points, KIND)
    assert dark.clipped > 0.97


def test_sides_are_those_of_the_image():
    points = landmarks(200)
    found = face_image(drawn(200, points, skin=(100, 100, 100), side=150), points, KIND)
    assert found.left == pytest.approx(100 / 255, abs=0.01) and found.right == pytest.approx(150 / 255, abs=0.01)


@pytest.mark.parametrize("size", [64, 128, 512])
@pytest.mark.parametrize(
    ("mouth", "between", "seen"),
    [(0.04, (220, 215, 205), 1), (0.04, (30, 15, 15), 0), (0.04, (180, 60, 70), 0), (0.0, (220, 215, 205), 0)],
    ids=["teeth", "dark", "tongue", "closed"],
)
def test_teeth_are_bright_and_grey(size, mouth, between, seen):
    points = landmarks(size, mouth=mouth)
    assert face_image(drawn(size, points, between=between), points, KIND).teeth == seen


def test_softness_of_a_face_does_not_depend_on_the_size_of_the_image():
    points = landmarks(512)
    rng = np.random.default_rng(0)
    image = drawn(512, points)
    for x, y in rng.uniform(170, 300, (6, 2)).astype(int):
        cv2.rectangle(image, (x, y), (x + 45, y + 45), tuple(int(v) for v in rng.integers(30, 220, 3)), -1)
    image = cv2.GaussianBlur(image, (0, 0), 4)
    small = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    large = face_softness(image, points)
    height = np.ptp(points[:, 1])
    assert large == pytest.approx(4 / height, rel=0.25)
    assert face_softness(small, points / 2) == pytest.approx(large, rel=0.1)


def test_frames_without_a_face_are_not_known():
    image = np.zeros((64, 64, 3), np.uint8)
    for points in (np.full((68, 2), np.nan), landmarks(64, at=(3, 3))):
        assert np.isnan(face_image(image, points, KIND)).all()
    assert np.isnan(UNKNOWN).all()
