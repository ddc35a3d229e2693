"""What surrounds the person, and images of clients that are none or too large."""

import struct

import cv2
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.live.look import Look, decode_image, dress, encode_jpeg, fill_square


@pytest.fixture
def half():
    """A red image whose left half is the person."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, :8] = 255
    return image, alpha


def test_backgrounds(half):
    np.testing.assert_array_equal(dress(*half, Look()), half[0])
    shown = dress(*half, Look(background="colour", colour=(0, 0, 90)))
    assert (shown[:, :8] == (200, 0, 0)).all() and (shown[:, 8:] == (0, 0, 90)).all()
    behind = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    shown = dress(*half, Look(mirror=True, background="image", image=behind))
    assert (shown[:, 8:] == (200, 0, 0)).all(), "the person is mirrored"
    np.testing.assert_array_equal(shown[:, :8], behind[:, :8], "the image is not")
    assert (dress(*half, Look(background="image"))[:, 8:] == Look().colour).all(), "no image was sent yet"


def test_what_is_sent_comes_back(half):
    image = fill_square(np.repeat(half[0], 2, axis=1), 16)
    found = decode_image(encode_jpeg(image, "fine"))
    assert found.shape == (16, 16, 3) and np.abs(found.astype(int) - image).max() < 10
    assert len(encode_jpeg(image, "fine")) >= len(encode_jpeg(image, "fast"))


def test_images_that_are_none(half):
    jpeg = cv2.imencode(".jpg", half[0])[1].tobytes()
    png = cv2.imencode(".png", half[0])[1].tobytes()
    for data in (b"", b"garbage", png, b"GIF89a" + bytes(50)):
        with pytest.raises(UserError, match="is not JPEG"):
            decode_image(data)
    assert decode_image(png, ("JPEG", "PNG")).shape == (16, 16, 3)
    large = cv2.imencode(".png", np.zeros((2100, 2100, 3), np.uint8))[1].tobytes()
    with pytest.raises(UserError, match="2100 x 2100 px"):
        decode_image(large, ("PNG",))
    place = jpeg.index(b"\xff\xc0") + 5  # of height and width
    with pytest.raises(UserError, match="gigapixel"):
        decode_image(jpeg[:place] + struct.pack(">HH", 60000, 60000) + jpeg[place + 4 :])
    with pytest.raises(UserError):
        decode_image(jpeg[: len(jpeg) // 3])
