"""Reading avatar.pt, which may come from anybody: as torch reads it, in bounded time and memory."""

import os
import time
import zipfile
from collections import OrderedDict

import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.avatar_file import FORMAT, read_avatar

torch = pytest.importorskip("torch")
resource = pytest.importorskip("resource")

CONTENT = {
    "format": FORMAT,
    "subject": "anna",
    "g_style": OrderedDict(a=torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last), b=torch.tensor(2.0)),
    "identity": {
        "tri": torch.arange(6, dtype=torch.int32).reshape(2, 3), "part": torch.tensor([1, 2], dtype=torch.int8),
        "texture": torch.zeros(2, 2, 3, dtype=torch.uint8), "none": torch.zeros(0, 3), "model": "facemesh",
        "part of another": torch.arange(10.0)[2:8:2], "whole": torch.arange(3), "yes": torch.tensor([True]),
    },
    "history": [{"images": 1.0}],
    "minutes": 1.5,
    "ends": (1, None),
}  # fmt: skip


def same(a, b):
    if isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(b, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in b)
    if isinstance(b, list | tuple):
        return type(a) is type(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_it_reads_what_torch_reads(tmp_path):
    torch.save(CONTENT, tmp_path / "avatar.pt")
    content = read_avatar(tmp_path / "avatar.pt")
    assert same(content, torch.load(tmp_path / "avatar.pt", weights_only=True))
    content["identity"]["texture"] += 1
    torch.save(content, tmp_path / "again.pt")
    assert read_avatar(tmp_path / "again.pt")["identity"]["texture"].min() == 1


class Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def nested(value, times):
    for _ in range(times):
        value = [value] * 10
    return value


def packed(path, pickled, compression=zipfile.ZIP_STORED, **records):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)


KEY = b"\x80\x02}(X\x06\x00\x00\x00formatK\x03" + b")" + b"\x85" * 150_000 + b"K\x01u."
HOSTILE = {
    "nested lists": lambda path: torch.save(CONTENT | {"junk": nested([0.5], 10)}, path),
    "the same long list again": lambda path: torch.save(CONTENT | {"junk": [[0.0] * 20000] * 20000}, path),
    "a deep key": lambda path: packed(path, KEY),
    "deflated": lambda path: packed(path, KEY, zipfile.ZIP_DEFLATED, **{"data/0": b"\0" * (1 << 26)}),
    "a call": lambda path: torch.save(CONTENT | {"junk": Runs()}, path),
    "a long number": lambda path: torch.save(CONTENT | {"format": 1 << 100_000}, path),
    "another format": lambda path: torch.save(CONTENT | {"format": [[3] * 100]}, path),
    "more numbers than there are": lambda path: torch.save({"format": 3, "t": torch.zeros(1).expand(100)}, path),
    "half precision of brains": lambda path: torch.save({"format": 3, "t": torch.zeros(1).bfloat16()}, path),
    "no pickle": lambda path: packed(path, b""),
    "a missing record": lambda path: packed(
        path, b"\x80\x02((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQt."
    ),
    "big-endian": lambda path: packed(path, b"\x80\x02}X\x06\x00\x00\x00formatK\x03s.", byteorder=b"big"),
    "a text": lambda path: path.write_text("face"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence_soon(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    HOSTILE[name](tmp_path / "avatar.pt")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError, match="avatar.pt") as caught:
        read_avatar(tmp_path / "avatar.pt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10  # KiB
    assert time.process_time() - start < 10
    said = str(caught.value)
    assert "\n" not in said and "weights_only" not in said and len(said) < 500
    assert not (tmp_path / "ran").exists()


def test_a_table_of_contents_that_names_records_twice_unpacks_no_more_than_the_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "avatar.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}X\x06\x00\x00\x00formatK\x03s.")
        archive.writestr("archive/data/0", b"\0" * (1 << 20))
        archive.filelist += [archive.filelist[1]] * 100
    assert len(zipfile.ZipFile(tmp_path / "avatar.pt").infolist()) > 100
    with pytest.raises(UserError, match="unpacks to more than it holds"):
        read_avatar(tmp_path / "avatar.pt")
