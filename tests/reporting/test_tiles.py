"""The side-by-side image."""

import numpy as np
import pytest

from selfieavatar.reporting.tiles import STRIP_PX, TILES, row_size, side_by_side, tile_side, tiles_in_a_row


def test_small_frames_are_enlarged_by_whole_numbers_and_large_ones_kept():
    assert [tile_side(s, 256) for s in (64, 100, 128, 256, 512)] == [256, 300, 256, 256, 512]
    for size in (64, 99, 512):
        width, height = row_size(size)
        assert width % 2 == 0 and height % 2 == 0


def test_tiles_show_what_their_label_says():
    size = 64
    truth, avatar = np.full((2, size, size, 3), 0.5, np.float32)
    avatar = avatar.copy()
    avatar[:32] = 1.0
    render, alpha = np.zeros((size, size, 3), np.float32), np.ones((size, size), np.float32)
    row = side_by_side(truth, render, alpha, avatar, "clip 12")
    assert row.shape == (*row_size(size)[::-1], 3) and row.dtype == np.uint8
    tiles = {name: row[STRIP_PX:, k * 256 : (k + 1) * 256] for k, name in enumerate(TILES)}
    assert (tiles["truth"] == 128).all() and (tiles["render"] == 0).all() and (tiles["alpha"] == 255).all()
    assert (tiles["avatar"][:128] == 255).all() and (tiles["avatar"][128:] == 128).all()
    assert tiles["error"][:128].mean() > 100 > tiles["error"][128:].mean()
    assert (row[:STRIP_PX] > 200).any(axis=(0, 2)).reshape(5, 256).any(axis=1).all()  # a label over each


NAMES = ("talk", "front_angry_level_3_001", "W" * 64)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [64, 256, 384])
def test_no_text_runs_into_that_of_the_next_tile(name, side):
    black = np.zeros((8, 8, 3), np.uint8)
    for at in (0, -1):
        row = tiles_in_a_row([black] * 2, (f"driver {name}", f"avatar {name}"), f"{name} 12", side, at=at)
        bright = (row[:STRIP_PX] > 60).any(axis=(0, 2)).reshape(2, side)
        assert not bright[:, :4].any() and not bright[:, -4:].any() and bright.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_caption_stands_apart_from_the_label_of_its_tile(name):
    def strip(caption):
        return tiles_in_a_row([np.zeros((8, 8, 3), np.uint8)], ["truth"], caption, 256)[:STRIP_PX]

    alone, both = strip(""), strip(f"{name} 12")
    end = (alone > 60).any(axis=(0, 2)).nonzero()[0].max() + 4
    np.testing.assert_array_equal(both[:, :end], alone[:, :end])
    assert (both[:, end:] > 200).any()
