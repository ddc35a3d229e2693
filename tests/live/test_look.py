"""What surrounds the person, and images of clients that are none or too large."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

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


def test_sides_that_end_the_detector_are_refused():
    long = cv2.imencode(".jpg", np.zeros((20, 40000, 3), np.uint8))[1].tobytes()
    with pytest.raises(UserError, match="40000 x 20 px"):
        decode_image(long)


def test_damaged_animations_end_in_a_sentence():
    """OpenCV ends the process on some of these; here each is an image or a sentence."""
    still = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    file = io.BytesIO()
    still.save(file, "PNG", save_all=True, append_images=[still.transpose(Image.Transpose.ROTATE_90)])
    random, kinds = np.random.default_rng(1), set()
    for _ in range(300):
        data = bytearray(file.getvalue())
        for _ in range(random.integers(1, 12)):
            data[random.integers(0, 400)] = random.integers(0, 256)
        for at in chunks(data):  # right checks, so that the content is looked at
            size = int.from_bytes(data[at : at + 4], "big")
            data[at + 8 + size : at + 12 + size] = zlib.crc32(data[at + 4 : at + 8 + size]).to_bytes(4, "big")
        try:
            kinds.add(decode_image(bytes(data), ("PNG",)).shape)
        except UserError:
            kinds.add("refused")
    assert kinds >= {(64, 64, 3), "refused"}


def chunks(data):
    """Where the chunks of a PNG begin, as far as their lengths can be followed."""
    at = 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            return
        yield at
        at += 12 + size


def test_sixteen_bits_and_turned_images_are_read():
    deep = cv2.imencode(".png", np.full((20, 30), 40000, np.uint16))[1].tobytes()
    assert (decode_image(deep, ("PNG",)) == 40000 >> 8).all()
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    Image.new("RGB", (40, 20)).save(file, "JPEG", exif=exif)
    assert decode_image(file.getvalue()).shape == (40, 20, 3)
