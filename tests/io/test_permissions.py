"""What is written about a person is for the account that made it, unless a group shares it."""

import errno
import os
from pathlib import Path

import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_dir, atomic_file
from selfieavatar.io.permissions import UMASK


@pytest.fixture(autouse=True)
def open_shell(monkeypatch):
    monkeypatch.delenv(UMASK, raising=False)
    before = os.umask(0o000)
    yield
    os.umask(before)


def write(folder):
    with atomic_file(folder / "anna" / "avatar.pt") as path:
        path.write_bytes(b"face")
    with atomic_dir(folder / "anna" / "clips" / "frames") as made:
        (made / "talk").mkdir()
        (made / "talk" / "000000.png").write_bytes(b"face")
        (made / "elsewhere").symlink_to(folder)


def modes(folder):
    found = (path for path in sorted(folder.rglob("*")) if not path.is_symlink())
    return {path.is_dir(): oct(path.stat().st_mode & 0o7777) for path in found}


@pytest.mark.parametrize(
    ("umask", "file", "directory"), [("", 0o600, 0o700), ("027", 0o640, 0o750), ("0007", 0o660, 0o770)]
)
def test_outputs_are_private_whatever_the_shell_allows(tmp_path, monkeypatch, umask, file, directory):
    monkeypatch.setenv(UMASK, umask)
    results = tmp_path / "results"
    write(results)
    assert modes(results) == {False: oct(file), True: oct(directory)}
    assert oct(results.stat().st_mode & 0o7777) == oct(directory)


def test_a_disk_that_keeps_no_permissions_is_written_all_the_same(tmp_path, monkeypatch, caplog):
    def refuse(self, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "chmod", refuse)
    for name in ("a", "b"):
        with atomic_file(tmp_path / name) as temporary:
            temporary.write_text("x")
            monkeypatch.setenv(UMASK, "007")  # so that there is something to change
    assert (tmp_path / "b").read_text() == "x" and caplog.text.count("keeps no permissions") == 1


def test_a_folder_that_is_there_keeps_its_permissions_and_a_groups_folder_its_group(tmp_path, monkeypatch):
    monkeypatch.setenv(UMASK, "007")
    results = tmp_path / "results"
    results.mkdir()
    results.chmod(0o2775)
    write(results)
    assert results.stat().st_mode & 0o7777 == 0o2775
    assert all(folder.stat().st_mode & 0o7777 == 0o2770 for folder in (results / "anna", results / "anna" / "clips"))


@pytest.mark.parametrize("umask", ["777", "-1", "u=rw", "0o27", "700", "9"])
def test_a_umask_that_is_none_is_refused_in_one_sentence(tmp_path, monkeypatch, umask):
    monkeypatch.setenv(UMASK, umask)
    with pytest.raises(UserError, match="000 to 077"), atomic_file(tmp_path / "a") as path:
        path.touch()
    assert not list(tmp_path.iterdir())
