"""The shift of a made-up torso, a striped shirt under a head, is found to a fraction of a pixel."""

import cv2
import numpy as np
import pytest

from selfieavatar.fitting.torso import TORSO_PX, fill_nearest, follow_torso, learn_torso, small
from selfieavatar.identity import Torso
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, landmark_set

SIDE = 256
CHIN = 0.6  # rows, as a share of the side
KIND = landmark_set(MEDIAPIPE)


def person(shift_px=(0.0, 0.0), head_px=0.0, light=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Image (S, S, 3) and matte: background, shirt with a dark collar at a shift, head at another."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    shirt = (rows > 0.7 * SIDE + 0.002 * (columns - 128) ** 2).astype(np.float32)
    pattern = cv2.GaussianBlur(np.random.default_rng(5).normal(size=(SIDE, SIDE)).astype(np.float32), (0, 0), 5)
    cloth = shirt * (120 + 40 * pattern / pattern.std())
    move = np.float32([[1, 0, shift_px[0]], [0, 1, shift_px[1]]])
    shirt, cloth = (cv2.warpAffine(v, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE) for v in (shirt, cloth))
    head = ((columns - 128 - head_px) ** 2 + (rows - 90) ** 2 < 55**2).astype(np.float32)
    grey = light * np.where(head > 0, 180, shirt * cloth + (1 - shirt) * 40)
    matte = np.maximum(shirt, head)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2), (255 * matte).astype(np.uint8)


def landmarks(count: int = 1, chin: float = CHIN) -> np.ndarray:
    """(N, 478, 2), shares of the side: an outline and eye corners; the rest in the middle."""
    points = np.full((count, KIND.count, 2), 0.4)
    angle = np.linspace(0, 2 * np.pi, len(KIND.regions["oval"]))
    points[:, list(KIND.regions["oval"])] = np.stack([0.5 + 0.2 * np.sin(angle), chin - 0.25 + 0.25 * np.cos(angle)], 1)
    points[:, list(KIND.outer_eyes)] = [[0.4, 0.35], [0.6, 0.35]]
    return points


def reference() -> Torso:
    image, matte = person()
    return learn_torso(image[None], matte[None], landmarks(), KIND)


def test_shifts_are_found_whatever_head_and_light_do():
    shifts = np.array([(0, 0), (3.0, 1.0), (6.5, 3.0), (2.0, -4.5), (-7.0, 0.5)])
    frames = [person(s, head_px=-10 + 5 * i, light=1 - 0.08 * i)[0] for i, s in enumerate(shifts)]
    found = follow_torso(reference(), [small(frame) for frame in frames])
    np.testing.assert_allclose(SIDE * found, shifts, atol=0.3)


def test_what_hides_the_torso_is_not_known_and_drawn_as_it_was_nearby():
    frames = [small(person((4 * i, 0))[0]) for i in range(4)]
    frames[1] = np.random.default_rng(0).integers(0, 255, frames[1].shape, np.uint8)
    found = follow_torso(reference(), frames)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(SIDE * found[[0, 2, 3], 0], [0, 8, 12], atol=0.3)
    np.testing.assert_array_equal(fill_nearest(found), found[[0, 0, 2, 3]])
    np.testing.assert_array_equal(fill_nearest(np.full((3, 2), np.nan)), np.zeros((3, 2)))


def test_a_torso_far_off_is_found_at_once_and_after_a_cut():
    shifts = np.array([(44.0, 8.0), (42.0, 8.0), (-40.0, -6.0), (-41.0, -6.0)])
    found = follow_torso(reference(), [small(person(shift)[0]) for shift in shifts])
    np.testing.assert_allclose(SIDE * found, shifts, atol=0.5)


def test_the_reference_is_a_frame_that_shows_the_torso():
    images, mattes = map(np.stack, zip(*(person((i, 0)) for i in range(5)), strict=True))
    points = landmarks(5)
    points[[0, 1, 3, 4], :, 0] += [[0.001], [0.001], [0.001], [0.001]]  # the third is the most usual ...
    images[2] = np.random.default_rng(0).integers(0, 255, images[2].shape, np.uint8)  # ... but hidden
    found = learn_torso(images, mattes, points, KIND).image
    assert any(np.array_equal(found, small(images[i])) for i in (0, 1, 3, 4))


def test_a_clip_that_never_shows_the_torso_has_no_shift():
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (TORSO_PX, TORSO_PX), np.uint8) for _ in range(3)]
    assert np.isnan(follow_torso(reference(), noise)).all()
    assert np.isnan(follow_torso(reference(), [np.zeros((TORSO_PX, TORSO_PX), np.uint8)])).all()


def test_the_reference_lies_below_the_chin():
    image, matte = person()
    found = learn_torso(image[None], matte[None], landmarks(), KIND)
    assert found.top == pytest.approx(CHIN, abs=1e-6)
    np.testing.assert_array_equal(found.image, small(image))
    rows = np.flatnonzero(found.mask.any(1))
    assert rows[0] >= TORSO_PX * CHIN and rows[-1] == TORSO_PX - 1


def test_a_face_that_fills_the_image_has_no_torso():
    image, matte = person()
    assert learn_torso(image[None], matte[None], landmarks(chin=0.99), KIND) is None
