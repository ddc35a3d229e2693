"""What is shared names no folder of the machine that it was made on."""

from pathlib import Path

import pytest

from selfieavatar.io.shared_text import without_folders
from selfieavatar.settings.provenance import ROOT


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("cannot open /home/anna/videos/selfie.mp4: no video", "cannot open selfie.mp4: no video"),
        ("('/data/lab a/x.pt')", "('x.pt')"),
        (f"run snakemake {Path.cwd()}/results/anna/avatar.pt", "run snakemake results/anna/avatar.pt"),
        (f"{ROOT}/resources/assets/a.pth is missing", "resources/assets/a.pth is missing"),
        ("see https://example.org/a/b/c and docs/models.md", "see https://example.org/a/b/c and docs/models.md"),
        ("frames/s, and/or 3/4 of it; ~/.config/x", "frames/s, and/or 3/4 of it; ~/.config/x"),
        ("a/b/c and ../up/x and ./here/y", "a/b/c and ../up/x and ./here/y"),
        ("results/anna/logs/train.log; /mnt/x/y/z", "results/anna/logs/train.log; z"),
        ("/tmp/x/anna smith/My clips (2)/broken one.mp4: no video", "broken one.mp4: no video"),
        ("/mnt/c/Users/Anna B. Smith/clip.mp4 and docs/x.md", "clip.mp4 and docs/x.md"),
        ("/home/o'neil/a;b/x.mp4, or 'docs/y.md'", "x.mp4, or 'docs/y.md'"),
        (r"C:\Users\Anna Smith\x.mp4, see docs/y.md", "x.mp4, see docs/y.md"),
        (r"'D:\\Anna\\x.mp4' or D:/Anna/y.mp4 or \\lab\anna\z.mp4", "'x.mp4' or y.mp4 or z.mp4"),
        ("/a/x.mp4 and /b/c d/y.mp4; give docs/z.md --to e/f", "x.mp4 and y.mp4; give docs/z.md --to e/f"),
        ("snakemake /data/x/a --until b/c; frames 1: 3/4", "snakemake a --until b/c; frames 1: 3/4"),
    ],
)
def test_paths_lose_their_folders_and_everything_else_stays(said, left):
    assert without_folders(said) == left


def test_folders_that_are_named_are_where_paths_begin():
    said = without_folders("snakemake /data/x/results/a.json --config results=/data/x/results", Path("/data/x"))
    assert said == "snakemake results/a.json --config results=results"


def test_the_home_folder_is_nobody_s(monkeypatch):
    monkeypatch.setenv("HOME", "/home/o'neil, anna")
    assert without_folders("cannot read /home/o'neil, anna/clips/x.mp4") == "cannot read x.mp4"
    assert without_folders("cannot write /home/o'neil, anna (no space)") == "cannot write ~ (no space)"


def test_folders_of_any_name_are_taken_out_where_they_are_named():
    folder = Path("/x/anna: a, b.mp4 (c/My  clips")
    assert without_folders(f"error: {folder}/x y.mp4 has no face", folder) == "error: x y.mp4 has no face"
