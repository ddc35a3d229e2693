"""The side-by-side picture."""

import numpy as np

from stages.metrics.panel import STRIP_PX, TILES, panel_size, side_by_side, tile_side


def test_small_frames_are_enlarged_by_whole_numbers_and_large_ones_kept():
    assert [tile_side(s, 256) for s in (64, 100, 128, 256, 512)] == [256, 300, 256, 256, 512]
    for size in (64, 99, 512):
        width, height = panel_size(size)
        assert width % 2 == 0 and height % 2 == 0


def test_tiles_show_what_their_label_says():
    size = 64
    truth, avatar = np.full((2, size, size, 3), 0.5, np.float32)
    avatar = avatar.copy()
    avatar[:32] = 1.0
    render, alpha = np.zeros((size, size, 3), np.float32), np.ones((size, size), np.float32)
    row = side_by_side(truth, render, alpha, avatar, "clip 12")
    assert row.shape == (*panel_size(size)[::-1], 3) and row.dtype == np.uint8
    tiles = {name: row[STRIP_PX:, k * 256 : (k + 1) * 256] for k, name in enumerate(TILES)}
    assert (tiles["truth"] == 128).all() and (tiles["render"] == 0).all() and (tiles["alpha"] == 255).all()
    assert (tiles["avatar"][:128] == 255).all() and (tiles["avatar"][128:] == 128).all()
    assert tiles["error"][:128].mean() > 100 > tiles["error"][128:].mean()
    assert (row[:STRIP_PX] > 200).any(axis=(0, 2)).reshape(5, 256).any(axis=1).all()  # a label over each
