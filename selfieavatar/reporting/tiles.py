"""Lay out a test frame as tiles side by side: truth, render, alpha, avatar, error."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from selfieavatar.reporting import annotate

TILES = ("truth", "render", "alpha", "avatar", "error")
STRIP_PX = 24
LABEL_PX, CAPTION_PX = 13, 11  # heights of the text
MARGIN_PX = 6  # left and right of it
ERROR_FULL_SCALE = 0.25


def row_size(size_px: int, least_px: int = 256) -> tuple[int, int]:
    """Compute (width, height) of the row of tiles of frames of `size_px`; both even, as video wants."""
    tile = tile_side(size_px, least_px)
    return tile * len(TILES), tile + STRIP_PX


def tiles_in_a_row(
    images: Sequence[np.ndarray], labels: Sequence[str], caption: str, side: int, smooth: bool = True, at: int = -1
) -> np.ndarray:
    """Lay out square images (S, S) or (S, S, 3), scaled to `side`, in a labelled row: uint8 (side + 24, side * K, 3).

    caption stands at the right end of the strip over the tile number `at`; what is too long for its tile is shortened.
    smooth: False shows enlarged pixels as they are.
    """
    row = np.full((side + STRIP_PX, side * len(images), 3), 24, np.uint8)
    captions = [""] * len(images)
    captions[at] = caption
    for place, (label, image) in enumerate(zip(labels, images, strict=True)):
        left = slice(place * side, (place + 1) * side)
        shown = annotate.as_rgb8(image)
        shape = cv2.INTER_AREA if shown.shape[0] > side else cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST
        row[STRIP_PX:, left] = cv2.resize(shown, (side, side), interpolation=shape)
        row[:STRIP_PX, left] = _titled(row[:STRIP_PX, left], label, captions[place])
    return row


def _titled(strip: np.ndarray, label: str, caption: str) -> np.ndarray:
    """Write the label into the strip over a tile, and a caption at the right end; neither is lost to the other."""
    room = strip.shape[1] - (3 if caption else 2) * MARGIN_PX
    caption = annotate.shortened(caption, max(room - annotate.text_width(label, LABEL_PX), room // 2), CAPTION_PX)
    taken = annotate.text_width(caption, CAPTION_PX)
    strip = annotate.text(strip, annotate.shortened(label, room - taken, LABEL_PX), (MARGIN_PX, 5), LABEL_PX)
    return annotate.text(strip, caption, (strip.shape[1] - taken - MARGIN_PX, 6), CAPTION_PX)


def tile_region(place: int, side: int) -> tuple[int, int, int, int]:
    """Tell where the image number `place` lies in a row of tiles of this side: (x, y, width, height) px."""
    return place * side, STRIP_PX, side, side


def tile_side(size_px: int, least_px: int) -> int:
    """Compute the side of a tile: the frame's size times the least whole number that reaches `least_px`, made even."""
    side = size_px * max(1, -(-least_px // size_px))
    return side + side % 2


def side_by_side(
    truth: np.ndarray, render: np.ndarray, alpha: np.ndarray, avatar: np.ndarray, caption: str = "", least_px: int = 256
) -> np.ndarray:
    """Lay out a labelled row of five tiles, RGB uint8 of `row_size`.

    truth, render, avatar: (S,S,3) float in [0,1]; alpha: (S,S), the avatar's own matte. The error tile is the mean
    absolute difference of truth and avatar, brightest at a quarter of the colour range. caption stands beside the first
    label. Nothing is smoothed: no tile looks better than what the avatar really painted.
    """
    images = (truth, render, alpha, avatar, annotate.error_map(truth, avatar, ERROR_FULL_SCALE))
    labels = (*TILES[:-1], f"error (white = {ERROR_FULL_SCALE:g})")
    return tiles_in_a_row(images, labels, caption, tile_side(truth.shape[0], least_px), smooth=False, at=0)
