"""The side-by-side picture of a test frame: truth, render, alpha, avatar, error."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from stages.graphics import draw

TILES = ("truth", "render", "alpha", "avatar", "error")
STRIP_PX = 24
ERROR_FULL_SCALE = 0.25


def panel_size(size_px: int, least_px: int = 256) -> tuple[int, int]:
    """(width, height) of the panel of frames of ``size_px``; both even, as video wants."""
    tile = tile_side(size_px, least_px)
    return tile * len(TILES), tile + STRIP_PX


def tiles_in_a_row(pictures: Sequence[np.ndarray], labels: Sequence[str], caption: str, side: int) -> np.ndarray:
    """Labelled row of square pictures (S,S,3), each scaled to `side`, as RGB uint8 (side + 24, side * K, 3).

    caption stands at the right end of the label strip.
    """
    row = np.full((side + STRIP_PX, side * len(pictures), 3), 24, np.uint8)
    for place, (label, picture) in enumerate(zip(labels, pictures, strict=True)):
        left = slice(place * side, (place + 1) * side)
        shown = draw.as_rgb8(picture)
        shape = cv2.INTER_AREA if shown.shape[0] > side else cv2.INTER_CUBIC
        row[STRIP_PX:, left] = cv2.resize(shown, (side, side), interpolation=shape)
        row[:STRIP_PX, left] = draw.text(row[:STRIP_PX, left], label, (6, 5), 13)
    if caption:
        width = min(9 * len(caption) + 6, row.shape[1])
        row[:STRIP_PX, -width:] = draw.text(row[:STRIP_PX, -width:], caption, (2, 6), 11)
    return row


def tile_side(size_px: int, least_px: int) -> int:
    """Side of a tile: the frame's size times the least whole number that reaches ``least_px``, made even."""
    side = size_px * max(1, -(-least_px // size_px))
    return side + side % 2


def side_by_side(
    truth: np.ndarray, render: np.ndarray, alpha: np.ndarray, avatar: np.ndarray, caption: str = "", least_px: int = 256
) -> np.ndarray:
    """Labelled row of five tiles as RGB uint8 of `panel_size`.

    truth, render, avatar: (S,S,3) float in [0,1]; alpha: (S,S), the avatar's own matte. The error tile is the mean
    absolute difference of truth and avatar, brightest at a quarter of the colour range. caption stands at the right of
    the label strip.
    """
    side = tile_side(truth.shape[0], least_px)
    pictures = (truth, render, alpha, avatar, draw.error_map(truth, avatar, ERROR_FULL_SCALE))
    row = np.full((side + STRIP_PX, side * len(TILES), 3), 24, np.uint8)
    for place, (label, picture) in enumerate(zip(TILES, pictures, strict=True)):
        # nearest keeps what the avatar really painted: no smoothing makes it look better than it is
        tile = cv2.resize(draw.as_rgb8(picture), (side, side), interpolation=cv2.INTER_NEAREST)
        row[STRIP_PX:, place * side : (place + 1) * side] = tile
        if label == "error":
            label = f"error (white = {ERROR_FULL_SCALE:g})"
        row[:STRIP_PX, place * side : (place + 1) * side] = draw.text(
            row[:STRIP_PX, place * side : (place + 1) * side], label, (6, 5), 14
        )
    if caption:
        room = row[:STRIP_PX, :side]
        row[:STRIP_PX, :side] = draw.text(room, caption, (int(side * 0.45), 6), 11)
    return row
