"""Test the detection of repeated frames and of a moving camera."""

import cv2
import numpy as np
import pytest

from selfieavatar.video.stillness import background_shift, image_difference, is_static, repeated_frames


def test_repeats_of_a_25_fps_recording_in_a_30_fps_file():
    rng = np.random.default_rng(0)
    base = cv2.GaussianBlur(rng.integers(0, 256, (300, 300), dtype=np.uint8), (0, 0), 6)
    mean, largest, before = [], [], None
    for i in range(60):
        shown = i - i // 6  # every sixth shows its predecessor again
        image = np.roll(base, 2 * shown, axis=1)[:256, :256]
        image = image + (rng.random((256, 256)) < 0.05).astype(np.uint8)  # noise of the codec
        change = (0.0, 0.0) if before is None else image_difference(image, before)
        mean.append(change[0])
        largest.append(change[1])
        before = image
    assert np.flatnonzero(repeated_frames(np.array(mean), np.array(largest))).tolist() == list(range(6, 60, 6))


def test_sitting_still_is_no_repeat_and_a_frozen_image_is():
    still = np.full(50, 0.25)
    assert not repeated_frames(still, np.full(50, 0.8)).any()
    assert repeated_frames(np.zeros(50), np.zeros(50))[1:].all()


def test_a_blink_in_a_still_image_is_no_repeat():
    before = np.full((256, 256), 120, dtype=np.uint8)
    now = before.copy()
    now[100:106, 100:116] = 60
    mean, largest = image_difference(now, before)
    assert not repeated_frames(np.array([0, 0, mean, 0]), np.array([0, 0, largest, 0]))[2]


@pytest.mark.parametrize("shift, static", [(0, True), (3, False), (60, False)])
def test_camera(shift, static):
    rng = np.random.default_rng(1)
    wall = cv2.GaussianBlur(rng.integers(0, 256, (400, 800), dtype=np.uint8), (0, 0), 2)
    wall = cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX)
    images, masks = [], []
    for i in range(8):
        image = wall[50:306, 50 + shift * i : 306 + shift * i].copy()
        image[80:, 90 + 3 * i : 170 + 3 * i] = rng.integers(0, 256, (176, 80))  # a person who moves
        mask = np.ones((256, 256), dtype=bool)
        mask[70:, 80 + 3 * i : 180 + 3 * i] = False
        images.append(image)
        masks.append(mask)
    assert is_static(images, masks) is static


def test_flat_wall_counts_as_static_and_no_background_does_not():
    flat = [np.full((256, 256), 128, dtype=np.uint8)] * 4
    assert is_static(flat, [np.ones((256, 256), dtype=bool)] * 4)
    assert not is_static(flat, [np.zeros((256, 256), dtype=bool)] * 4)


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.5])
def test_background_shift_equals_the_applied_one(shift):
    rng = np.random.default_rng(2)
    wall = cv2.GaussianBlur(rng.integers(0, 256, (256, 256), dtype=np.uint8), (0, 0), 3)
    wall = cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX)
    matrix = np.array([[1, 0, 0.6 * shift], [0, 1, 0.8 * shift]])
    moved = cv2.warpAffine(wall, matrix, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    moved[100:, 90:170] = rng.integers(0, 256, (156, 80))  # a person
    common = np.ones((256, 256), dtype=bool)
    common[90:, 80:180] = False
    assert background_shift(wall, moved, common) == pytest.approx(shift, abs=0.1)


def test_shift_is_infinite_for_another_wall_and_nan_for_a_flat_one():
    rng = np.random.default_rng(3)
    everywhere = np.ones((256, 256), dtype=bool)
    one, other = (cv2.GaussianBlur(rng.integers(0, 256, (256, 256), dtype=np.uint8), (0, 0), 2) for _ in range(2))
    one, other = (cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX) for wall in (one, other))
    assert background_shift(one, other, everywhere) == np.inf
    assert np.isnan(background_shift(np.full_like(one, 128), other, everywhere))
