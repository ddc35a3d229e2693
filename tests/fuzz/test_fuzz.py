"""A few damaged files for everything that reads files of others; `make fuzz` gives each of them 500."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfieavatar.errors import UserError
from tests.conftest import ROOT
from tests.fuzz import sandbox
from tests.fuzz.mutations import damage, mutate


def refuses(path):
    raise UserError(f"{path} is no video; give another")


def fails(path):
    raise ZeroDivisionError


def hangs(path):
    time.sleep(60)


def grows(path):
    bytearray(8 << 30)


def crashes(path):
    import ctypes

    ctypes.string_at(0)


def executes(path):
    subprocess.run(["true"], check=True)


def writes_elsewhere(path):
    Path(path.parent.parent, "elsewhere").write_text("x")


@pytest.mark.parametrize(
    ("read", "kind"),
    [(len, "error"), (str, "read"), (refuses, "refused"), (fails, "error"), (hangs, "hang"), (grows, "memory"),
     (crashes, "crash"), (executes, "escape"), (writes_elsewhere, "escape")],
)  # fmt: skip
def test_the_sandbox_tells_how_a_reader_ends(tmp_path, read, kind):
    (tmp_path / "own").mkdir()
    assert sandbox.run(read, tmp_path / "own" / "clip.mp4", seconds=2 if read is hangs else 20).kind == kind


def test_the_same_seed_damages_alike_and_another_otherwise():
    data = bytes(range(256)) * 8
    made = [mutate(data, random.Random(seed)) for seed in (1, 1, *range(2, 40))]
    assert made[0] == made[1] and len(set(made)) > 30
    assert damage(b"", random.Random(0)) is not None, "an empty file, too"


@pytest.mark.slow
def test_no_reader_fails_on_a_few_damaged_files():
    command = [sys.executable, "-m", "tests.fuzz", "--count", "2", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
