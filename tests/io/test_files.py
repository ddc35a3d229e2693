"""Outputs are whole or not there."""

import errno
import json
import os

import pytest

from selfieavatar.io import files
from selfieavatar.io.files import atomic_dir, atomic_file, remove_dead
from selfieavatar.io.owner import place


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
    """What may be of a process that is still at work stays for a day."""
    names = {"gone": f"{place()}-4194305", "mine": f"{place()}-{os.getpid()}", "far": "00000000-1", "old": "00000000-2"}
    for owner in names.values():
        for end in (".part", ".old"):
            (tmp_path / f".frames.{owner}-0123abcd{end}").mkdir()
        (tmp_path / f".frames.{owner}-0123abcd.part/half").touch()
        (tmp_path / f".a.{owner}-0123abcd.part.txt").write_text("half")
    (tmp_path / ".b.00000000-2-0123abcd.part.txt").write_text("of another output")
    for path in tmp_path.glob(".*00000000-2-*"):
        os.utime(path, (0, 0))
    with atomic_dir(tmp_path / "frames") as temporary:
        (temporary / "new").touch()
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    found = sorted(path.name for path in tmp_path.iterdir())
    left = [f".frames.{names[who]}-0123abcd{end}" for who in ("mine", "far") for end in (".part", ".old")]
    left += [f".a.{names[who]}-0123abcd.part.txt" for who in ("mine", "far")]
    assert found == sorted([*left, ".b.00000000-2-0123abcd.part.txt", "a.txt", "frames"])
    assert os.listdir(tmp_path / "frames") == ["new"]


def test_what_processes_left_that_have_ended_is_removed_right_below_a_folder(tmp_path):
    gone, mine = f"{place()}-4194305-00000000", f"{place()}-{os.getpid()}-00000000"
    left = [f".summary.{gone}.part.html", f".frames.{gone}.old"]
    kept = [f".summary.{mine}.part.html", ".summary.part.html", ".git", "a.00000000-4194305-00000000.part"]
    for name in left + kept:
        (tmp_path / name).mkdir()
    remove_dead(tmp_path)
    remove_dead(tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_two_writers_of_one_output_do_not_meet(tmp_path):
    for writer in (atomic_file, atomic_dir):
        with writer(tmp_path / "out") as one, writer(tmp_path / "out") as other:
            assert one != other and one.exists() and other.exists()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        (tmp_path / "out").unlink() if writer is atomic_file else (tmp_path / "out").rmdir()


def test_nothing_is_written_through_a_planted_link(tmp_path, monkeypatch):
    """Even where somebody has guessed the name."""
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0123abcd")
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / f".a.{place()}-{os.getpid()}-0123abcd.part.txt").symlink_to(tmp_path / "theirs")
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("ours")
    assert (tmp_path / "theirs").read_text() == "theirs" and not (tmp_path / "a.txt").exists()


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
