"""Test that the crop is square, in whole pixels, covers the head's motion and stays in the image if possible."""

import numpy as np
import pytest

from selfieavatar.video.crop import choose_crop, follow_face


def box(cx, cy, tall, wide=None):
    wide = wide or tall
    return [cx - wide / 2, cy - tall / 2, cx + wide / 2, cy + tall / 2]


def test_side_and_place_in_a_large_image():
    x0, y0, side = choose_crop(np.array([box(960, 500, 200)] * 10), (1920, 1080), 2.3)
    assert side == 460
    assert x0 + side / 2 == pytest.approx(960, abs=1)
    assert y0 + side / 2 == pytest.approx(530, abs=1)  # a little below the face, for the shoulders


def test_covers_the_motion_of_the_head_but_not_one_stray_frame():
    boxes = np.array([box(x, 500, 200) for x in np.linspace(700, 1200, 40)] + [box(100, 500, 200)])
    x0, _, side = choose_crop(boxes, (1920, 1080), 2.3)
    assert x0 <= 700 - 100 + 30 and x0 + side >= 1200 + 100 - 30
    assert x0 > 100


@pytest.mark.parametrize("size", [(512, 512), (511, 513), (720, 1280), (640, 360)])
def test_close_face_takes_the_shorter_side_and_stays_inside(size):
    tall = 0.6 * min(size)
    x0, y0, side = choose_crop(np.array([box(size[0] / 2, size[1] / 2, tall)]), size, 2.3)
    assert side % 2 == 0 and side >= min(size) - 1
    assert x0 >= 0 and y0 >= 0 and x0 + side <= size[0] and y0 + side <= size[1]


def test_hair_stays_in_when_the_crop_is_tight():
    """A portrait selfie: 2.3 face heights do not fit into the width."""
    tall = 465
    x0, y0, side = choose_crop(np.array([box(360, 560, tall)]), (720, 1280), 2.3)
    assert (x0, side) == (0, 720)
    assert y0 <= 560 - tall / 2 - 0.3 * tall
    assert y0 + side >= 560 + tall / 2 + 0.1 * tall


def test_reaches_outside_only_for_a_head_that_moves_further_than_the_image_is_tall():
    boxes = np.array([box(x, 240, 200) for x in np.linspace(200, 1000, 50)])
    x0, y0, side = choose_crop(boxes, (1200, 480), 2.3)
    assert side > 480
    assert y0 <= 0 and y0 + side >= 480
    assert x0 >= 0 and x0 + side <= 1200


def test_ignores_rows_without_a_face_and_wants_at_least_one():
    nothing = [np.nan] * 4
    assert choose_crop(np.array([nothing, box(500, 500, 100)]), (1000, 1000), 2) == (400, 415, 200)
    with pytest.raises(ValueError, match="no face box"):
        choose_crop(np.array([nothing]), (1000, 1000), 2)


def test_follows_one_of_two_people_although_the_other_is_larger_for_a_while():
    size = (1000, 500)
    frames = []
    for i in range(20):
        other = 160 if 8 <= i < 12 else 100
        frames.append(np.array([box(800, 250, other), box(450 + i, 250, 130)]))
    assert (follow_face(frames, size) == 1).all()


def test_frames_without_faces_are_minus_one():
    one = np.array([box(100, 100, 50)])
    none = np.empty((0, 4))
    assert follow_face([none, one, none, one], (200, 200)).tolist() == [-1, 0, -1, 0]
    assert follow_face([none], (200, 200)).tolist() == [-1]
