"""The fastest runner is found by trial, with the reason; what cannot run says why."""

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.runtime import choice
from selfieavatar.runtime.choice import fastest_avatar
from tests.runtime.makers import write_export


class Slow:
    """A runner that takes its time."""

    def __init__(self, avatar, seconds):
        self.avatar, self.seconds = avatar, seconds

    def __getattr__(self, name):
        return getattr(self.avatar, name)

    def paint(self, render, uv):
        choice.time.sleep(self.seconds)
        return self.avatar.paint(render, uv)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_export(tmp_path_factory.mktemp("export"))


def test_the_faster_one_is_taken(path, monkeypatch):
    load = choice.ExportedAvatar.load
    monkeypatch.setattr(choice, "find_spec", lambda name: name)  # all are installed
    seconds = {"onnxruntime": 0.03, "openvino": 0.005}
    monkeypatch.setattr(choice.ExportedAvatar, "load",
                        lambda at, threads, runner, precision: Slow(load(at), seconds[runner]))  # fmt: skip
    chosen = fastest_avatar(path, trial_s=0.2)
    assert chosen.name == "OpenVINO float32" and chosen.avatar.seconds == 0.005
    assert chosen.times_ms["ONNX Runtime float32"] > 29 and 4 < chosen.times_ms["OpenVINO float32"] < 29
    said = f"OpenVINO float32 paints a frame in {chosen.times_ms[chosen.name]:.1f} ms on 1 thread of this machine; ONNX"
    assert chosen.reason.startswith(said)
    image, _ = chosen.avatar.drive(np.zeros((1, 3)), np.array([[0.0, 0, 60]]), np.zeros((1, 4)))
    assert image.any()


def test_what_is_not_installed_is_left_out_with_the_reason(path, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "openvino" else name)
    chosen = fastest_avatar(path, trial_s=0.01)
    assert list(chosen.times_ms) == ["ONNX Runtime float32"]
    assert "OpenVINO is left out: it is not installed" in chosen.reason
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="nothing here can paint .*ONNX Runtime is left out: it is not installed"):
        fastest_avatar(path)


def test_an_export_of_another_avatar_is_not_taken_for_this_one(path, tmp_path):
    (tmp_path / "avatar.pt").write_bytes(b"another")
    with pytest.raises(UserError, match=r"avatar.onnx was not made of this avatar.pt"):
        fastest_avatar(tmp_path / "avatar.pt", path)
    with pytest.raises(UserError, match="is not a readable avatar: it is damaged"):
        fastest_avatar(tmp_path / "avatar.pt")


def test_unknown_precisions_are_said(path):
    with pytest.raises(UserError, match="no precision 'int4'"):
        fastest_avatar(path, precisions=("int4",))
