"""A full disk is said before anything is written."""

from collections import namedtuple

import pytest

from selfieavatar.errors import UserError
from selfieavatar.io import disk


def test_what_does_not_fit_is_refused_with_both_figures_and_the_advice(tmp_path, monkeypatch):
    asked = []

    def usage(path):
        asked.append(path)
        return namedtuple("usage", "free")(2.1e9)

    monkeypatch.setattr(disk.shutil, "disk_usage", usage)
    disk.refuse_full_disk(tmp_path / "a/b", 1.9e9, "")
    with pytest.raises(UserError, match=r"a/b would take about 2.0 GB, but only 2.1 GB are free there; do this"):
        disk.refuse_full_disk(tmp_path / "a/b", 2e9, "do this")
    assert asked == [tmp_path] * 2, "the folder need not be there yet"


def test_the_images_are_not_expected_to_take_less_than_they_took():
    """docs/batches.md: 49 kB a frame at 128 px; 0.35 MB of frames and UV alone at 512 px."""
    assert 49e3 < disk.image_bytes(1, 128) < 80e3
    assert 0.35e6 < disk.image_bytes(1, 512) < 1e6
    assert disk.image_bytes(1500, 512) == 1500 * disk.image_bytes(1, 512)
