"""Any image of a stranger becomes upright 8-bit sRGB, or one sentence that says which file is wrong."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from selfieavatar.errors import UserError
from selfieavatar.io.foreign_image import decode_foreign, read_foreign, read_header

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 10, 3), dtype=np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IEND", b"")))


def read(path):
    return read_foreign(path, str(path))


def test_colours_that_need_no_conversion_are_kept(tmp_path):
    for name in ("a.png", "b.bmp", "c.tif", "d.webp"):
        Image.fromarray(COLOURS).save(tmp_path / name, lossless=True)
        np.testing.assert_array_equal(read(tmp_path / name), COLOURS)
    palette = Image.fromarray(COLOURS).quantize(16)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    Image.fromarray(COLOURS).save(tmp_path / "e.jpg", quality=95, subsampling=0)
    assert np.abs(read(tmp_path / "e.jpg").astype(int) - cv2.imread(str(tmp_path / "e.jpg"))[..., ::-1]).max() <= 1


def test_grey_is_repeated(tmp_path):
    Image.fromarray(COLOURS[..., 0]).save(tmp_path / "g.png")
    Image.fromarray(COLOURS[..., 0] > 127).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read(tmp_path / "g.png"), np.repeat(COLOURS[..., :1], 3, 2))
    np.testing.assert_array_equal(read(tmp_path / "bits.png"), np.repeat((COLOURS[..., :1] > 127) * 255, 3, 2))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_rounded(tmp_path, channels):
    deep = RNG.integers(0, 65536, (6, 10, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), deep)
    got = decode_foreign(tmp_path / "d.png", "d")
    expected = np.rint(deep / 257)
    rgb = np.repeat(expected, 3, 2) if channels == 1 else expected[..., 2::-1]
    np.testing.assert_array_equal(got.rgb, rgb)
    assert got.grey == (channels == 1)
    if channels == 4:
        np.testing.assert_array_equal(got.alpha, expected[..., 3])


def test_transparent_images_are_laid_over_white_whatever_lies_below(tmp_path):
    alpha = np.zeros((6, 10), np.uint8)
    alpha[:, 3:], alpha[:, 6:] = 128, 255
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([COLOURS[..., 0], alpha])).save(tmp_path / "grey.png")
    Image.fromarray(COLOURS[:1, :1]).quantize(1).save(tmp_path / "p.png", transparency=0)
    share = alpha[..., None] / 255
    for name, colours in (("a", COLOURS), ("grey", np.repeat(COLOURS[..., :1], 3, 2))):
        np.testing.assert_allclose(read(tmp_path / f"{name}.png"), colours * share + 255 * (1 - share), atol=0.51)
        assert read_header(tmp_path / f"{name}.png").alpha
        np.testing.assert_array_equal(decode_foreign(tmp_path / f"{name}.png", "x").alpha, alpha)
    assert (read(tmp_path / "p.png") == 255).all() and read_header(tmp_path / "p.png").alpha


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_says(tmp_path, name, orientation):
    image = Image.fromarray(np.repeat(np.repeat(COLOURS, 8, 0), 8, 1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    expected = image.copy()
    expected.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(expected)).astype(int)
    got = read(tmp_path / name)
    assert np.abs(got - expected).mean() < (25 if name == "a.jpg" else 0.001)
    assert read_header(tmp_path / name).size == got.shape[1::-1]


def test_colours_of_an_embedded_profile_become_srgb(tmp_path):
    """A profile whose red is sRGB's green and the other way round swaps the channels; a mask is not converted."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    alpha = np.full((6, 10, 1), 255, np.uint8)
    Image.fromarray(COLOURS).save(tmp_path / "a.png", icc_profile=swapped)
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "b.png", icc_profile=swapped)
    for name in ("a.png", "b.png"):
        assert np.abs(read(tmp_path / name).astype(int) - COLOURS[..., [1, 0, 2]]).max() <= 2
        np.testing.assert_array_equal(decode_foreign(tmp_path / name, name, managed=False).rgb, COLOURS)
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # no profile of RGB
    for name, profile in (("srgb", srgb), ("other", other), ("damaged", b"no profile")):
        Image.fromarray(COLOURS).save(tmp_path / f"{name}.png", icc_profile=profile)
        np.testing.assert_array_equal(read(tmp_path / f"{name}.png"), COLOURS)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    assert np.abs(read(tmp_path / "red.jpg")[8, 8].astype(int) - (255, 0, 0)).max() < 4


# -- hostile files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [read, read_header])
def test_a_gigapixel_is_refused_by_its_header(tmp_path, reader):
    (tmp_path / "a.png").write_bytes(png(30000, 30000, chunk(b"IDAT", zlib.compress(b"\0" * 100))))
    with pytest.raises(UserError, match=r"a\.png claims more than 178 megapixels"):
        reader(tmp_path / "a.png")


@pytest.mark.parametrize("reader", [read, read_header])
def test_what_is_no_regular_file_is_refused_unopened(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "none.png")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(UserError, match=rf"{name}\.png is missing, a folder, a pipe or a broken link"):
            reader(tmp_path / f"{name}.png")


def test_a_damaged_image_is_one_sentence(tmp_path):
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"a\.png is not a readable image; remove or replace it"):
        read(tmp_path / "a.png")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match="values of 32 bits"):
        read(tmp_path / "f.tif")


def test_a_damaged_animation_is_read_or_refused_and_ends_no_process(tmp_path):
    """OpenCV 4.11 aborts on this one, whose first frame is wider than the image."""
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    frame = struct.pack(">IIIIIHHBB", 0, 64, 6, 0, 0, 1, 25, 0, 0)
    animated = data[:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", frame) + data[33:]
    (tmp_path / "a.png").write_bytes(animated)
    with pytest.raises(UserError, match=r"a\.png is not a readable image"):
        read(tmp_path / "a.png")
