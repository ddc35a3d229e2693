"""A folder's digest follows the files that are read, and nothing else."""

import os

import pytest

from selfieavatar.workflow import input_folders
from selfieavatar.workflow.input_folders import as_input


def images_digest(*inputs):
    """As a run finds it that begins now."""
    input_folders.state_of.cache_clear()
    return input_folders.images_digest(*inputs)


def files_digest(*inputs):
    input_folders.state_of.cache_clear()
    return input_folders.files_digest(*inputs)


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        path = tmp_path / "image" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
        os.utime(path, (1e9, 1e9))
    return tmp_path / "image"


def test_a_file_that_is_changed_renamed_added_or_removed(folder):
    before = images_digest(str(folder))
    (folder / "1.png").write_bytes(b"54321")
    changed = images_digest(str(folder))
    os.utime(folder / "1.png", (1e9, 1e9))
    assert images_digest(str(folder)) == before != changed
    (folder / "1.png").rename(folder / "7.png")
    renamed = images_digest(str(folder))
    (folder / "7.png").unlink()
    assert len({before, renamed, images_digest(str(folder))}) == 3


def test_files_that_are_not_read(folder):
    before = images_digest(str(folder)), files_digest(str(folder))
    for name in (".DS_Store", "._1.png", "Thumbs.db", "desktop.ini"):
        (folder / name).touch()
    assert (images_digest(str(folder)), files_digest(str(folder))) == before
    (folder / "notes.txt").touch()
    assert images_digest(str(folder)) == before[0] and files_digest(str(folder)) != before[1]


def test_files_and_missing_folders_are_left_to_snakemake(folder):
    video = folder / "0.png"
    assert images_digest(str(video), [], [str(folder / "none")]) == ""
    assert set(as_input(str(video)).flags) == {"local"}
    assert set(as_input(str(folder)).flags) == {"local", "ancient"}
    assert images_digest(str(video), [str(folder)]) == images_digest(str(folder))


def test_a_link_that_leads_nowhere_is_the_stages_to_say(folder):
    before = images_digest(str(folder))
    (folder / "9.png").symlink_to(folder / "away.png")
    assert images_digest(str(folder)) != before


def test_a_folder_is_looked_at_once_in_a_run(folder):
    before = images_digest(str(folder))
    (folder / "1.png").unlink()
    assert input_folders.images_digest(str(folder), [str(folder)]) == before != images_digest(str(folder))
