"""Somebody else's images are measured on the avatar's own terms, whatever folder and size they come in."""

import json
import shutil

import cv2
import numpy as np
import pytest

from selfieavatar.evaluation.inference import InferenceRunner
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.io.images import read_image, write_image
from selfieavatar.io.manifest import read_manifest
from selfieavatar.settings import cli
from stages import evaluate, external
from tests.fitting import makers as face_makers
from tests.stages import test_evaluate as made

TEST = range(6)  # the frames of the clip `second` that are measured; a seventh is left out


@pytest.fixture
def subject(tmp_path):
    """The subject of the tests of evaluate, whose avatar is a little too bright."""
    made.write_clip(tmp_path / "clips/first", 10, seed=0)
    made.write_clip(tmp_path / "clips/second", 7, seed=0, missing_landmarks=[2])
    made.write_samples(tmp_path / "samples.parquet", [("first", k, "train", True) for k in range(0, 10, 2)])
    made.write_samples(tmp_path / "test_samples.parquet", [("second", k, "test", k != 6) for k in range(7)])
    face_makers.identity(view=face_makers.camera().scaled(made.SIZE)).save(tmp_path / "identity.npz")
    return tmp_path


def truth(subject, number, clip="second"):
    return read_image(subject / "clips" / clip / "frames" / f"{number:06d}.png")


def put(subject, frames=TEST, change=lambda image: image, clip=""):
    """Images of the method `peer`: the truth, changed."""
    for number in frames:
        path = subject / "external/peer" / clip / f"{number:06d}.png"
        write_image(path, change(truth(subject, number)))


def run(subject, **settings):
    folder = subject / "external/peer"
    samples = [str(subject / name) for name in ("samples.parquet", "test_samples.parquet")]
    chosen = {"network_metrics": False, "batch_size": 4, "retrack_px": 0} | settings
    argv = ["--method", "peer", "--pictures", str(folder), "--samples", *samples, "--threads", "1"]
    argv += ["--clips-dir", str(subject / "clips"), "--identity", str(subject / "identity.npz")]
    argv += ["--out", str(folder / "metrics.json"), "--frames-table", str(folder / "frames.parquet")]
    cli.main(external.build_parser(), external.run, [*argv, "--settings", json.dumps(chosen)])
    return json.loads((folder / "metrics.json").read_text())


def refused(subject, capsys):
    """The sentence that a run ends with, which leaves nothing behind."""
    with pytest.raises(SystemExit) as end:
        run(subject)
    assert end.value.code == 2
    assert not {path.suffix for path in (subject / "external/peer").iterdir()} & {".json", ".parquet"}
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_the_truth_itself_is_perfect_and_said_to_be_infinite(subject):
    put(subject)
    metrics = run(subject)
    for region in REGIONS:
        assert metrics[region]["psnr_db"] == 100 and metrics[region]["ssim"] == metrics[region]["ssim_uniform7"] == 1
    said = "psnr_db: 6 of 6 images equal the truth; their PSNR, which is infinite, counts as 100 dB"
    assert said in metrics["notes"]
    assert metrics["temporal"]["difference_error"] == 0


def test_the_avatar_s_own_images_get_the_avatar_s_figures(subject, monkeypatch):
    """Same frames, truth, regions and figures as evaluate: to the last digit."""
    monkeypatch.setattr(
        evaluate, "load_runner", lambda path, device, *_: InferenceRunner(made.TooBright(subject), device)
    )
    evaluate.run(made.arguments(subject, subject, network_metrics=False))
    shutil.copytree(subject / "self/second", subject / "external/peer")
    mine, avatar = run(subject), json.loads((subject / "metrics.json").read_text())
    same = [*REGIONS, "frames", "size_px", "temporal", "intervals", "split", "definitions", "tracked"]
    assert {name: mine[name] for name in same} == {name: avatar[name] for name in same}
    assert mine["method"] == "peer" and mine["baselines"] == {} and mine["speed"] is mine["training"] is None
    theirs, own = (read_manifest(subject / name, "self") for name in ("external/peer/frames.parquet", "self.parquet"))
    for column in own.table.column_names:
        if not column.startswith("mask_"):  # images of others come without a mask
            np.testing.assert_array_equal(theirs[column], own[column])
    assert mine["mask"] is None and any(note.startswith("mask_iou: the method gives no mask") for note in mine["notes"])


def test_folders_of_clips_and_what_is_not_measured(subject):
    put(subject, range(7), clip="second")
    for number in range(3):
        write_image(subject / "external/peer/first" / f"{number:06d}.png", truth(subject, number, "first"))
    metrics = run(subject)
    assert metrics["full"]["psnr_db"] == 100
    assert "4 images of frames that are not measured were ignored" in metrics["notes"]


def test_a_drivers_images_are_passed_over(subject, capsys):
    """They have no truth: without others there is nothing to measure, and beside others nobody counts them."""
    put(subject, range(3), clip="bert--talk")
    assert "drivers' frames alone, which have no truth to be measured against" in refused(subject, capsys)
    put(subject)
    metrics = run(subject)
    assert metrics["full"]["psnr_db"] == 100
    assert not [note for note in metrics["notes"] if "not measured" in note]


@pytest.mark.parametrize(("side", "how"), [(128, "averaged over areas"), (32, "enlarged bicubically")])
def test_another_size_is_brought_to_the_truth_s(subject, side, how):
    put(subject, change=lambda image: cv2.resize(image, (side, side), interpolation=cv2.INTER_NEAREST))
    metrics = run(subject)
    assert f"6 images of {side} px were brought to the truth's 64 px ({how})" in metrics["notes"]
    # Enlarged to twice the size without smoothing and averaged again, the truth is itself.
    assert (metrics["full"]["psnr_db"] == 100) == (side == 128)


def test_tracked_again(subject, monkeypatch):
    monkeypatch.setattr(external, "MediaPipeDetector", made.Sees)
    monkeypatch.setattr(made.Sees, "made", [])
    put(subject)
    tracked = run(subject, retrack_px=64)["tracked"]
    assert tracked["found"] == 6 and tracked["apd_deg"] < 1 and tracked["aed"] == pytest.approx(0.25, abs=0.05)


def test_missing_frames_are_counted_and_the_first_is_named(subject, capsys):
    put(subject, (0, 1, 3))
    said = refused(subject, capsys)
    assert "lacks 3 of 6 images, first that of frame 2 of clip 'second'" in said


def test_a_missing_clip_is_missing_frames(subject, capsys):
    put(subject, range(3), clip="first")
    assert "lacks 6 of 6 images, first that of frame 0 of clip 'second'" in refused(subject, capsys)


def test_loose_images_of_several_clips_are_refused(subject, capsys):
    rows = [("second", k, "test", True) for k in range(3)] + [("first", 9, "test", True)]
    made.write_samples(subject / "test_samples.parquet", rows)
    put(subject)
    assert "measured on several clips; give each a folder of its own there: second, first" in refused(subject, capsys)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda image: image[..., 0], "is a grey image of 64 x 64 px"),
        (lambda image: image[:, :40], "is a colour image of 40 x 64 px"),
    ],
)
def test_images_that_cannot_be_this_crop_are_refused(subject, capsys, change, sentence):
    put(subject, change=change)
    assert sentence in refused(subject, capsys)


def test_a_damaged_image_is_named(subject, capsys):
    put(subject)
    (subject / "external/peer/000004.png").write_bytes(b"no image")
    assert "000004.png is not a readable image; remove or replace it" in refused(subject, capsys)


def test_a_stray_file_beside_the_methods_is_refused(subject, capsys):
    put(subject)
    (subject / "external/notes.txt").touch()
    assert "notes.txt is no folder named after a method" in refused(subject, capsys)


def test_settings_are_those_of_evaluate():
    assert external.build_parser().get_default("section") == "evaluate"
