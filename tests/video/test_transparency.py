"""Transparent footage of every kind is the same image over white, and its alpha can be read."""

import logging

import numpy as np
import pytest
from PIL import Image

from selfieavatar.errors import UserError
from selfieavatar.io.images import over_white, write_image
from selfieavatar.video import colour
from selfieavatar.video.reader import CropReader, open_source
from tests.data.media import numbered, write_video

VIDEOS = {
    "prores.mov": ("prores_ks", "yuva444p10le", {"profile": "4444"}),
    "png.mov": ("png", "rgba", {}),
    "qtrle.mov": ("qtrle", "argb", {}),
    "vp9.webm": ("libvpx-vp9", "yuva420p", {"crf": "4", "b": "0", "cpu-used": "8"}),
    "vp8.webm": ("libvpx", "yuva420p", {"crf": "4", "b": "4M", "auto-alt-ref": "0"}),
}


@pytest.fixture(scope="module")
def layers():
    """Three frames: a person's ellipse in a flat colour, softly cut out; below the transparency lies glaring green."""
    rows, columns = np.mgrid[:96, :128]
    frames = []
    for number in range(3):
        alpha = np.clip((1.2 - np.hypot((columns - 60 - 4 * number) / 40, (rows - 48) / 36)) * 3, 0, 1)
        image = np.where(alpha[..., None] > 0, (180.0, 120.0, 90.0), (0.0, 255.0, 0.0))
        frames.append(np.dstack([image, alpha * 255]).round().astype(np.uint8))
    return frames


@pytest.fixture(params=[*VIDEOS, "folder"])
def transparent(request, layers, tmp_path):
    if request.param == "folder":
        for number, frame in enumerate(layers):
            write_image(tmp_path / "frames" / f"{number}.png", frame)
        return tmp_path / "frames"
    codec, pix_fmt, options = VIDEOS[request.param]
    return write_video(tmp_path / request.param, layers, codec=codec, pix_fmt=pix_fmt, options=options)


def differences(got, expected):
    return np.abs(got.astype(int) - expected.astype(int))


def test_the_same_image_over_white_from_every_kind_of_file(transparent, layers, caplog):
    with caplog.at_level(logging.INFO):
        source = open_source(transparent)
    assert source.transparent and "laid over white" in caplog.text
    images = [image for _, _, image in source.read(range(3))]
    assert len(images) == 3
    for image, frame in zip(images, layers, strict=True):
        difference = differences(image, over_white(frame[..., :3], frame[..., 3]))
        assert (image[frame[..., 3] == 0] >= 253).mean() > 0.99  # white, not black, not green
        assert difference.mean() < 2.5 and np.quantile(difference, 0.99) < 30  # chroma is halved at the outline


def test_the_alpha_channel_is_a_source_of_its_own(transparent, layers):
    with CropReader(open_source(transparent).alpha_channel(), 1, 3, (0, 0, 96), 96) as reader:
        got = [image for _, _, image in reader]
    for image, frame in zip(got, layers[1:], strict=True):
        assert image.shape == (96, 96, 3)
        difference = differences(image, frame[:, :96, 3:])
        assert difference.mean() < 1.5 and np.quantile(difference, 0.99) < 16


def test_opaque_footage_has_no_alpha_channel(tmp_path, caplog):
    path = write_video(tmp_path / "a.mp4", numbered(2))
    with caplog.at_level(logging.INFO):
        source = open_source(path)
    assert not source.transparent and "white" not in caplog.text
    with pytest.raises(UserError, match="no alpha channel: choose another matting.method"):
        source.alpha_channel()


@pytest.mark.parametrize("name, codec, pix_fmt", [("a.gif", "gif", "rgb8"), ("a.mov", "qtrle", "gray")])
def test_palettes_without_transparency_have_no_alpha_channel(tmp_path, caplog, name, codec, pix_fmt):
    """FFmpeg decodes GIF with an alpha channel in any case, and grey in QuickTime's RLE as a palette."""
    path = write_video(tmp_path / name, numbered(3), codec=codec, pix_fmt=pix_fmt)
    with caplog.at_level(logging.INFO):
        source = open_source(path)
    assert not source.transparent and "white" not in caplog.text
    with pytest.raises(UserError, match="no alpha channel"):
        source.alpha_channel()


def test_a_gif_with_transparency_is_laid_over_white(tmp_path, layers, caplog):
    path = tmp_path / "a.gif"
    cutout = [Image.fromarray(np.where(frame[..., 3:] > 127, frame, 0).astype(np.uint8)) for frame in layers]
    cutout[0].save(path, save_all=True, append_images=cutout[1:], duration=40, disposal=2)
    with caplog.at_level(logging.INFO):
        source = open_source(path)
    assert source.transparent and "laid over white" in caplog.text
    _, _, image = next(source.read([0]))
    assert (image[layers[0][..., 3] == 0] == 255).all()


def test_alpha_that_cannot_be_decoded_is_warned_of(tmp_path, layers, monkeypatch, caplog):
    codec, pix_fmt, options = VIDEOS["vp9.webm"]
    path = write_video(tmp_path / "a.webm", layers, codec=codec, pix_fmt=pix_fmt, options=options)
    monkeypatch.setitem(colour._READS_ALPHA, "vp9", "none-such")
    assert not open_source(path).transparent
    assert "has no none-such: the alpha channel is not read" in caplog.text
