"""Killed at a random moment, or halted, a run gives the results of an undisturbed one; `make torture` does more."""

import shutil

import pytest

from tools import torture

pytestmark = pytest.mark.slow

# Not by the clock, as the preset's minutes would.
SETTINGS = """train: {images: 24, minutes: 0, batch: 2, validations: 2, save_s: 1, weight_mrf: 0, weight_cos: 0}
evaluate: {network_metrics: false}
"""


def test_a_run_that_was_killed_recovers(made_project, tmp_path, capsys):
    """The early stages are those of the shared run."""
    reference = tmp_path / "reference"
    shutil.copytree(made_project.work, reference)
    for folder in (reference / "results").iterdir():  # others of this folder make more there
        if folder.is_dir() and folder.name not in ("smoke", "guest", "logs"):
            shutil.rmtree(folder)
    for more in ("variants", "reenact", "train"):
        shutil.rmtree(reference / "results/smoke" / more, ignore_errors=True)
    (reference / "small.yaml").write_text(SETTINGS)
    status = torture.main(
        ["--count", "1", "--from-stage", "samples", "--reference", str(reference), "--halt-s", "1", "--no-disk"]
    )
    said = capsys.readouterr().out
    assert status == 0 and "| 1 | 1 |" in said, said
