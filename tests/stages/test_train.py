"""Stage `train` from manifests to avatar.pt: what the file holds, resumption, and what is refused."""

import json

import numpy as np
import pytest
import torch

from stages import train
from stages.core.errors import UserError
from stages.core.manifest import write_manifest
from stages.graphics.shading import default_light
from tests.training.makers import SIZE, settings, write_clip, write_identity


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    write_clip(folder / "clips" / "a", 16)
    write_clip(folder / "clips" / "b", 8, first=40)
    write_identity(folder / "identity.npz")
    write_samples(folder / "samples.parquet")
    return folder


def write_samples(path, used=None, size_px=SIZE, **facts):
    split = np.array(["train"] * 24, dtype=object)
    split[[3, 20]] = "val"
    columns = {
        "clip": np.array(["a"] * 16 + ["b"] * 8, dtype=object),
        "frame": np.concatenate([np.arange(16), np.arange(8)]).astype(np.int32),
        "split": split,
        "weight": np.ones(24, np.float32),
        "used": np.ones(24, bool) if used is None else used,
        "reason": np.array([""] * 24, dtype=object),
    }
    write_manifest(path, "samples", columns, {"subject": "x", "size_px": size_px} | facts)


def run(folder, out="avatar.pt", samples="samples.parquet", identity="identity.npz", **changes):
    words = ["--samples", folder / samples, "--identity", folder / identity, "--clips-dir", folder / "clips"]
    words += ["--train-dir", folder / "train", "--out", folder / out, "--threads", 1]
    args = train.build_parser().parse_args([str(word) for word in words])
    args.settings = settings(**changes)
    train.run(args)
    return torch.load(folder / out, weights_only=True)


def test_avatar_file_is_plain_and_complete(subject):
    content = run(subject)
    assert content["format"] == 1 and content["size_px"] == SIZE and content["images"] == 40
    assert content["settings"]["batch"] == 4 and content["subject"] == "x"
    assert content["maps"]["face"]["skip"].shape == (1, 12, 16, 16)
    assert content["identity"]["model"] == "facemesh" and content["identity"]["tri"].shape == (2, 3)
    assert content["expression_range"]["high"].tolist() == [1, 1]
    assert content["weights"] == {} and content["history"][-1]["images"] == 40
    assert not any("face." in name or "generator" in name for name in content["g_style"])


def test_the_avatar_keeps_the_light_that_it_was_trained_under(subject):
    with np.load(subject / "identity.npz") as stored:
        np.savez(subject / "lit.npz", **stored, light=np.full((9, 3), 0.25, np.float32))
    for light, expected in (("fitted", np.full((9, 3), 0.25)), ("fixed", default_light())):
        write_samples(subject / f"{light}.parquet", light=light)
        content = run(subject, out=f"{light}.pt", samples=f"{light}.parquet", identity="lit.npz", images=4)
        np.testing.assert_allclose(content["identity"]["light"].numpy(), expected)


def test_backbones_are_named_in_the_file(subject):
    content = run(subject, out="b.pt", images=8, weight_mrf=0.05, mrf_crop_px=32, backbone_seed=7)
    assert content["weights"] == {"vgg19": "random:7"}


def test_finished_run_is_taken_up_not_repeated(subject):
    first = run(subject, out="c/avatar.pt")
    assert run(subject, out="d/avatar.pt")["images"] == first["images"] == 40
    assert (subject / "c/avatar.pt").read_bytes() == (subject / "d/avatar.pt").read_bytes()
    run(subject, out="e/avatar.pt", images=8, lr_net=5e-4)
    assert run(subject, out="f/avatar.pt")["images"] == 40, "going back to the old settings gives the old avatar"
    assert not list((subject / "train").glob("*/state.pt")), "a finished run needs no state"
    rows = [json.loads(line) for path in subject.glob("train/*/stats.jsonl") for line in path.read_text().splitlines()]
    assert rows and all("val_face_db" in row for row in rows)


def test_a_damaged_copy_is_made_again(subject, caplog):
    run(subject, out="h/avatar.pt", seed=5, images=8)
    kept = [path for path in subject.glob("train/*/avatar.pt") if torch.load(path, weights_only=True)["images"] == 8]
    for path in kept:
        path.write_bytes(b"junk")
    assert run(subject, out="h/avatar.pt", seed=5, images=8)["images"] == 8
    assert "is damaged; it is made again" in caplog.text


def test_a_stopped_run_survives_a_finished_one(subject, monkeypatch):
    from stages.training.trainer import Trainer

    step = Trainer.step

    def interrupted(self, batch):
        if self.images >= 8:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", interrupted)
        run(subject, out="g/avatar.pt", seed=77)
    assert not (subject / "g").exists()
    run(subject, out="g/avatar.pt", images=8)
    assert len(list((subject / "train").glob("*/state.pt"))) == 1
    assert run(subject, out="g/avatar.pt", seed=77)["images"] == 40


def test_refusals_are_one_sentence(subject, tmp_path):
    with pytest.raises(UserError, match=r"train.images and train.minutes are both 0"):
        run(subject, images=0, minutes=0)
    with pytest.raises(UserError, match="net_feature_px"):
        run(subject, net_feature_px=32)
    write_samples(subject / "none.parquet", used=np.zeros(24, bool))
    with pytest.raises(UserError, match="no usable frame to train on"):
        run(subject, samples="none.parquet")
    with pytest.raises(UserError, match="identity .* is missing"):
        run(subject, identity="absent.npz")
    (subject / "broken.npz").write_bytes(b"PK broken")
    with pytest.raises(UserError, match="not a readable identity"):
        run(subject, identity="broken.npz")
    write_samples(subject / "big.parquet", size_px=64)
    with pytest.raises(UserError, match="32x32 px instead of 64"):
        run(subject, samples="big.parquet", out="never.pt")
    assert not (subject / "never.pt").exists()
