"""The overlay shows what the manifests say, where they say it, and refuses manifests that do not belong together."""

import json

import cv2
import numpy as np
import pytest

from selfieavatar.geometry.camera import Camera
from selfieavatar.geometry.normals import orient_outwards
from selfieavatar.io.images import ImageWriter, read_image
from selfieavatar.io.manifest import write_manifest
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.reporting import annotate, tracking_tiles
from selfieavatar.settings import cli
from selfieavatar.settings.sections import Overlay
from selfieavatar.video.reader import open_source
from stages import overlay
from tests.fitting import makers

SIZE, COUNT, LOST = 64, 5, 3


def pyramid() -> MorphableModel:
    """Five vertices: a square base, and a tip towards the camera; the only expression moves the tip to the right."""
    template = np.array([[-2, -2, 1], [2, -2, 1], [2, 2, 1], [-2, 2, 1], [0, 0, -1]], np.float32)
    basis = np.zeros((1, 5, 3), np.float32)
    basis[0, 4, 0] = 1
    one = np.ones(1, np.float32)
    sides, back = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], [[0, 2, 1], [0, 3, 2]]
    tri = np.array(sides + back, np.int32)
    return MorphableModel(
        name="facemesh", template=template, expression_basis=basis, expression_scale=one, expression_low=-one,
        expression_high=one, tri=tri, tri_part=np.zeros(6, np.int8), uv=np.zeros((5, 2), np.float32),
        landmark_vertices=np.arange(5, dtype=np.int32), eye_center=np.zeros((2, 3), np.float32),
        eye_radius=np.ones(2, np.float32), iris_radius=0.5,
    )  # fmt: skip


@pytest.fixture
def clip(tmp_path):
    """A grey clip of five frames: person in the left half, one landmark, the pyramid in the middle, one fit lost."""
    frames = np.arange(COUNT)
    names = ["0" * 16] * COUNT
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    alpha[:, : SIZE // 2] = 255
    grey = np.full((SIZE, SIZE, 3), 90, np.uint8)
    uv = np.zeros((SIZE, SIZE, 3), np.uint16)
    uv[24:40, 24:40] = 20000, 20000, 65535
    for folder, image in (("frames", grey), ("alpha", alpha), ("render", grey // 3), ("uv", uv)):
        with ImageWriter(tmp_path / folder) as writer:
            for number in frames:
                if folder in ("frames", "alpha") or number != LOST:
                    writer.put(int(number), image)
    zero = np.zeros(COUNT, np.float32)
    write_manifest(tmp_path / "decode.parquet", "decode", {
        "frame": frames, "time_s": frames / 10, "source_frame": frames, "face": zero == 0,
        "face_box_px": np.zeros((COUNT, 4)), "duplicate": zero > 0, "sharpness": zero, "picture_hash": names,
    }, {"fps": 10.0, "size_px": SIZE})  # fmt: skip
    points = np.tile([[16.0, 40.0]], (COUNT, 1))
    points[LOST] = np.nan
    write_manifest(tmp_path / "landmarks.parquet", "landmarks", {
        "frame": frames, "found": frames != LOST, "points_px": points, "depth": np.zeros((COUNT, 1)),
        "confidence": zero,
    }, {"landmark_set": "one", "count": 1, "size_px": SIZE})  # fmt: skip
    write_manifest(tmp_path / "matting.parquet", "matting", {
        "frame": frames, "alpha_hash": names, "coverage": zero, "flicker": zero,
    }, {"size_px": SIZE})  # fmt: skip
    write_manifest(tmp_path / "fit.parquet", "fit", {
        "frame": frames, "fitted": frames != LOST, "rotation": np.zeros((COUNT, 3)),
        "translation": np.tile([[0, 0, 21.0]], (COUNT, 1)), "expression": frames[:, None] / 2,
        "gaze": np.zeros((COUNT, 4)), "light": np.zeros((COUNT, 27)), "torso": np.zeros((COUNT, 2)),
        "landmark_error": zero + 0.01,
        "quality": np.where(frames == LOST, "lost", "ok"),
    }, {"size_px": SIZE})  # fmt: skip
    write_manifest(tmp_path / "render.parquet", "render", {
        "frame": frames, "render_hash": ["" if n == LOST else "1" * 16 for n in frames], "uv_hash": names,
        "face_share": zero,
    }, {"size_px": SIZE})  # fmt: skip
    makers.identity(pyramid(), Camera(100.0, (32.0, 32.0), SIZE)).save(tmp_path / "identity.npz")
    return tmp_path


def arguments(folder, **settings):
    argv = ["--out-video", str(folder / "overlay.mp4"), "--out-sheet", str(folder / "contact.png")]
    for kind in ("decode", "landmarks", "matting", "fit", "render"):
        argv += [f"--{kind}", str(folder / f"{kind}.parquet")]
    argv += ["--frames", str(folder / "frames"), "--alpha", str(folder / "alpha")]
    argv += ["--render-pictures", str(folder / "render"), "--uv-pictures", str(folder / "uv")]
    argv += ["--identity", str(folder / "identity.npz")]
    return [*argv, "--settings", json.dumps({"size_px": 256, "sheet_frames": 3, "cell_px": 64, **settings})]


def run(folder, **settings):
    cli.main(overlay.build_parser(), overlay.run, arguments(folder, **settings))


def the_clip(folder):
    args = overlay.build_parser().parse_args(arguments(folder))
    args.settings = Overlay(**json.loads(args.settings))
    return overlay.read_clip(args)


def test_video_and_sheet_are_written(clip):
    run(clip)
    source = open_source(clip / "overlay.mp4")
    assert (source.count, source.size, source.fps) == (COUNT, (512, 512), 10)
    # Three frames of four images, two frames to a row.
    expected = annotate.contact_sheet([np.zeros((64, 64, 3), np.uint8)] * 12, ["x"] * 12, columns=8, cell_px=64)
    assert read_image(clip / "contact.png").shape == expected.shape


def test_everything_is_drawn_where_it_belongs(clip):
    image = the_clip(clip).overlay(0).astype(int)
    assert image.shape == (256, 256, 3)
    red, green, blue = image[160, 64]  # the landmark at (16, 40) of 64, four times enlarged
    assert green > red + 80 and green > blue + 80
    edge = image[230, 120:136]  # alpha ends at half the width
    assert ((edge[:, 0] > edge[:, 2] + 80).any(axis=0)).all()
    assert (image[230, 140:] == 90).all() and (image[230, 4:110] == 90).all()  # no line along the border
    assert np.abs(image[250:, 10:110] - 90).max() == 0


def test_mesh_is_projected_and_its_back_left_out(clip):
    shown = the_clip(clip)
    points = shown.points(2)  # expression 1: the tip moved by 1 cm
    pixels = shown.camera.project(points)
    tri = tracking_tiles.facing_triangles(
        points, shown.model.tri, orient_outwards(shown.model.template, shown.model.tri)
    )
    # 100 px focal length; base at 22 cm, tip at 20 cm, principal point 32
    assert pixels[0] == pytest.approx([32 - 200 / 22] * 2)
    assert pixels[4] == pytest.approx([32 + 100 / 20, 32])
    assert sorted(map(tuple, tri.tolist())) == [(0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)]
    assert shown.points(LOST) is None


def test_orientation_of_the_triangles_does_not_matter(clip):
    model = pyramid()
    for tri in (model.tri, model.tri[:, ::-1]):
        sign = orient_outwards(model.template, tri)
        front = tracking_tiles.facing_triangles(model.template + [0, 0, 21], tri, sign)
        assert all(4 in t for t in front.tolist()) and len(front) == 4


def test_lost_frame_shows_no_mesh_no_landmark_and_a_black_render(clip):
    frame, shown, drawn, person = the_clip(clip).row_of_sheet(LOST)
    assert not drawn.any()
    assert np.abs(shown[160, 64].astype(int) - 90).max() == 0
    assert (person[:, : SIZE // 2] == 90).all() and not (person[:, SIZE // 2 :] == 90).any()
    assert (frame == 90).all()


def test_large_frames_keep_their_size(clip):
    run(clip, size_px=64)
    assert open_source(clip / "overlay.mp4").size == (128, 128)


def test_checkerboard_has_squares_of_two_greys():
    board = tracking_tiles.on_checkerboard(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8))
    assert set(np.unique(board)) == {150, 200}
    assert (board[0, 0] != board[0, 4]).all() and (board[0, 0] == board[4, 4]).all()


def assert_refused(clip, capsys, words):
    with pytest.raises(SystemExit) as end:
        run(clip)
    assert end.value.code == 2
    assert words in capsys.readouterr().err
    assert not (clip / "overlay.mp4").exists() and not (clip / "contact.png").exists()
    assert not list(clip.glob(".overlay*"))


def test_manifests_of_another_clip_are_refused(clip, capsys):
    zero = np.zeros(2, np.float32)
    columns = {"frame": np.arange(2), "alpha_hash": ["", ""], "coverage": zero, "flicker": zero}
    write_manifest(clip / "matting.parquet", "matting", columns, {"size_px": SIZE})
    assert_refused(clip, capsys, "describe different frames")


def test_missing_identity_is_explained(clip, capsys):
    (clip / "identity.npz").unlink()
    assert_refused(clip, capsys, "is missing")


def test_missing_mask_leaves_nothing_behind(clip, capsys):
    (clip / "alpha" / "000004.png").unlink()
    assert_refused(clip, capsys, "000004.png")


def test_mask_outline_follows_the_mask(clip):
    alpha = np.zeros((64, 64), np.uint8)
    cv2.circle(alpha, (32, 32), 12, 255, -1)
    grey = np.full((64, 64, 3), 90, np.uint8)
    drawn = (tracking_tiles.mask_outline(grey, alpha, 1) != 90).any(axis=2)
    rows, columns = np.nonzero(drawn)
    assert np.abs(np.hypot(rows - 32, columns - 32) - 12).max() < 2.5 and drawn.sum() > 40


def test_gaze_starts_at_the_eye_and_points_where_it_looks(clip):
    shown = the_clip(clip)
    starts, ends = shown.gaze(0)  # straight ahead, from (0, 0, -1) + 21 cm: towards the camera along the axis
    assert starts == pytest.approx(np.full((2, 2), 32.0)) and ends == pytest.approx(np.full((2, 2), 32.0))
    shown._columns["gaze"] = np.tile([[0.5, 0.0, 0.0, 0.5]], (COUNT, 1))
    starts, ends = shown.gaze(0)
    assert ends[0, 0] > starts[0, 0] + 5 and ends[0, 1] == pytest.approx(32)  # yaw > 0: to the image's right
    assert ends[1, 1] > starts[1, 1] + 5 and ends[1, 0] == pytest.approx(32)  # pitch > 0: down


def test_four_panels_and_three_black_ones_where_the_fit_is_lost(clip):
    shown = the_clip(clip)
    image = shown.mosaic(0)
    assert image.shape == (512, 512, 3)
    right, normals, board = image[:256, 256:], image[256:, :256], image[256:, 256:]
    assert (right[100:] == 30).all()
    assert np.abs(board[250, 250].astype(int) - 0.35 * 90).max() <= 1 and board[128, 128, 2] != 31
    # The pyramid's right side faces right (red), its upper side up (green).
    assert normals[128, 158, 0] > 170 > 85 > normals[128, 98, 0]
    assert normals[98, 128, 1] > 170 > 85 > normals[158, 128, 1]
    assert not shown.mosaic(LOST)[300:, 20:].any()
