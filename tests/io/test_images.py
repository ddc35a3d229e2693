"""Images keep every value, and PNGs are what independent readers make of them."""

import errno
import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from selfieavatar.errors import UserError
from selfieavatar.io import images
from selfieavatar.io.files import content_hash
from selfieavatar.io.images import ImageWriter, encode_png, over_white, read_image, write_image


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


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_images_keep_every_value(tmp_path, kind, shape):
    image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)
    digest = write_image(tmp_path / "p.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), image)
    assert digest == content_hash(tmp_path / "p.png")


def test_images_are_rgb_for_everybody_else(tmp_path):
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    write_image(tmp_path / "p.png", red)
    assert cv2.imread(str(tmp_path / "p.png"))[0, 0].tolist() == [0, 0, 255]


def test_unreadable_images(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_image(tmp_path / "none.png")
    (tmp_path / "p.png").write_text("text")
    with pytest.raises(UserError, match="not a readable image"):
        read_image(tmp_path / "p.png")


def test_writer_writes_all_with_their_hashes(tmp_path):
    written = [np.full((4, 4, 3), number, np.uint8) for number in range(40)]
    with ImageWriter(tmp_path / "out", threads=2) as writer:
        for number, image in enumerate(written):
            writer.put(number, image)
    assert sorted(writer.hashes) == list(range(40))
    assert writer.hashes[39] == content_hash(tmp_path / "out" / "000039.png")
    assert read_image(tmp_path / "out" / "000039.png")[0, 0, 0] == 39


def test_writer_passes_on_a_full_disk(tmp_path, monkeypatch):
    def full(_image):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(images, "encode_png", full)
    with pytest.raises(OSError, match="No space left"), ImageWriter(tmp_path / "out") as writer:
        writer.put(0, np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_over_white_is_the_blend_of_both(kind):
    rng, most = np.random.default_rng(0), np.iinfo(kind).max
    image, alpha = rng.integers(0, most, (20, 30, 3), kind), rng.integers(0, most, (20, 30), kind)
    alpha[:, 0], alpha[:, 1] = 0, most
    share = alpha[..., None] / most
    got = over_white(image, alpha)
    assert got.dtype == kind and (got[:, 0] == most).all() and (got[:, 1] == image[:, 1]).all()
    np.testing.assert_allclose(got, image * share + most * (1 - share), atol=0.5 + 1e-6)


@pytest.mark.parametrize("side", [1 << 15, 1 << 31])
def test_a_header_of_more_pixels_than_the_file_can_hold_is_refused_unread(tmp_path, monkeypatch, side):
    """OpenCV takes 3 GB and ten seconds for it before it says the same."""
    path = tmp_path / "000000.png"
    write_image(path, np.zeros((1024, 1024, 3), np.uint8))
    assert read_image(path).shape == (1024, 1024, 3), "black is the most that fits into few bytes"
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", side, side)
    path.write_bytes(data)
    monkeypatch.setattr(cv2, "imread", None)
    with pytest.raises(UserError, match="000000.png is not a readable image"):
        read_image(path)


def test_a_chunk_that_is_longer_than_its_file_is_refused_unread(tmp_path, monkeypatch):
    """OpenCV makes room for it first."""
    path = tmp_path / "000000.png"
    write_image(path, np.zeros((4, 4), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[:33] + struct.pack(">I", 0xEDA30000) + data[37:])
    monkeypatch.setattr(cv2, "imread", None)
    with pytest.raises(UserError, match="000000.png is not a readable image"):
        read_image(path)
