"""Frames, batches, augmentation: values, order, resumption and what goes wrong."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from selfieavatar.errors import UserError
from selfieavatar.io.images import image_name, write_image
from selfieavatar.rendering.offface_uv import paint_torso
from selfieavatar.training.dataset import (
    BYTES_PER_PIXEL,
    FrameStore,
    batch_positions,
    blur_render,
    jitter_render,
    make_batch,
    move_torso,
    read_frame,
    shift_window,
)
from tests.training.makers import SIZE, images, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder, 6)
    return folder


def frames_of(clip):
    return [(clip, number) for number in range(6)]


def test_batch_holds_what_is_on_disk_cached_or_not(clip):
    kept = FrameStore(frames_of(clip), SIZE, cache_bytes=10**9, threads=2)
    read = FrameStore(frames_of(clip), SIZE, cache_bytes=0, threads=2)
    assert kept.cached and not read.cached
    truth = images(4)
    for store in (kept, read):
        batch = make_batch(store.read([4, 1]), np.array([0.5, 0.25]), "cpu")
        assert batch.image.shape == (2, 3, SIZE, SIZE)
        np.testing.assert_allclose(batch.image[0].permute(1, 2, 0), truth["frames"] / 255, atol=1e-6)
        np.testing.assert_allclose(batch.uv[0].permute(1, 2, 0), truth["uv"] / 65535, atol=1e-6)
        np.testing.assert_allclose(batch.alpha[0, 0], truth["alpha"] / 255, atol=1e-6)
        assert batch.time.tolist() == [0.5, 0.25]
        store.close()


def test_prefetch_keeps_the_order(clip):
    store = FrameStore(frames_of(clip), SIZE, cache_bytes=0, threads=2)
    asked = [[0, 1], [5, 2], [3, 3]]
    got = [(positions, arrays["image"]) for positions, arrays in store.prefetch(iter(asked))]
    assert [positions for positions, _ in got] == asked[: len(got)] and len(got) >= 2
    np.testing.assert_array_equal(got[1][1], store.read([5, 2])["image"])


def test_missing_and_wrong_images_are_named(clip, tmp_path):
    with pytest.raises(UserError, match="000009.png is missing"):
        FrameStore([(clip, 9)], SIZE, 10**9, 1)
    write_clip(tmp_path, 1)
    write_image(tmp_path / "uv" / image_name(0), np.zeros((16, 16, 3), np.uint16))
    with pytest.raises(UserError, match="16x16 px instead of 32"):
        FrameStore([(tmp_path, 0)], SIZE, 10**9, 1)


def test_every_frame_is_drawn_in_proportion_to_its_weight():
    weights = np.array([0.5, 1.0, 2.0, 0.5])
    drawn = np.concatenate(list(islice(batch_positions(weights, 4, seed=3), 1000)))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / len(drawn), weights / weights.sum(), atol=0.01)


def test_equal_weights_draw_each_frame_once_an_epoch():
    epoch = np.concatenate(list(islice(batch_positions(np.ones(12), 4, seed=3), 3)))
    assert sorted(epoch) == list(range(12))


def test_order_goes_on_after_a_stop_as_if_there_had_been_none():
    weights = np.random.default_rng(0).uniform(0.5, 2, 10)
    whole = list(islice(batch_positions(weights, 4, seed=1), 12))
    assert list(islice(batch_positions(weights, 4, seed=1, images=5 * 4), 7)) == whole[5:]


def test_shift_moves_everything_together_and_marks_what_came_in(clip):
    store = FrameStore(frames_of(clip), SIZE, 10**9, 1)
    batch = make_batch(store.read([0, 3]), np.zeros(2), "cpu")
    moved = shift_window(batch, torch.tensor([[5, -8], [0, 3]]), 8)
    assert moved.shift_px.tolist() == [[5, -8], [0, 3]]
    for k in range(2):
        dx, dy = (int(value) for value in moved.shift_px[k])
        for name in ("image", "alpha", "render", "uv"):
            shifted = torch.roll(getattr(batch, name)[k], (dy, dx), (1, 2))
            valid = moved.validity[k] > 0
            assert torch.equal(getattr(moved, name)[k] * valid, shifted * valid), name
        assert valid.sum() == (SIZE - abs(dx)) * (SIZE - abs(dy))


def test_a_moved_torso_is_one_drawn_at_the_other_shift():
    """The tracked shift less the predicted one turns coordinates drawn at the first into those at the second."""
    face = np.zeros((SIZE, SIZE), bool)
    face[4:12, 8:20] = True
    drawn, batches = {}, []
    for name, shift in {"tracked": (0.125, 0.0625), "predicted": (-0.05, 0.1)}.items():
        drawn[name] = np.zeros((SIZE, SIZE, 3), np.uint16)
        drawn[name][..., 2] = 65535 * face
        paint_torso(drawn[name], face, np.array(shift), 0.5)
        drawn[name][:2, :, 1] = 9000  # hair
    arrays = {name: np.zeros((1, SIZE, SIZE, 3), np.uint8) for name in ("image", "render")}
    arrays |= {"alpha": np.zeros((1, SIZE, SIZE), np.uint8), "face": face[None].astype(np.uint8)}
    for name in drawn:
        offset = np.array([[0.175, -0.0375]])
        batches.append(make_batch(arrays | {"uv": drawn[name][None, ..., :2]}, np.zeros(1), "cpu", torso_offset=offset))
    inside = (batches[0].uv[:, :1] > 0) & (batches[0].uv[:, :1] < 1)  # of the reference image, where u is not limited
    torch.testing.assert_close(move_torso(batches[0]).uv * inside, batches[1].uv * inside, atol=2e-5, rtol=0)
    assert torch.equal(move_torso(batches[0], torch.zeros(1, 1)).uv, batches[0].uv)
    assert shift_window(batches[0], torch.tensor([[1, 2]]), 2).torso_offset is batches[0].torso_offset


def test_colour_jitter_stays_on_the_face(clip):
    store = FrameStore(frames_of(clip), SIZE, 10**9, 1)
    batch = make_batch(store.read([0]), np.zeros(1), "cpu")
    after = jitter_render(batch, torch.full((1, 3, 1, 1), 1.3), torch.full((1, 3, 1, 1), -0.1)).render
    face = (batch.uv[:, 2:3] > 0).expand_as(after)
    assert after[~face].abs().max() == 0
    torch.testing.assert_close(after[face], (1.3 * batch.render[face] - 0.1).clamp(0, 1))


def test_augmentations_that_change_nothing_leave_the_soft_edge_of_the_face(clip):
    batch = make_batch(FrameStore(frames_of(clip), SIZE, 10**9, 1).read([0]), np.zeros(1), "cpu")
    batch.render = batch.render + 0.25 * (1 - batch.uv[:, 2:3])
    one = torch.ones(1, 3, 1, 1)
    assert torch.equal(jitter_render(batch, one, 0 * one).render, batch.render)
    torch.testing.assert_close(blur_render(batch, torch.zeros(1), 2.0).render, batch.render, atol=1e-6, rtol=0)
    off = (batch.uv[:, 2:3] == 0).expand(1, 3, -1, -1)
    for changed in (jitter_render(batch, 1.5 * one, 0.1 * one), blur_render(batch, torch.ones(1), 2.0)):
        assert torch.equal(changed.render[off], batch.render[off])


def test_blur_is_that_of_scipy_within_the_face(clip):
    store = FrameStore(frames_of(clip), SIZE, 10**9, 1)
    batch = make_batch(store.read([0, 3]), np.zeros(2), "cpu")
    blurred = blur_render(batch, torch.tensor([1.5, 0.0]), 2.0).render
    face = batch.uv[0, 2].numpy()
    weight = gaussian_filter(face, 1.5, mode="constant", radius=6)
    for channel in range(3):
        expected = gaussian_filter(batch.render[0, channel].numpy() * face, 1.5, mode="constant", radius=6)
        expected = np.where(face > 0, expected / np.maximum(weight, 1e-6), 0)
        np.testing.assert_allclose(blurred[0, channel].numpy(), expected, atol=1e-5)
    torch.testing.assert_close(blurred[1], batch.render[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("held", [0, 2, 8])
def test_frames_in_memory_are_bounded_and_change_nothing(clip, held):
    frames = frames_of(clip)
    store = FrameStore(frames, SIZE, cache_bytes=held * SIZE**2 * BYTES_PER_PIXEL, threads=2)
    assert store.held == min(held, len(frames)) and store.cached == (held >= len(frames))
    positions = [0, 3, 1, 5]
    for name, values in store.read(positions).items():
        for k, position in enumerate(positions):
            np.testing.assert_array_equal(values[k], read_frame(*frames[position], SIZE)[name])


def test_memory_formats_hold_the_same_values(clip):
    arrays = FrameStore(frames_of(clip), SIZE, 10**9, 1).read([0, 3])
    last, first = (make_batch(arrays, np.zeros(2), "cpu", x) for x in (torch.channels_last, torch.contiguous_format))
    for name in ("image", "alpha", "render", "uv"):
        assert torch.equal(getattr(last, name), getattr(first, name)) and getattr(first, name).is_contiguous()
    assert last.image.is_contiguous(memory_format=torch.channels_last)
