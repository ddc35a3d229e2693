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


def to_xyz(red, green, blue, white=(0.3127, 0.3290)):
    """Compute the matrix of linear RGB to XYZ from chromaticities x, y."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    x, y = white
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


BT709 = (0.640, 0.330), (0.300, 0.600), (0.150, 0.060)


@pytest.mark.parametrize(
    "number, primaries",
    [(9, ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))), (12, ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
     (1, BT709)],
)  # fmt: skip
def test_hdr_primaries_are_converted_as_their_chromaticities_say(number, primaries):
    """Dim colours, which the highlights' curve leaves alone, inside BT.709."""
    inside = np.array([[0.4, 0.1, 0.1], [0.1, 0.4, 0.2], [0.2, 0.2, 0.4], [0.3, 0.3, 0.3]])  # linear BT.709
    light = inside @ np.linalg.solve(to_xyz(*primaries), to_xyz(*BT709)).T
    codes = np.linspace(0, 1, 65536)
    nits = colour._pq_to_nits(codes) / colour.REFERENCE_WHITE_NITS
    image = np.rint(np.interp(light, nits, codes) * 65535).astype(np.uint16)[None]
    shown = 255 * (1.055 * inside ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(colour.tone_map(image, colour.PQ, number)[0], shown, atol=1)


def test_square_pixels_grow():
    assert colour.square_pixels(720, 576, 16 / 15) == (768, 576)
    assert colour.square_pixels(512, 480, 15 / 16) == (512, 512)
    assert colour.square_pixels(100, 80, 1.0) == (100, 80)
