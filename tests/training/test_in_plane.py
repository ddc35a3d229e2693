"""Moving the person over the background: against OpenCV's warp, and what is known at the border."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from selfieavatar.errors import UserError
from selfieavatar.io.images import write_image
from selfieavatar.training.dataset import Batch, FrameStore, shift_window
from selfieavatar.training.in_plane import Motion, move_person
from tests.training.makers import SIZE, write_clip

SIDE = 48


def batch(count=2, reach=9.0):
    """A disc of a face with its coordinates, hair around it, before a dark wall."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    distance = np.hypot(rows - 20, columns - 26)
    face, hair = distance < reach, (distance >= reach) & (distance < reach + 4)
    u, v = (columns - 26) / 40 + 0.5, (rows - 20) / 40 + 0.5
    uv = np.stack([u * (face | hair), np.where(face, v, np.where(hair, v / 2, 0)), face]).astype(np.float32)
    colour = np.stack([np.cos(columns / 7), np.sin(rows / 9), np.cos(rows / 5)]) / 3 + 0.5
    alpha = (face | hair)[None].astype(np.float32)
    render = (colour * face).astype(np.float32)
    image = colour * alpha + 0.1 * (1 - alpha)
    images = [torch.from_numpy(a.astype(np.float32)).expand(count, -1, -1, -1) for a in (image, alpha, render, uv)]
    return Batch(*images, time=torch.zeros(count), plate=torch.full((count, 3, SIDE, SIDE), 0.1))


def test_the_person_goes_where_opencv_puts_it():
    motion = Motion(torch.tensor([0.2, -0.1]), torch.tensor([1.1, 0.9]), torch.tensor([[3.5, -2.0], [-4.0, 5.0]]))
    source, moved = batch(), move_person(batch(), motion)
    for k in range(2):
        # OpenCV turns the other way round with y down, about the face's centre (26, 20), then shifts.
        matrix = cv2.getRotationMatrix2D((26, 20), -math.degrees(motion.angle[k]), float(motion.scale[k]))
        matrix[:, 2] += motion.shift_px[k].numpy()
        wanted = cv2.warpAffine(source.alpha[k, 0].numpy(), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        np.testing.assert_allclose(moved.alpha[k, 0].numpy(), wanted, atol=0.08)
        face = cv2.warpAffine(source.render[k].permute(1, 2, 0).numpy(), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        np.testing.assert_allclose(moved.render[k].permute(1, 2, 0).numpy(), face, atol=0.08)
    away = moved.alpha == 0
    assert (moved.image - 0.1)[away.expand_as(moved.image)].abs().max() < 1e-6, "the wall stays, also behind the head"


def test_coordinates_stay_those_of_the_surface():
    motion = Motion(torch.tensor([0.3, 0.0]), torch.tensor([1.2, 1.0]), torch.tensor([[2.3, 1.6], [0.5, 0.5]]))
    moved = move_person(batch(), motion)
    for k in range(2):
        face = moved.uv[k, 2] > 0
        rows, columns = np.nonzero(face.numpy())
        angle, scale, shift = float(motion.angle[k]), float(motion.scale[k]), motion.shift_px[k].numpy()
        x, y = columns - 26 - shift[0], rows - 20 - shift[1]
        u = (np.cos(angle) * x + np.sin(angle) * y) / scale / 40 + 0.5
        v = (np.cos(angle) * y - np.sin(angle) * x) / scale / 40 + 0.5
        inner = np.hypot(x, y) / scale < 8  # at the border fewer neighbours count
        np.testing.assert_allclose(moved.uv[k, 0][face].numpy()[inner], u[inner], atol=1e-4)
        np.testing.assert_allclose(moved.uv[k, 1][face].numpy()[inner], v[inner], atol=1e-4)
    hair = (moved.uv[:, 2] == 0) & (moved.uv[:, 1] > 0)
    assert hair.any() and (moved.uv[:, 1][hair] < 0.5).all(), "hair's coordinates are not mixed with the face's"
    assert set(moved.uv[:, 2].unique().tolist()) == {0.0, 1.0}


def test_who_rests_or_has_no_clean_background_is_unchanged():
    motion = Motion(torch.tensor([0.0, 0.3]), torch.tensor([1.0, 1.2]), torch.tensor([[0.0, 0.0], [5.0, 5.0]]))
    source = batch()
    source.plate[1] = torch.nan
    moved = move_person(source, motion)
    for name in ("image", "alpha", "render", "uv"):
        torch.testing.assert_close(getattr(moved, name), getattr(source, name), atol=1e-5, rtol=0)
    assert (moved.validity == 1).all()
    source.plate = None
    assert move_person(source, motion) is source


def test_half_transparent_hair_and_shadows_on_the_wall_stay_as_they_were_filmed():
    source = batch(1)
    source.alpha = torch.nn.functional.avg_pool2d(source.alpha, 7, 1, 3)
    source.image = (source.image - 0.08 * (source.alpha == 0)).clamp_min(0)
    still = Motion(torch.zeros(1), torch.ones(1), torch.zeros(1, 2))
    torch.testing.assert_close(move_person(source, still).image, source.image, atol=1e-5, rtol=0)
    aside = move_person(source, replace(still, shift_px=torch.tensor([[5.0, 0.0]])))
    torch.testing.assert_close(aside.image[..., 5:], source.image[..., :-5], atol=1e-5, rtol=0)


def test_what_the_border_cut_off_is_unknown_and_the_wall_is_known():
    source = batch(reach=30.0)  # cut by the border on all sides but below
    motion = Motion(torch.zeros(2), torch.ones(2), torch.tensor([[0.0, 6.0], [0.0, -6.0]]))
    moved = move_person(source, motion)
    assert (moved.validity[0, 0, :6, 26] == 0).all() and (moved.validity[0, 0, 6:, 26] == 1).all()
    small = move_person(batch(), motion)
    assert (small.validity == 1).all(), "a wall that comes in is known from the plate"


def test_what_is_unknown_stays_so_in_the_sliding_window():
    """The presets for CPUs have the window on: it must not take smeared borders for the truth."""
    motion = Motion(torch.zeros(2), torch.ones(2), torch.tensor([[0.0, 6.0], [0.0, 6.0]]))
    moved = move_person(batch(reach=30.0), motion)
    validity = shift_window(moved, torch.tensor([[0, 0], [0, 2]]), 3).validity
    assert torch.equal(validity[0], moved.validity[0]) and (validity[0, 0, :6, 26] == 0).all()
    assert torch.equal(validity[1, :, 2:], moved.validity[1, :, :-2]) and (validity[1, :, :2] == 0).all()


def test_only_a_share_is_moved():
    drawn = Motion.draw(4000, 0.25, 5.0, 8.0, 0.1, torch.Generator().manual_seed(0))
    moved = drawn.angle != 0
    assert 0.22 < moved.float().mean() < 0.28 and (drawn.scale[~moved] == 1).all()
    assert (drawn.shift_px[~moved] == 0).all()
    assert abs(drawn.shift_px[moved].std() - 5) < 0.3 and abs(drawn.scale[moved].log().std() - 0.1) < 0.01


def test_clean_backgrounds_are_read_only_where_somebody_is_moved(tmp_path):
    """Batches of them cost time in every step, and a damaged one is nobody's trouble who does not need it."""
    for clip in ("a", "b"):
        write_clip(tmp_path / clip, 2)
    write_image(tmp_path / "a" / "plate.png", np.full((SIZE, SIZE, 3), 51, np.uint8))
    frames = [(tmp_path / clip, 0) for clip in ("a", "b")]
    plates = FrameStore(frames, SIZE, 0, 1).plates_of([0, 1])
    assert (plates[0] == np.float32(0.2)).all() and np.isnan(plates[1]).all(), "a moving camera has no plate"
    assert FrameStore(frames, SIZE, 0, 1, with_plates=False).plates_of([0, 1]) is None
    (tmp_path / "a" / "plate.png").write_bytes(b"cut off")
    assert FrameStore(frames, SIZE, 0, 1, with_plates=False).plates_of([0, 1]) is None
    with pytest.raises(UserError, match="plate.png"):
        FrameStore(frames, SIZE, 0, 1)
