"""What jobs ask of the machine: a training takes all cores of a CPU, a share of them beside GPUs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHEET = """subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset
anna\ttalk\ttrain\tanna.mp4\t\t\tselfie\tself\tsmoke
"""


@pytest.mark.parametrize(
    ("gpus", "given", "threads", "gpu"),
    [("", 1, 16, 0), ("0", 1, 8, 1), ("0,1,2", 3, 4, 1), ("0,1", 0, 16, 1)],
    ids=["none", "one", "three", "kept off"],
)
def test_a_training(tmp_path, gpus, given, threads, gpu):
    (tmp_path / "anna.mp4").touch()
    (tmp_path / "sheet.tsv").write_text(SHEET)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--dry-run", "--printshellcmds"]
    command += ["results/anna/avatar.pt", "--cores", "16", "--resources", f"gpu={given}", "--config"]
    done = subprocess.run(
        [*command, "subjects=sheet.tsv"],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus},
        capture_output=True,
        text=True,
        check=True,
    )
    said = re.search(r"stages\.train .*? --threads (\d+) --gpu (\d+)", done.stdout + done.stderr, re.DOTALL)
    assert said and (int(said[1]), min(int(said[2]), given)) == (threads, min(gpu, given))
