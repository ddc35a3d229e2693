"""Outputs are whole or not there."""

import errno
import json
import os

import cv2
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io import files
from selfieavatar.io.files import ImageWriter, atomic_dir, atomic_file, content_hash, read_image, write_image


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


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_images_keep_every_value(tmp_path, kind, shape):
    image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)
    digest = write_image(tmp_path / "p.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), image)
    assert digest == content_hash(tmp_path / "p.png")


def test_images_are_rgb_for_everybody_else(tmp_path):
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    write_image(tmp_path / "p.png", red)
    assert cv2.imread(str(tmp_path / "p.png"))[0, 0].tolist() == [0, 0, 255]


def test_unreadable_images(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_image(tmp_path / "none.png")
    (tmp_path / "p.png").write_text("text")
    with pytest.raises(UserError, match="not a readable image"):
        read_image(tmp_path / "p.png")


def test_writer_writes_all_with_their_hashes(tmp_path):
    images = [np.full((4, 4, 3), number, np.uint8) for number in range(40)]
    with ImageWriter(tmp_path / "out", threads=2) as writer:
        for number, image in enumerate(images):
            writer.put(number, image)
    assert sorted(writer.hashes) == list(range(40))
    assert writer.hashes[39] == content_hash(tmp_path / "out" / "000039.png")
    assert read_image(tmp_path / "out" / "000039.png")[0, 0, 0] == 39


def test_writer_passes_on_a_full_disk(tmp_path, monkeypatch):
    def full(_image):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "encode_png", full)
    with pytest.raises(OSError, match="No space left"), ImageWriter(tmp_path / "out") as writer:
        writer.put(0, np.zeros((2, 2), np.uint8))


def test_json_is_written_whole_or_not_at_all(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": [1, None], "ö": "ü"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None], "ö": "ü"}
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
