"""docs/conventions.md, held to the code."""

import cv2
import numpy as np
import pytest

from selfieavatar.fitting.torso import TORSO_PX, torso_shift
from selfieavatar.geometry.camera import Camera
from selfieavatar.identity import Torso
from selfieavatar.io.images import image_name, read_image, write_image
from selfieavatar.matting.refine import RefineOptions, refine
from selfieavatar.rendering.eyes import gaze_axes
from selfieavatar.rendering.offface_uv import paint_torso
from selfieavatar.rendering.raster_cpu import bilinear, clip_positions, interpolate, rasterize, uv_clip
from selfieavatar.rendering.shading import shade
from selfieavatar.video.reader import CropReader
from selfieavatar.video.window import cut_window
from tests.matting.shapes import coarse_mask, composite, head_and_shoulders


def centroid(image):
    """Centre of mass (x, y) in continuous pixel coordinates of a grey image (H,W)."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


def blob(size, centre):
    """A soft dot at `centre` (x, y) in continuous coordinates, (size,size) float64."""
    y, x = np.mgrid[:size, :size] + 0.5
    return np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 18.0)


def rgb8(grey):
    return np.rint(255 * np.dstack([grey] * 3)).astype(np.uint8)


def test_images_are_rgb_pngs_numbered_by_frame(tmp_path):
    assert image_name(7) == "000007.png"
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 255
    write_image(tmp_path / image_name(0), red)
    assert (tmp_path / "000000.png").read_bytes().startswith(b"\x89PNG")
    assert (read_image(tmp_path / "000000.png") == red).all()
    assert cv2.imread(str(tmp_path / "000000.png"))[0, 0].tolist() == [0, 0, 255]


def test_uv_images_keep_sixteen_bits(tmp_path):
    ramp = np.arange(0, 60000, 1000, dtype=np.uint16).reshape(4, 5, 3)
    write_image(tmp_path / "uv.png", ramp)
    assert (read_image(tmp_path / "uv.png") == ramp).all()


@pytest.mark.parametrize("size", [32, 48, 64, 128])
@pytest.mark.parametrize("crop", [(0.0, 0.0, 64.0), (10.0, 4.0, 48.0), (7.25, 3.5, 50.5), (-8.0, -4.0, 72.0)])
def test_crop_maps_points_by_shift_and_scale_alone(crop, size):
    centre = np.array([30.3, 25.8])
    cut = cut_window(rgb8(blob(64, centre)), crop, size)[..., 0].astype(float)
    expected = (centre - crop[:2]) * size / crop[2]
    assert centroid(cut) == pytest.approx(expected, abs=0.12)


def test_reader_gives_rgb_of_the_half_open_range_through_the_crop(tmp_path):
    centres = [(20.0 + n, 30.0) for n in range(6)]
    for n, centre in enumerate(centres):
        image = rgb8(blob(64, centre))
        image[..., 2] = 0
        write_image(tmp_path / f"{n:03d}.png", image)
    with CropReader(tmp_path, 2, 5, (4.0, 8.0, 48.0), 96) as reader:
        found = list(reader)
    assert [number for number, _, _ in found] == [0, 1, 2]
    for (_, _, rgb), centre in zip(found, centres[2:5], strict=True):
        assert rgb.dtype == np.uint8 and rgb[..., 2].max() < 3
        assert centroid(rgb[..., 0].astype(float)) == pytest.approx((np.array(centre) - (4, 8)) * 2.0, abs=0.12)


def test_camera_agrees_with_opencv():
    rng = np.random.default_rng(0)
    points = rng.uniform(-8, 8, (50, 3))
    rotation, translation = np.array([0.2, -0.5, 0.1]), np.array([1.0, -2.0, 60.0])
    camera = Camera(focal_px=300.0, principal=(66.0, 61.0), size_px=128)
    matrix = np.array([[300.0, 0, 66.0], [0, 300.0, 61.0], [0, 0, 1]])
    expected = cv2.projectPoints(points, rotation, translation, matrix, None)[0][:, 0]
    found = camera.project(points @ cv2.Rodrigues(rotation)[0].T + translation)
    assert found == pytest.approx(expected, abs=1e-6)
    # x to the right, y down, and further away is nearer to the middle.
    middle = np.array(camera.principal)
    assert (camera.project(np.array([1.0, 2.0, 50.0])) > middle).all()
    near, far = (np.abs(camera.project(np.array([1.0, 2.0, z])) - middle).sum() for z in (50.0, 100.0))
    assert far == pytest.approx(near / 2)


def test_rasteriser_covers_the_pixels_whose_centres_the_projection_hits():
    camera = Camera(focal_px=100.0, principal=(32.0, 32.0), size_px=64)
    corners = np.array([[10.0, 20.0], [30.0, 20.0], [30.0, 44.0], [10.0, 44.0]])  # pixels, to be covered exactly
    depth = 50.0
    points = np.concatenate([(corners - 32.0) * depth / 100.0, np.full((4, 1), depth)], axis=1)
    tri = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    rast = rasterize(clip_positions(points, camera.focal_px, np.array(camera.principal), (64, 64)), tri, (64, 64))
    covered = np.zeros((64, 64), bool)
    covered[20:44, 10:30] = True
    assert ((rast[..., 3] > 0) == covered).all()
    place = interpolate(corners, rast, tri)
    y, x = np.mgrid[:64, :64] + 0.5
    assert place[covered] == pytest.approx(np.stack([x, y], axis=-1)[covered], abs=1e-3)


def test_barycentrics_weigh_the_first_and_second_corner():
    corners = np.array([[-0.9, -0.9, 0, 1], [0.9, -0.9, 0, 1], [-0.9, 0.9, 0, 1]], np.float32)
    rast = rasterize(corners, np.array([[0, 1, 2]], np.int32), (64, 64))
    near_first, near_second, near_third = rast[5, 5], rast[5, 56], rast[56, 5]
    assert near_first[0] > 0.9 and near_second[1] > 0.9 and near_third[:2].sum() < 0.1
    assert near_first[3] == 1.0  # triangle number plus one; y = -w is the first row


def test_uv_origin_is_the_first_texel_row():
    texture = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    v, u = np.mgrid[:3, :4]
    centres = np.stack([(u + 0.5) / 4, (v + 0.5) / 3], axis=-1)
    assert bilinear(texture, centres) == pytest.approx(texture)
    assert bilinear(texture, np.array([[0.0, 0.0], [1.0, 1.0]]))[:, 0].tolist() == [0.0, 11.0]
    clip = uv_clip(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert clip[:, :2].tolist() == [[-1, -1], [1, -1], [-1, 1]]


def test_a_shifted_torso_reads_its_reference_where_it_came_from():
    reference, moved = (rgb8(blob(TORSO_PX, centre))[..., 0] for centre in ((60, 90), (66, 86)))
    shift, _ = torso_shift(Torso(reference, np.full_like(reference, 255), 0.0), moved, np.zeros(2))
    assert shift * TORSO_PX == pytest.approx([6, -4], abs=0.1)
    uv, face = np.zeros((TORSO_PX, TORSO_PX, 3), np.uint16), np.zeros((TORSO_PX, TORSO_PX), bool)
    face[80, 60] = True
    paint_torso(uv, face, shift, top=0.5)
    assert (uv[85, 65] / 65535 - [0, 0.5, 0]) * [1, 2, 1] * TORSO_PX == pytest.approx([59.5, 89.5, 0], abs=0.1)
    assert not uv[80, 60].any() and not uv[63].any() and uv[64, :, 1].all()


def test_gaze_yaw_is_towards_the_image_s_right_and_pitch_down():
    forward = gaze_axes(np.array([0.3, 0.0, 0.0, 0.2]))[:, 2]
    left, right = forward
    assert left[0] > 0.2 and left[1] == pytest.approx(0.0) and left[2] < 0.0
    assert right[1] > 0.1 and right[0] == pytest.approx(0.0) and right[2] < 0.0


def test_alpha_is_one_on_the_person():
    truth = head_and_shoulders(128, hairs=0)
    image = composite(truth, np.full((128, 128, 3), 0.2), np.full((128, 128, 3), 0.8))
    alpha = refine(image, coarse_mask(truth, 32), RefineOptions())
    assert alpha[100, 64] == 1.0 and alpha[4, 4] == 0.0 and np.abs(alpha - truth).mean() < 0.02
    back = 1.0 - alpha
    assert back[4, 4] == 1.0


def test_light_is_nine_bands_of_three_colours():
    light = np.zeros((9, 3))
    light[0], light[3, 0] = 1.0 / 0.282095, 0.5
    right, left = shade(np.array([[0.6, 0.0, -0.8], [-0.6, 0.0, -0.8]]), light.ravel())
    assert right[0] > 1.0 > left[0]  # band 3 is x, to the right in the image
    np.testing.assert_allclose([right[1:], left[1:]], 1.0, rtol=1e-5)
