"""Any folder of images that a user may bring: which files count, in what order, one sentence for each fault."""

import os
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from selfieavatar.errors import UserError
from selfieavatar.video.reader import open_source
from tests.data.media import numbered, read_number


def save(folder, *names, size=(64, 48)):
    folder.mkdir(exist_ok=True)
    for name, image in zip(names, numbered(len(names), size), strict=True):
        assert cv2.imwrite(str(folder / name), image)
    return folder


def test_mixed_formats_and_upper_case_endings_are_one_clip(tmp_path):
    folder = save(tmp_path / "p", "f1.PNG", "f2.jpg", "f3.JPEG", "f4.TIF", "f5.webp", "F6.bmp", "f10.Png")
    assert [read_number(image) for _, _, image in open_source(folder).read(range(7))] == list(range(7))


def test_hidden_files_and_those_of_systems_are_passed_over(tmp_path):
    folder = save(tmp_path / "p", "a.png", "b.png")
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.jpg"):
        (folder / name).write_bytes(b"no image")
    assert open_source(folder).count == 2


def test_order_does_not_depend_on_the_machine(tmp_path, monkeypatch):
    folder = save(tmp_path / "p", "01.png", "1.png", "2.png")
    listed = list(folder.iterdir())
    for files in (listed, listed[::-1]):
        monkeypatch.setattr(type(folder), "iterdir", lambda _, files=files: iter(files))
        assert [read_number(image) for _, _, image in open_source(folder).read(range(3))] == [0, 1, 2]


def test_a_frame_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds a\.jpg and a\.png: each frame must be there once"):
        open_source(save(tmp_path / "p", "a.png", "a.jpg", "b.png"))


def test_a_pipe_a_gigapixel_and_another_size_are_refused_at_once(tmp_path):
    folder = save(tmp_path / "p", "a.png", "b.png")
    os.mkfifo(folder / "c.png")
    with pytest.raises(UserError, match=r"c\.png is missing, a folder, a pipe or a broken link"):
        open_source(folder)
    (folder / "c.png").unlink()
    save(folder, "c.png", size=(48, 64))
    with pytest.raises(UserError, match=r"c\.png is 48x64 but a\.png is 64x48"):
        open_source(folder)
    data = bytearray((folder / "a.png").read_bytes())
    data[16:24] = (30000).to_bytes(4, "big") * 2  # width and height of the header
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (folder / "c.png").write_bytes(data)
    with pytest.raises(UserError, match=r"c\.png claims more than 178 megapixels"):
        open_source(folder)


def test_photos_that_lie_on_their_side_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "p").mkdir()
    for name in ("1.jpg", "2.png"):
        Image.new("RGB", (64, 48), (9, 9, 9)).save(tmp_path / "p" / name, exif=exif)
    source = open_source(tmp_path / "p")
    assert source.size == (48, 64)
    assert [image.shape for _, _, image in source.read(range(2))] == [(64, 48, 3)] * 2


def test_one_photo_is_a_video_of_one_frame(tmp_path):
    path = save(tmp_path / "p", "a.JPG") / "a.JPG"
    source = open_source(path)
    assert (source.count, source.size, source.reader) == (1, (64, 48), "folder")
    ((number, time_s, image),) = source.read(range(5))
    assert (number, time_s, image.shape) == (0, 0.0, (48, 64, 3))


def test_an_animated_png_is_a_video(tmp_path):
    images = [Image.fromarray(image) for image in numbered(4)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=40)
    source = open_source(tmp_path / "a.png")
    assert [read_number(image) for _, _, image in source.read(range(4))] == [0, 1, 2, 3]
    np.testing.assert_allclose(np.diff(source.times_s), 0.04, atol=1e-3)
