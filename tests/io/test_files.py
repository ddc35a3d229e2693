"""Outputs are whole or not there."""

import errno
import json
import os

import pytest

from selfieavatar.io import files
from selfieavatar.io.files import atomic_dir, atomic_file


def test_a_failed_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(RuntimeError), atomic_dir(folder) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert os.listdir(tmp_path) == ["frames"] and os.listdir(folder) == ["old"]
    with atomic_dir(folder) as temporary:
        (temporary / "new").touch()
    assert os.listdir(tmp_path) == ["frames"] and os.listdir(folder) == ["new"]


def test_what_a_killed_run_left_does_not_stay(tmp_path):
    (tmp_path / ".frames.part").mkdir()
    (tmp_path / ".frames.part" / "half").touch()
    (tmp_path / ".a.part.txt").write_text("half")
    with atomic_dir(tmp_path / "frames") as temporary:
        (temporary / "new").touch()
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "frames"] and os.listdir(tmp_path / "frames") == ["new"]


@pytest.mark.parametrize("writer", [atomic_file, atomic_dir])
def test_a_full_disk_is_named_by_the_output(tmp_path, writer):
    with pytest.raises(OSError) as caught, writer(tmp_path / "out.x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "out.x") and not list(tmp_path.iterdir())


def test_json_is_written_whole_or_not_at_all(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": [1, None], "ö": "ü"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None], "ö": "ü"}
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
