"""PNGs are what independent readers make of them."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from selfieavatar.io.png import encode_png


def read_by_opencv(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 2 else image[..., ::-1]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9, 3), (64, 1, 3), (33, 57), (128, 96, 3)])
def test_opencv_reads_every_value(kind, shape):
    image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
    read = read_by_opencv(encode_png(image))
    assert read.dtype == kind
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("shape", [(33, 57), (33, 57, 3), (33, 57, 4)])
def test_pillow_reads_the_same(shape):
    image = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    with Image.open(io.BytesIO(encode_png(image))) as opened:
        opened.verify()  # the checksums of all chunks
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), image)


def test_views_are_written_as_they_look():
    image = np.random.default_rng(2).integers(0, 65535, (40, 60, 3), np.uint16)
    view = image[::-2, 5:41:3, ::-1]
    np.testing.assert_array_equal(read_by_opencv(encode_png(view)), view)


def test_equal_images_give_equal_bytes():
    image = np.random.default_rng(3).integers(0, 255, (50, 50, 3), np.uint8)
    assert encode_png(image) == encode_png(image.copy(order="F"))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)]
)
def test_anything_else_is_refused(image):
    with pytest.raises(ValueError, match="an image is"):
        encode_png(image)
