"""Test StyleAvatar's images, read as its public training code reads them."""

import io

import numpy as np
from PIL import Image

from selfieavatar.interop.exporters import styleavatar
from selfieavatar.rendering.renderer import Renderer
from tests.interop.exporters.makers import SIZE, coefficients, identity


def drawn(tmp_path, size_px):
    rotation, translation, expression, gaze = (rows[3] for rows in coefficients("t"))
    return Renderer(identity(), size_px).render(rotation, translation, expression, gaze)


def read(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_sizes_names_and_depths(tmp_path):
    face = drawn(tmp_path, styleavatar.RENDER_PX)
    frame, alpha = np.full((SIZE, SIZE, 3), 70, np.uint8), np.full((SIZE, SIZE), 255, np.uint8)
    files = {name: read(data) for name, data in styleavatar.frame_files(12, "train", face, (frame, alpha)).items()}
    assert {name: (image.shape, image.dtype) for name, image in files.items()} == {
        "train/image/000012.png": ((1536, 1536, 3), np.uint8), "train/back/000012.png": ((1536, 1536), np.uint8),
        "train/render/000012.png": ((256, 256, 3), np.uint8), "train/uv/000012.png": ((256, 256, 3), np.uint8),
    }  # fmt: skip
    unfilmed = styleavatar.frame_files(12, "test", face, None)
    assert set(unfilmed) == {"test/render/000012.png", "test/uv/000012.png"}, "all that the test program opens"


def test_the_window_of_the_rendering_is_the_frame_in_the_middle_of_the_image():
    """The reader's central crop, 1024 px from 256, shows the rendering padded by a quarter."""
    ramp = np.tile(np.linspace(20, 220, SIZE).astype(np.uint8), (SIZE, 1))
    frame = np.dstack([ramp, ramp.T, ramp])
    wide = styleavatar.with_margin(frame)
    middle = wide[256:1280, 256:1280]
    shrunk = middle.reshape(SIZE, 16, SIZE, 16, 3).mean((1, 3))
    np.testing.assert_allclose(shrunk[2:-2, 2:-2], frame[2:-2, 2:-2], atol=1)
    assert (wide[600, :200, 0] == 20).all() and (wide[600, -200:, 0] == 220).all()


def test_back_is_white_on_the_person():
    """The reader's background is 1 - (back > 1/2)."""
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    alpha[16:48, 16:48] = 255
    background = 1 - (styleavatar.with_margin(alpha) > 127.5)
    person_share = (SIZE // 2) ** 2 / (1.5 * SIZE) ** 2
    np.testing.assert_allclose(1 - background.mean(), person_share, atol=0.01)
    assert background[768, 768] == 0 and background[5, 5] == 1


def test_uv_is_rounded_to_the_nearest_and_points_to_the_same_texel(tmp_path):
    face = drawn(tmp_path, styleavatar.RENDER_PX)
    eight = styleavatar.eight_bit_uv(face.uv)
    exact = face.uv[face.mask][:, :2] / 65535
    assert np.abs(eight[face.mask][:, :2] / 255 - exact).max() <= 0.5 / 255 + 1e-9
    np.testing.assert_array_equal(eight[..., 2], np.where(face.mask, 255, 0))
    assert face.uv[~face.mask].any(), "the torso is there"
    assert not eight[~face.mask].any()
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, 2)
    every[..., 2] = 65535
    np.testing.assert_array_equal(styleavatar.eight_bit_uv(every), np.round(every / 257.0))


def test_the_face_covers_the_same_part_of_the_frame_at_256_px_as_at_the_frames_own_size(tmp_path):
    small, large = drawn(tmp_path, SIZE), drawn(tmp_path, styleavatar.RENDER_PX)
    share = large.mask.reshape(SIZE, 4, SIZE, 4).mean((1, 3))
    assert small.mask[share == 1].all() and not small.mask[share == 0].any()
