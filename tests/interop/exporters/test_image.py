"""Test the reader of other methods' images: conversion to 8 bits, and refused images."""

import cv2
import numpy as np
import pytest
from PIL import Image

from selfieavatar.errors import UserError
from selfieavatar.interop.exporters.image import external_image

COLOURS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_eight_bits_pass_and_sixteen_are_rounded(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "8.png")
    Image.fromarray(np.dstack([COLOURS, np.full((32, 32), 255, np.uint8)])).save(tmp_path / "opaque.png")
    deep = np.minimum(COLOURS[..., ::-1].astype(int) * 257 + 100, 65535).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "16.png"), deep)
    for name in ("8", "opaque", "16"):
        np.testing.assert_array_equal(external_image(tmp_path / f"{name}.png"), COLOURS)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.dstack([COLOURS, np.arange(224, 256, dtype=np.uint8) * np.ones((32, 1), np.uint8)]), "is transparent in"),
        (np.dstack([COLOURS, np.zeros((32, 32), np.uint8)]), "is transparent in places"),
        (np.dstack([COLOURS[..., 0], np.full((32, 32), 255, np.uint8)]), "is a grey image of 32 x 32 px"),
        (COLOURS[..., 0], "is a grey image"),
        (COLOURS[:20], "is a colour image of 32 x 20 px"),
        (COLOURS[:1, :1], "has 1 px"),
    ],
)
def test_grey_transparent_or_oblong_images_are_refused(tmp_path, image, sentence):
    Image.fromarray(image).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=sentence):
        external_image(tmp_path / "x.png")


def test_an_unreadable_image_is_refused(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="not a readable image"):
        external_image(tmp_path / "x.png")
