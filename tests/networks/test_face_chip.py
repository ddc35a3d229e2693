"""Faces cut out for dlib's network: where they lie, what is averaged, and where gradients go."""

import pytest
import torch

from selfieavatar.networks.face_chip import CHIP_PX, CHIP_SCALE, face_chips, face_squares


def faces(*boxes, side=64):
    """Masks (B,1,side,side) of boxes (x0, y0, x1, y1) in px; None has none."""
    masks = torch.zeros(len(boxes), 1, side, side)
    for mask, box in zip(masks, boxes, strict=True):
        if box:
            mask[0, box[1] : box[3], box[0] : box[2]] = 0.25
    return masks


def test_squares_follow_the_box_of_each_face():
    squares = face_squares(faces((10, 12, 30, 42), None, (0, 0, 64, 16)))
    assert squares[:, 0].tolist() == [0, 2]
    for square, (x, y), longer in zip(squares, ((20, 27), (32, 8)), (30, 64), strict=True):
        side = CHIP_SCALE * longer
        assert (square[3:] - square[1:3]).tolist() == pytest.approx([side, side])
        assert ((square[1:3] + square[3:]) / 2).tolist() == pytest.approx([x, y])
    assert face_squares(faces(None, None)).shape == (0, 5)
    assert face_chips(torch.rand(2, 3, 64, 64), face_squares(faces(None, None))).shape == (0, 3, CHIP_PX, CHIP_PX)


def test_a_square_of_the_chip_s_size_is_copied_and_a_larger_one_averaged():
    image = torch.rand(1, 3, 310, 310, generator=torch.Generator().manual_seed(0))
    copied = face_chips(image, torch.tensor([[0.0, 20, 30, 20 + CHIP_PX, 30 + CHIP_PX]]))
    torch.testing.assert_close(copied, image[:, :, 30 : 30 + CHIP_PX, 20 : 20 + CHIP_PX])
    halved = face_chips(image, torch.tensor([[0.0, 4, 6, 4 + 2 * CHIP_PX, 6 + 2 * CHIP_PX]]))
    mean = torch.nn.functional.avg_pool2d(image[:, :, 6 : 6 + 2 * CHIP_PX, 4 : 4 + 2 * CHIP_PX], 2)
    torch.testing.assert_close(halved, mean)


def test_gradients_reach_the_face_alone():
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    face_chips(image, face_squares(faces((20, 20, 40, 40), None))).sum().backward()
    assert image.grad[0, :, 30, 30].all() and not image.grad[0, :, :10].any() and not image.grad[1].any()
