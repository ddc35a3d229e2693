"""The page about the tracking holds every clip, escapes names, and refuses lists that do not belong together."""

import re

import numpy as np
import pytest

from selfieavatar.io.images import write_image
from selfieavatar.io.manifest import write_manifest
from selfieavatar.settings import cli
from stages import tracking
from tests.fitting import makers

COUNT = 40


def write_clip(folder, count=COUNT, shown=None, **facts):
    frames, zero = np.arange(count), np.zeros(count, np.float32)
    quality = np.full(count, "ok", object)
    quality[5:8] = "lost"
    lost = quality == "lost"
    rows = {"frame": frames if shown is None else shown}
    write_manifest(folder / "decode.parquet", "decode", {
        "frame": frames, "time_s": frames / 25, "source_frame": frames, "face": zero == 0,
        "face_box_px": np.zeros((count, 4)), "duplicate": zero > 0, "sharpness": zero, "picture_hash": [""] * count,
    }, {"fps": 25.0, "size_px": 64, "static_camera": True, "faces_per_frame_max": 1} | facts)  # fmt: skip
    points = np.random.default_rng(0).uniform(10, 50, (count, 68 * 2))
    write_manifest(folder / "landmarks.parquet", "landmarks", rows | {
        "found": ~lost, "points_px": points, "depth": np.zeros((count, 68)), "confidence": zero,
    }, {"landmark_set": "ibug68", "count": 68, "size_px": 64})  # fmt: skip
    nan = np.where(lost, np.nan, 0.0)[:, None]
    write_manifest(folder / "fit.parquet", "fit", {
        "frame": frames, "fitted": ~lost, "rotation": np.zeros((count, 3)) + nan,
        "translation": np.tile([[0, 0, 50.0]], (count, 1)) + nan, "expression": np.zeros((count, 2)) + nan,
        "gaze": np.zeros((count, 4)) + nan, "light": np.zeros((count, 27)), "torso": np.zeros((count, 2)),
        "landmark_error": 0.004 + nan[:, 0],
        "quality": quality,
    }, {"size_px": 64})  # fmt: skip


def run(folder, clips, **lists):
    argv = ["--subject", "anna", "--identity", str(folder / "identity.npz"), "--out", str(folder / "tracking.html")]
    argv += ["--clips", *clips]
    for kind in ("decode", "landmarks", "fit"):
        argv += [f"--{kind}", *(str(folder / "clips" / name / f"{kind}.parquet") for name in lists.get(kind, clips))]
    argv += ["--sheet", *(str(folder / "clips" / name / "contact.png") for name in clips)]
    cli.main(tracking.build_parser(), tracking.run, argv)
    return (folder / "tracking.html").read_text()


@pytest.fixture
def subject(tmp_path):
    makers.identity(makers.model(2)).save(tmp_path / "identity.npz")
    for name in ("talk", "read"):
        write_clip(tmp_path / "clips" / name)
        write_image(tmp_path / "clips" / name / "contact.png", np.full((40, 1200, 3), 99, np.uint8))
    return tmp_path


def test_every_clip_has_a_row_its_advice_and_its_curves(subject):
    page = run(subject, ["talk", "read"])
    assert len(re.findall(r"<tr><td>", page)) == 2
    assert page.count("3 frames (8 %) have no fit") == 2 and "-0" not in re.sub("<img[^>]*>", "", page)
    assert 'href="clips/talk/overlay.mp4"' in page and 'href="clips/read/contact.png"' in page
    assert page.count("data:image/png;base64,iVBOR") == page.count("data:image/jpeg;base64,/9j/") == 2
    beside = r"""(src|href)="(?!data:|#|clips/|capture\.html")|url\(|@import"""
    assert not re.search(beside, page), "the page needs nothing else"


def test_frames_left_out_have_a_column_and_a_reason(subject):
    write_clip(subject / "clips" / "talk", left_out=[[5, 7, "somebody else"]])
    page = run(subject, ["talk"])
    assert "<td>2</td><td>0</td><td>0</td><td>1</td>" in page and "2 that show somebody else" in page


def test_lists_that_do_not_belong_together_are_refused(subject, capsys):
    with pytest.raises(SystemExit):
        run(subject, ["talk", "read"], fit=["talk"])
    assert "one for each clip" in capsys.readouterr().err
    write_clip(subject / "clips" / "talk", shown=np.arange(COUNT) + 1)
    with pytest.raises(SystemExit):
        run(subject, ["talk"])
    assert "list different frames" in capsys.readouterr().err and not (subject / "tracking.html").exists()
