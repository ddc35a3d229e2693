"""What is shared names no folder of the machine that it was made on."""

from pathlib import Path

import pytest

from selfieavatar.io.shared_text import without_folders
from selfieavatar.settings.provenance import ROOT


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("cannot open /home/anna/videos/selfie.mp4: no video", "cannot open selfie.mp4: no video"),
        ("('/data/lab a/x.pt')", "('lab a/x.pt')"),
        (f"run snakemake {Path.cwd()}/results/anna/avatar.pt", "run snakemake results/anna/avatar.pt"),
        (f"{ROOT}/resources/assets/a.pth is missing", "resources/assets/a.pth is missing"),
        ("see https://example.org/a/b/c and docs/models.md", "see https://example.org/a/b/c and docs/models.md"),
        ("frames/s, and/or 3/4 of it; ~/.config/x", "frames/s, and/or 3/4 of it; ~/.config/x"),
        ("a/b/c and ../up/x and ./here/y", "a/b/c and ../up/x and ./here/y"),
        ("results/anna/logs/train.log; /mnt/x/y/z", "results/anna/logs/train.log; z"),
    ],
)
def test_paths_lose_their_folders_and_everything_else_stays(said, left):
    assert without_folders(said) == left


def test_folders_that_are_named_are_where_paths_begin():
    said = without_folders("snakemake /data/x/results/a.json --config results=/data/x/results", Path("/data/x"))
    assert said == "snakemake results/a.json --config results=results"
