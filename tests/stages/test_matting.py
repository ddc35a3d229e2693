"""Test the matting stage from its command line: files, manifest, polarity, plate, precomputed masks, RVM."""

import json
import unicodedata

import cv2
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.files import content_hash
from selfieavatar.io.images import read_image, write_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.settings.cli import main
from stages import matting
from tests.matting.shapes import composite, head_and_shoulders

COUNT, SOURCE_PX, FRAME_PX = 6, 160, 64


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Write a folder of images of a drawn person who moves before a static wall, and one of masks."""
    root = tmp_path_factory.mktemp("clip")
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.random((5, 5, 3)), (SOURCE_PX, SOURCE_PX), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    for number in range(COUNT):
        alpha = head_and_shoulders(SOURCE_PX, hairs=0, shift=2 * number)
        image = composite(alpha, np.broadcast_to([0.8, 0.6, 0.5], wall.shape), wall)
        write_image(root / "frames" / f"{number:04d}.png", image)
        write_image(root / "masks" / f"{number:04d}.png", np.rint(alpha * 255).astype(np.uint8))
    return root


def decode_manifest(path, first=0, last=COUNT, static=True, source_px=SOURCE_PX, **more):
    count = last - first
    columns = {
        "frame": np.arange(count),
        "time_s": np.arange(count) / 25.0,
        "source_frame": np.arange(first, last),
        "face": np.zeros(count, bool),
        "face_box_px": np.full((count, 4), np.nan, np.float32),
        "duplicate": np.zeros(count, bool),
        "sharpness": np.ones(count, np.float32),
        "picture_hash": ["0"] * count,
    }
    facts = {
        "source": "frames", "fps": 25.0, "size_px": FRAME_PX, "crop_px": [8.0, 4.0, 144.0],
        "source_size": [source_px, source_px], "reader": "folder", "faces_per_frame_max": 0, "static_camera": static,
    } | more  # fmt: skip
    write_manifest(path, "decode", columns, facts)
    return path


def command(clip, out, settings, *more, first=0, last=COUNT, **facts):
    decode = decode_manifest(out / "decode.parquet", first, last, **facts)
    arguments = ["--source", clip / "frames", "--start", first, "--end", last, "--decode", decode]
    arguments += ["--out-alpha", out / "alpha", "--manifest", out / "matting.parquet", "--threads", 2]
    arguments += ["--settings", json.dumps({"size_px": 128} | settings), *more]
    main(matting.build_parser(), matting.run, [str(argument) for argument in arguments])


def test_precomputed_masks_are_cropped_like_the_clip(clip, tmp_path):
    command(clip, tmp_path, {"method": "given"}, "--given", clip / "masks", first=2, last=5)
    manifest = read_manifest(tmp_path / "matting.parquet", "matting")
    assert list(manifest["frame"]) == [0, 1, 2]
    assert manifest.metadata == {"method": "given", "size_px": FRAME_PX, "plate": False}
    for number in range(3):
        path = tmp_path / "alpha" / f"{number:06d}.png"
        alpha = read_image(path)
        truth = read_image(clip / "masks" / f"{number + 2:04d}.png")[4:148, 8:152]
        expected = cv2.resize(truth, (FRAME_PX, FRAME_PX), interpolation=cv2.INTER_AREA).astype(float)
        assert alpha.dtype == np.uint8 and alpha.shape == (FRAME_PX, FRAME_PX)
        assert np.abs(alpha - expected).mean() < 1.0 and np.abs(alpha - expected).max() < 24
        assert manifest["alpha_hash"][number] == content_hash(path)
        assert manifest["coverage"][number] == pytest.approx(alpha.mean() / 255, abs=1e-5)
    assert np.isnan(manifest["flicker"][0])


def test_the_alpha_channel_of_the_footage_is_cropped_like_the_clip(clip, tmp_path, capsys):
    given, own = tmp_path / "given", tmp_path / "own"
    for number in range(COUNT):
        colours = read_image(clip / "frames" / f"{number:04d}.png")
        mask = read_image(clip / "masks" / f"{number:04d}.png")
        write_image(own / "frames" / f"{number:04d}.png", np.dstack([colours, mask]))
    given.mkdir()
    command(clip, given, {"method": "given"}, "--given", clip / "masks", first=2, last=5)
    command(own, own, {"method": "alpha"}, first=2, last=5)
    expected, found = (read_manifest(folder / "matting.parquet", "matting") for folder in (given, own))
    assert found["alpha_hash"].tolist() == expected["alpha_hash"].tolist() and found.metadata["method"] == "alpha"
    assert "frames has no alpha channel: choose another matting.method" in failure(
        capsys, clip, tmp_path, {"method": "alpha"}
    )


def test_frames_without_a_face_get_an_alpha_and_the_plate_is_written(clip, tmp_path):
    plate = tmp_path / "plate.png"
    command(clip, tmp_path, {}, "--plate", plate)
    manifest = read_manifest(tmp_path / "matting.parquet", "matting")
    assert len(manifest) == COUNT and len(list((tmp_path / "alpha").glob("*.png"))) == COUNT
    assert manifest.metadata["plate"] is True and 0.0 <= manifest.metadata["plate_seen"] <= 1.0
    assert read_image(plate).shape == (FRAME_PX, FRAME_PX, 3)
    assert read_image(tmp_path / "plate_seen.png").shape == (FRAME_PX, FRAME_PX)


def test_an_outdated_plate_is_removed_where_the_camera_moves(clip, tmp_path):
    plate = tmp_path / "plate.png"
    write_image(plate, np.zeros((4, 4, 3), np.uint8))
    command(clip, tmp_path, {"quality": "none"}, "--plate", plate, static=False)
    assert not plate.exists()
    assert read_manifest(tmp_path / "matting.parquet", "matting").metadata["plate"] is False


def test_output_is_reproducible_to_the_byte(clip, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command(clip, tmp_path / name, {})
    first, second = ((tmp_path / name / "matting.parquet").read_bytes() for name in ("a", "b"))
    assert first == second


def test_recurrent_network_comes_from_the_assets(clip, tmp_path, monkeypatch):
    calls = []

    class Network:
        def __init__(self, weights, ratio, threads):
            calls.append((weights, ratio))

        def __call__(self, rgb):
            return np.full(rgb.shape[:2], 0.2 * len(calls), np.float32)

    monkeypatch.setattr(matting, "asset_path", lambda name: name)
    monkeypatch.setattr(matting, "RecurrentMatting", Network)
    command(clip, tmp_path, {"method": "rvm", "rvm_downsample_ratio": 0.25})
    assert calls == [("rvm_mobilenetv3_fp32", 0.25)]
    assert read_manifest(tmp_path / "matting.parquet", "matting")["coverage"] == pytest.approx(0.2, abs=1e-3)


def test_frames_left_out_leave_nothing_in_the_memory_of_the_recurrent_network(clip, tmp_path, monkeypatch):
    class Network:
        """Its alpha is 0.1 for each frame since the memory began."""

        def __init__(self, *_):
            self.reset()

        def reset(self):
            self.seen = 0

        def __call__(self, rgb):
            self.seen += 1
            return np.full(rgb.shape[:2], 0.1 * self.seen, np.float32)

    monkeypatch.setattr(matting, "asset_path", lambda name: name)
    monkeypatch.setattr(matting, "RecurrentMatting", Network)
    command(clip, tmp_path, {"method": "rvm"}, left_out=[[2, 3, "somebody else"], [3, 4, "the person elsewhere"]])
    coverage = read_manifest(tmp_path / "matting.parquet", "matting")["coverage"]
    assert coverage == pytest.approx([0.1, 0.2, 0.1, 0.2, 0.1, 0.2], abs=3e-3)


def failure(capsys, *arguments, **facts):
    with pytest.raises(SystemExit) as stop:
        command(*arguments, **facts)
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_bad_settings_say_which(clip, tmp_path, capsys):
    assert "matting.method" in failure(capsys, clip, tmp_path, {"method": "magic"})
    assert "temporal" in failure(capsys, clip, tmp_path, {"temporal": 1.0})
    assert "band_px" in failure(capsys, clip, tmp_path, {"band_pix": 3})
    assert not (tmp_path / "alpha").exists()


def test_precomputed_masks_are_found_by_the_names_of_the_images(tmp_path):
    """The names lack leading zeros, and one mask is unused."""
    for number in (1, 2, 10):
        write_image(tmp_path / "frames" / f"{number}.png", np.full((160, 160, 3), 99, np.uint8))
    for number in (1, 2, 5, 10):
        write_image(tmp_path / "masks" / f"{number}.png", np.full((160, 160), 20 * number, np.uint8))
    command(tmp_path, tmp_path, {"method": "given"}, "--given", tmp_path / "masks", last=3)
    seen = [read_image(tmp_path / "alpha" / f"{number:06d}.png")[32, 32] for number in range(3)]
    assert seen == [20, 40, 200]


@pytest.mark.parametrize(("image", "mask"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_precomputed_masks_may_have_accents_in_another_form_of_unicode(tmp_path, image, mask):
    for level, letter in ((20, "é"), (40, "ü")):
        names = [f"{unicodedata.normalize(form, letter)}.png" for form in (image, mask)]
        write_image(tmp_path / "frames" / names[0], np.full((160, 160, 3), 99, np.uint8))
        write_image(tmp_path / "masks" / names[1], np.full((160, 160), level, np.uint8))
    command(tmp_path, tmp_path, {"method": "given"}, "--given", tmp_path / "masks", last=2)
    assert [read_image(tmp_path / "alpha" / f"{number:06d}.png")[32, 32] for number in range(2)] == [20, 40]


def test_of_masks_whose_names_differ_in_unicode_alone_each_image_has_its_own(tmp_path):
    for level, form in ((20, "NFC"), (40, "NFD")):
        name = f"{unicodedata.normalize(form, 'é')}.png"
        write_image(tmp_path / "frames" / name, np.full((160, 160, 3), 99, np.uint8))
        write_image(tmp_path / "masks" / name, np.full((160, 160), level, np.uint8))
    command(tmp_path, tmp_path, {"method": "given"}, "--given", tmp_path / "masks", last=2)
    seen = [read_image(tmp_path / "alpha" / f"{number:06d}.png")[32, 32] for number in range(2)]
    assert seen == [40, 20], "in the order of the names"


def test_missing_or_wrong_precomputed_masks_are_errors(clip, tmp_path, capsys):
    assert "--given" in failure(capsys, clip, tmp_path, {"method": "given"})
    (tmp_path / "few").mkdir()
    message = failure(capsys, clip, tmp_path, {"method": "given"}, "--given", tmp_path / "few")
    assert "one mask per source frame" in message
    message = failure(capsys, clip, tmp_path, {"method": "given"}, "--given", clip / "masks", source_px=200)
    assert "size of the source" in message
    assert not (tmp_path / "alpha").exists() and not (tmp_path / "matting.parquet").exists()


def test_a_changed_source_is_an_error(tmp_path):
    decode = read_manifest(decode_manifest(tmp_path / "decode.parquet"), "decode")
    with pytest.raises(UserError, match="run decode again"):
        matting.check_count(COUNT - 1, decode, "source")


def test_alpha_is_area_averaged():
    alpha = np.zeros((4, 4), np.float32)
    alpha[:2, :1] = 1.0
    assert matting.to_frame_size(alpha, 2)[0, 0] == 128


def test_person_is_white_on_real_footage(shared, tmp_path):
    video = shared / "data" / "videos" / "turning.mp4"
    decode = decode_manifest(tmp_path / "decode.parquet", 0, 4, static=False)
    manifest = read_manifest(decode, "decode")
    facts = manifest.metadata | {"crop_px": [0.0, 0.0, 512.0], "source_size": [512, 512]}
    write_manifest(decode, "decode", {name: manifest[name] for name in manifest.table.schema.names}, facts)
    arguments = ["--source", video, "--start", 0, "--end", 4, "--decode", decode, "--out-alpha", tmp_path / "alpha"]
    arguments += ["--manifest", tmp_path / "matting.parquet"]
    main(matting.build_parser(), matting.run, [str(argument) for argument in arguments])
    alpha = read_image(tmp_path / "alpha" / "000003.png")
    assert alpha[30, 32] == 255 and alpha[60, 32] == 255 and alpha[3, 3] == 0
