"""Damaged and hostile .npz files end in one sentence, and nothing in them is run."""

import pickle

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.arrays import read_identity


class Hostile:
    """Pickles into a call that would leave a trace."""

    def __reduce__(self):
        return (open, ("hostile.txt", "w"))


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "identity.npz"
    np.savez_compressed(path, template=np.random.default_rng(0).normal(size=(468, 3)), model="facemesh")
    return path


def test_a_whole_file(whole):
    assert read_identity(whole)["template"].shape == (468, 3) and str(read_identity(whole)["model"]) == "facemesh"


def test_damage(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = whole.read_bytes()
    np.save(tmp_path / "plain.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", template=np.array([Hostile()], dtype=object))
    (tmp_path / "hostile.txt").unlink(missing_ok=True)
    flipped = bytearray(data)
    flipped[200:400] = bytes(200)
    cases = [b"", data[: len(data) // 2], bytes(flipped), b"text", (tmp_path / "plain.npy").read_bytes()]
    cases += [(tmp_path / "objects.npz").read_bytes(), pickle.dumps(Hostile())]
    for case in cases:
        whole.write_bytes(case)
        with pytest.raises(UserError, match="not a readable identity"):
            read_identity(whole)
    assert not (tmp_path / "hostile.txt").exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_identity(tmp_path / "identity.npz")
