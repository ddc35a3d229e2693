"""The workflow passes Snakemake's own linter and formatter."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command):
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_lint():
    said = run("snakemake", "--lint")
    assert said.returncode == 0, said.stdout + said.stderr


def test_format():
    said = run("snakefmt", "--check", "Snakefile", "workflow")
    assert said.returncode == 0, said.stdout + said.stderr
