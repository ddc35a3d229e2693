"""Test the command that writes rows for MEAD and IMAvatar."""

import json
import subprocess
import sys

import pytest

from selfieavatar.settings.cli import main
from selfieavatar.settings.clip_sheet import read_sheet
from stages import decode
from tests.interop.datasets.makers import encode_clip, write_video
from tools import ingest


def run(*arguments):
    main(ingest.build_parser(), ingest.run, [str(argument) for argument in arguments])


def refused(capsys, *arguments):
    """Get the error sentence of a run."""
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def mead(tmp_path):
    for emotion, fps in (("angry", 25), ("sad", 30)):
        for view in ("front", "left_30"):
            encode_clip(tmp_path / f"mead/M003/video/{view}/{emotion}/level_2/001.mp4", fps=fps)
    return tmp_path / "mead"


def test_mead(mead, tmp_path, capsys):
    sheet = tmp_path / "sheet.tsv"
    run("mead", mead, "--consent", "licence", "--preset", "smoke", "--out", sheet)
    run("mead", mead, "--consent", "licence", "--preset", "smoke", "--out", sheet)
    clips = read_sheet(sheet).clips
    comments = [line for line in sheet.read_text().splitlines() if line.startswith("#")]
    assert comments == ["# mead: videos to test on drawn by --test-share 0.2 --seed 1"]
    assert [(clip.subject, clip.clip, clip.dataset, clip.consent, clip.preset) for clip in clips] == [
        ("M003", f"front_{emotion}_level_2_001", "mead", "licence", "smoke") for emotion in ("angry", "sad")
    ]
    assert sorted(clip.role for clip in clips) == ["test", "train"]
    run("mead", mead, "--consent", "licence", "--views", "front,left_30", "--emotions", "sad", "--test-share", 0)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows.pop(1) == ["# mead: videos to test on drawn by --test-share 0 --seed 1"]
    assert [row[:3] for row in rows[1:]] == [
        ["M003_front", "front_sad_level_2_001", "train"], ["M003_left_30", "left_30_sad_level_2_001", "train"],
    ]  # fmt: skip


def test_mead_without_views(tmp_path, capsys):
    folder = tmp_path / "copy"
    encode_clip(folder / "m003_ang_3_001.mp4")
    said = refused(capsys, "mead", folder, "--consent", "licence")
    assert "left out: m003_ang_3_001.mp4 does not name: view; say it by --assume-view" in said
    run("mead", folder, "--consent", "licence", "--assume-view", "front", "--actors", "m003", "--test-share", 0)
    _, comment, row = capsys.readouterr().out.splitlines()
    assert comment.endswith("--seed 1 --assume-view front")
    assert row.split("\t")[:3] == ["M003", "front_angry_level_3_001", "train"]
    run("mead", folder, "--consent", "licence", "--assume-view", "left_60", "--test-share", 0)
    assert capsys.readouterr().out.splitlines()[-1].split("\t")[:2] == ["M003", "left_60_angry_level_3_001"]
    said = refused(capsys, "mead", folder, "--consent", "licence", "--assume-actor", "anna")
    assert "--assume-actor 'ANNA' is no name of MEAD's" in said


def test_imavatar(tmp_path, caplog):
    for name in ("MVI_1810", "MVI_1812"):
        write_video(tmp_path / "data/subject1/subject1" / name, coefficients=name == "MVI_1810")
    sheet = tmp_path / "sheet.tsv"
    with caplog.at_level("INFO"):
        run("imavatar", tmp_path / "data", "--consent", "licence", "--white", tmp_path / "white", "--out", sheet)
    assert [(clip.clip, clip.role, clip.source) for clip in read_sheet(sheet).clips] == [
        ("MVI_1810", "train", str(tmp_path / "white/subject1/MVI_1810/image")),
        ("MVI_1812", "test", str(tmp_path / "white/subject1/MVI_1812/image")),
    ]
    assert "masks: all there" in caplog.text and "1 videos have none" in caplog.text


def test_invalid_options_are_refused(mead, tmp_path, capsys):
    out = tmp_path / "sheet.tsv"
    given = ("mead", mead, "--consent", "licence", "--out", out)
    for arguments, words in (
        (("--views", "back"), "--views has an unknown value 'back'; known: front"),
        (("--emotions", "glad"), "--emotions has an unknown value 'glad'"),
        (("--levels", ""), "--levels is empty"),
        (("--test-share", 1.0), "--test-share 1.0 must be"),
        (("--actors", "M999"), "no video of M999"),
        (("--levels", "1"), "has no such video"),
    ):
        assert words in refused(capsys, *given, *arguments)
    assert "is not a folder" in refused(capsys, "mead", tmp_path / "none", "--consent", "licence")
    assert "--consent" in refused(capsys, "mead", mead)
    write_video(tmp_path / "data/my subject/video 1")
    assert "rename them" in refused(capsys, "imavatar", tmp_path / "data", "--consent", "self", "--train", "video 1")
    assert not out.exists()


@pytest.mark.parametrize("words", [(), ("mead",), ("imavatar",)])
def test_help(words):
    command = [sys.executable, "-m", "tools.ingest", *words, "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "MEAD" in said or "IMAvatar" in said


def test_labels_reach_the_decode_stage_unchanged():
    labels = {"emotion": "angry", "level": "1"}
    arguments = ["--source", "x", "--out-frames", "y", "--manifest", "z", "--labels", json.dumps(labels)]
    assert decode.build_parser().parse_args(arguments).labels == labels


def test_subjects_without_an_avatar_are_reported(tmp_path, caplog, capsys):
    for subject, name in (("subject1", "MVI_1810"), ("subject1", "MVI_1812"), ("subject2", "MVI_1")):
        write_video(tmp_path / "data" / subject / subject / name)
    run("imavatar", tmp_path / "data", "--consent", "licence")
    assert "subject2 is left out: none of its videos is named" in caplog.text
    assert len(capsys.readouterr().out.splitlines()) == 3
    run("imavatar", tmp_path / "data", "--consent", "licence", "--test", "MVI_1812")
    assert "subject1 has no video to train on" in caplog.text


def test_videos_that_are_left_out_are_named(mead, caplog, capsys):
    encode_clip(mead / "M003/video/front/all.mp4")
    run("mead", mead, "--consent", "licence", "--views", "front,front")
    assert "left out: M003/video/front/all.mp4 does not name: emotion, level, number of the take" in caplog.text
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["M003", "M003"]
