"""Test MediaPipe's segmenter: polarity of the mask and independence of images."""

import cv2
import numpy as np
import pytest

from selfieavatar.matting.segmenter import SelfieSegmenter


@pytest.fixture(scope="module")
def selfie(shared):
    video = cv2.VideoCapture(str(shared / "data" / "videos" / "glasses.mp4"))
    images = [cv2.cvtColor(video.read()[1][:, 16:496], cv2.COLOR_BGR2RGB) for _ in range(6)]
    video.release()
    return images


def test_person_is_one_background_zero(selfie):
    with SelfieSegmenter() as segmenter:
        mask = segmenter(selfie[0])
    assert mask.dtype == np.float32 and mask.shape == (256, 256) and 0.0 <= mask.min() and mask.max() <= 1.0
    assert mask[128, 128] > 0.95 and mask[10, 10] < 0.05 and mask[250, 128] > 0.95
    assert 0.3 < mask.mean() < 0.75


def test_result_is_independent_of_earlier_images(selfie):
    with SelfieSegmenter() as segmenter:
        for image in selfie:
            last = segmenter(image)
    with SelfieSegmenter() as fresh:
        assert np.abs(fresh(selfie[-1]) - last).max() < 1e-6


def test_any_size_and_memory_layout(selfie):
    with SelfieSegmenter() as segmenter:
        mask = segmenter(selfie[0])
        mirrored = segmenter(selfie[0][:, ::-1])
        small = segmenter(cv2.resize(selfie[0], (128, 128), interpolation=cv2.INTER_AREA))
    assert np.abs(mirrored[:, ::-1] - mask).mean() < 0.03
    assert np.abs(small - mask).mean() < 0.03


def test_an_empty_room_holds_nobody():
    wall = np.full((256, 256, 3), 170, np.uint8)
    with SelfieSegmenter() as segmenter:
        assert segmenter(wall).mean() < 0.2
