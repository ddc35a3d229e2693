"""The scripts that measure speed still run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, ROOT / "benchmarks" / name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_every_script_says_how_to_use_it(path):
    assert "usage:" in run(path.name, "--help")


@pytest.mark.slow
def test_the_tables_of_the_networks_are_made():
    few = ("--presets", "smoke", "--threads", "1", "--frames", "2", "--arithmetic", "plain", "bfloat16")
    table = run("networks.py", *few)
    assert "| smoke | G_style |" in table and "| smoke | 1 | bfloat16 |" in table
