"""Test the transfer curves and tone mapping against the published standards."""

import numpy as np
import pytest

from selfieavatar.video import colour


@pytest.mark.parametrize("nits, code", [(0.0, 0.0), (100, 0.508), (203, 0.5807), (1000, 0.7518), (10000, 1.0)])
def test_pq_curve_matches_bt2408(nits, code):
    """Code values of ITU-R BT.2408, table 1 and of SMPTE ST 2084."""
    assert colour._pq_to_nits(np.array(code)) == pytest.approx(nits, rel=0.005, abs=1e-3)


def test_hlg_curve_matches_bt2100():
    """ITU-R BT.2100: E' = 0.5 is scene light 1/12; 1 is 1. BT.2408: 75 % HLG is 203 of 1000 cd/m2 after the OOTF."""
    assert colour._hlg_to_scene(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    assert 1000 * colour._hlg_to_scene(np.array(0.75)) ** 1.2 == pytest.approx(203, rel=0.01)


@pytest.mark.parametrize("transfer, white", [(colour.PQ, 0.5807), (colour.HLG, 0.75)])
def test_tone_mapping_keeps_white_bright_grey_neutral_and_order(transfer, white):
    codes = np.linspace(0, 1, 101)
    grey = np.repeat(np.rint(codes * 65535).astype(np.uint16)[None, :, None], 3, axis=2)
    mapped = colour.tone_map(grey, transfer, 9).astype(int)[0]
    assert np.abs(mapped - mapped[:, :1]).max() <= 1
    assert (np.diff(mapped[:, 1]) >= 0).all()
    assert mapped[0, 0] == 0 and mapped[-1, 0] >= 253
    assert 215 <= np.interp(white, codes, mapped[:, 1]) <= 240  # diffuse white is not washed out, and leaves headroom
    # An 18 % grey card: 26 cd/m2 in BT.2408 (PQ 38 %, HLG 38 %); in sRGB it is about 118.
    assert 100 <= np.interp(0.38, codes, mapped[:, 1]) <= 135


def test_bt2020_skin_keeps_its_hue():
    skin = np.array([[[30000, 24000, 22000]]], dtype=np.uint16)
    mapped = colour.tone_map(skin, colour.PQ, 9)[0, 0]
    assert mapped[0] > mapped[1] > mapped[2] > 0


def test_square_pixels_grow():
    assert colour.square_pixels(720, 576, 16 / 15) == (768, 576)
    assert colour.square_pixels(512, 480, 15 / 16) == (512, 512)
    assert colour.square_pixels(100, 80, 1.0) == (100, 80)
