"""The watermark: unseen, found again, read by the package whose method it is, and never found where it is not."""

import numpy as np
import pytest
from imwatermark import WatermarkDecoder

from selfieavatar.marking import watermark
from tests.marking.makers import halved, lively_image, lively_video, through_h264


def psnr(one, other):
    return 10 * np.log10(255**2 / np.square(one.astype(float) - other).mean())


@pytest.mark.parametrize("size", [128, 200, 256])
def test_it_is_found_and_cannot_be_seen(size):
    image = lively_image(size)
    marked = watermark.hide(image)
    assert watermark.found_in([marked]) and not watermark.found_in([image])
    assert 40 < psnr(image, marked) < 60


def test_the_package_s_own_decoder_reads_it():
    marked = watermark.hide(lively_image(256))
    decoder = WatermarkDecoder("bits", len(watermark.BITS))
    read = decoder.decode(marked[..., ::-1], "dwtDctSvd", scales=[0, watermark.step_of(256, 256), 0], block=8)
    np.testing.assert_array_equal(read, watermark.BITS)


@pytest.mark.parametrize("size", [128, 256])
def test_it_survives_h264_and_halving(size):
    marked = [watermark.hide(image) for image in lively_video(size)]
    assert watermark.found_in(through_h264(marked))
    assert watermark.found_in(halved(marked))


def test_no_image_without_it_passes():
    assert not any(watermark.found_in([lively_image(128, seed)]) for seed in range(2, 60))


def test_a_image_that_is_too_small_stays_as_it_is():
    image = lively_image(96)
    assert watermark.hide(image) is image
    assert watermark.found_in([image[:48, :48]]) is None


def test_alpha_and_the_rest_of_an_odd_size_stay():
    image = np.dstack([lively_image(131), np.arange(131 * 131, dtype=np.uint8).reshape(131, 131)])
    marked = watermark.hide(image)
    np.testing.assert_array_equal(marked[..., 3], image[..., 3])
    assert watermark.found_in([marked[..., :3]])
