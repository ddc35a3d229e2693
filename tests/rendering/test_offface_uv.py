"""Test off-face UV against the closed formula of rays and sphere."""

import math

import cv2
import numpy as np
import pytest

from selfieavatar.rendering.offface_uv import _RIM, REACH, _rim_outwards_and_back, paint_hair

SIDE = 96
CAMERA = np.array([240.0, 50.0, 46.0])
SKULL = np.array([0.3, -3.0, 8.0, 9.0])
POSES = [
    ((0.0, 0.0, 0.0), (0.0, 0.0, 60.0)),
    ((0.1, -0.4, 0.1), (4.0, 4.0, 58.0)),
    ((-0.1, 0.4, 0.0), (-6.0, 3.0, 70.0)),
]


def painted(rotation, translation, face=None):
    uv = np.zeros((SIDE, SIDE, 3), np.uint16)
    face = np.zeros((SIDE, SIDE), bool) if face is None else face
    paint_hair(uv, face, CAMERA, cv2.Rodrigues(np.array(rotation))[0], np.array(translation), SKULL)
    return uv


@pytest.mark.parametrize(("rotation", "translation"), POSES)
def test_coordinates_are_those_of_rays_that_meet_the_skull(rotation, translation):
    turn = cv2.Rodrigues(np.array(rotation))[0]
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    rays = np.stack([(columns - CAMERA[1]) / CAMERA[0], (rows - CAMERA[2]) / CAMERA[0], np.ones((SIDE, SIDE))], -1)
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True) @ turn
    offset = -turn.T @ translation - SKULL[:3]
    along = rays @ offset
    under_root = along**2 - offset @ offset + SKULL[3] ** 2
    met = under_root > (0.35 * SKULL[3]) ** 2  # away from the rim
    direction = (offset + (-along - np.sqrt(np.maximum(under_root, 0)))[..., None] * rays) / SKULL[3]
    angle = np.arccos(np.clip(-direction[..., 2], -1, 1))
    towards = direction[..., :2] / np.linalg.norm(direction[..., :2], axis=-1, keepdims=True)
    wanted = 0.5 + towards * (angle / np.radians(230))[..., None]
    found = painted(rotation, translation)[..., :2] / 65535 * [1, 2]
    assert met.sum() > 1000
    np.testing.assert_allclose(found[met], wanted[met], atol=5e-5)
    near = np.sqrt(np.maximum(offset @ offset - along**2, 0)) < REACH * SKULL[3]
    np.testing.assert_array_equal(found[..., 1] > 0, near)


def test_a_strand_of_hair_keeps_its_coordinates_while_the_head_turns():
    direction = np.array([0.2, -0.6, -0.77])  # off the rim in all poses
    strand = SKULL[:3] + SKULL[3] * direction / np.linalg.norm(direction)
    seen = []
    for rotation, translation in POSES:
        point = cv2.Rodrigues(np.array(rotation))[0] @ strand + translation
        place = (CAMERA[0] * point[:2] / point[2] + CAMERA[1:] - 0.5).astype(np.float32)
        uv = painted(rotation, translation).astype(np.float32)
        seen.append(cv2.remap(uv, place[:1], place[1:], cv2.INTER_LINEAR)[0, 0])
    np.testing.assert_allclose(seen, np.broadcast_to(seen[0], (3, 3)), atol=65535 * 2e-3)


def test_the_face_is_left_alone_and_what_lies_behind_the_camera_is_not_drawn():
    face = np.random.default_rng(1).random((SIDE, SIDE)) < 0.5
    uv = painted(*POSES[0], face)
    assert not uv[face].any() and uv[~face].any()
    assert (uv[..., 1] < 32768).all() and not uv[..., 2].any()
    assert not painted((0.0, 0.0, 0.0), (300.0, 0.0, 60.0)).any()


def test_the_rim_s_series_are_sine_and_cosine():
    for away in np.linspace(_RIM, REACH, 31):
        angle = math.asin(_RIM) + away - _RIM
        assert _rim_outwards_and_back(away) == pytest.approx((math.sin(angle), math.cos(angle)), rel=0, abs=4e-16)
