"""Stage `train` from manifests to avatar.pt: what the file holds, resumption, and what is refused."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfieavatar.avatar import Avatar
from selfieavatar.errors import UserError
from selfieavatar.io.avatar_file import FORMAT
from selfieavatar.io.images import image_name
from selfieavatar.io.manifest import write_manifest
from selfieavatar.io.paths import IMAGES
from selfieavatar.rendering.shading import default_light
from selfieavatar.settings.config import canonical_json
from selfieavatar.settings.train_section import Train
from stages import train
from tests.training.makers import SIZE, settings, write_clip, write_identity


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    write_clip(folder / "clips" / "a", 16)
    write_clip(folder / "clips" / "b", 8, first=40)
    write_identity(folder / "identity.npz")
    write_samples(folder / "samples.parquet")
    return folder


def write_samples(path, used=None, size_px=SIZE, split=None, **facts):
    if split is None:
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


def words(folder, out="avatar.pt", samples="samples.parquet", identity="identity.npz", *more):
    said = [*more, "--samples", folder / samples, "--identity", folder / identity, "--clips-dir", folder / "clips"]
    said += ["--train-dir", folder / "train", "--out", folder / out, "--threads", 1]
    return [str(word) for word in said]


def run(folder, out="avatar.pt", samples="samples.parquet", identity="identity.npz", **changes):
    args = train.build_parser().parse_args(words(folder, out, samples, identity))
    args.settings = settings(**changes)
    train.run(args)
    return torch.load(folder / out, weights_only=True)


def test_avatar_file_is_plain_and_complete(subject):
    content = run(subject)
    assert content["format"] == FORMAT and content["size_px"] == SIZE and content["images"] == 40
    assert content["settings"]["batch"] == 4 and content["subject"] == "x"
    assert content["maps"]["face"]["skip"].shape == (1, 12, 16, 16)
    assert content["identity"]["model"] == "facemesh" and content["identity"]["tri"].shape == (2, 3)
    assert content["expression_range"]["high"].tolist() == [1, 1]
    assert content["weights"] == {} and content["history"][-1]["images"] == 40
    assert not any("face." in name or "generator" in name for name in content["g_style"])


def test_frames_leave_half_of_the_free_memory_to_the_training(subject, monkeypatch, caplog):
    """Two minutes of 512 px fill the default cache of 8 GB, which a laptop may have in all."""
    monkeypatch.setattr(train.psutil, "virtual_memory", lambda: SimpleNamespace(available=10 * 12 * SIZE**2))
    with caplog.at_level("INFO"):
        run(subject, "little.pt", images=4, seed=3)
    assert "(5 of them in memory, the others read as needed)" in caplog.text


def test_the_avatar_keeps_the_light_that_it_was_trained_under(subject):
    with np.load(subject / "identity.npz") as stored:
        np.savez(subject / "lit.npz", **stored, light=np.full((9, 3), 0.25, np.float32))
    for light, expected in (("mean", np.full((9, 3), 0.25)), ("fixed", default_light())):
        write_samples(subject / f"{light}.parquet", light=light)
        content = run(subject, out=f"{light}.pt", samples=f"{light}.parquet", identity="lit.npz", images=4)
        np.testing.assert_allclose(content["identity"]["light"].numpy(), expected)


def test_the_avatar_knows_what_the_head_tells_of_the_torso(subject, tmp_path):
    """Learnt from the frames that are trained on; those that validate, or are left out, do not count."""
    shutil.copytree(subject, tmp_path / "x")
    image = np.full((32, 32), 9, np.uint8)
    with np.load(subject / "identity.npz") as stored:
        np.savez(tmp_path / "x/identity.npz", **stored, torso_picture=image, torso_mask=image, torso_top=0.7)
    shift = np.full((16, 2), 0.03)
    shift[3] = shift[5] = 9.0
    write_clip(tmp_path / "x/clips/a", 16, fit_torso=shift)
    write_clip(tmp_path / "x/clips/b", 8, fit_torso=np.full((8, 2), 0.03), first=40)
    used = np.ones(24, bool)
    used[5] = False
    write_samples(tmp_path / "x/samples.parquet", used=used)
    content = run(tmp_path / "x", images=8)
    motion = Avatar.load(tmp_path / "x/avatar.pt").identity.torso_motion
    np.testing.assert_allclose(motion.shift(np.zeros((1, 3)), np.zeros((1, 3))), [[0.03, 0.03]], atol=1e-6)
    assert content["identity"]["torso_high"].tolist() == pytest.approx([0.03, 0.03])


def test_no_image_of_a_test_frame_is_opened(subject, tmp_path):
    """Frames held out are not there, nor is what the fit says of them looked at."""
    shutil.copytree(subject, tmp_path / "x")
    used, split = np.ones(24, bool), np.array(["train"] * 14 + ["test"] * 10, dtype=object)
    used[12:14] = False  # the gap
    write_samples(tmp_path / "x/samples.parquet", used=used, split=split)
    for clip, numbers in {"a": range(12, 16), "b": range(8)}.items():
        for path in [tmp_path / "x/clips" / clip / kind / image_name(n) for kind in IMAGES for n in numbers]:
            path.unlink()
    (tmp_path / "x/clips/b/fit.parquet").unlink()
    assert run(tmp_path / "x", images=8)["images"] == 8


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


@pytest.mark.parametrize("budget", [{"images": 0, "minutes": 0.02}, {"images": 8}])
def test_a_clock_that_allows_few_images_is_named(subject, caplog, budget):
    run(subject, out="few/avatar.pt", seed=9, **budget)
    assert ("too few for a likeness" in caplog.text) == ("minutes" in budget)


def test_a_stopped_run_survives_a_finished_one(subject, monkeypatch):
    from selfieavatar.training.trainer import Trainer

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


# everything that is random or has a schedule takes part
EVERYTHING = {
    "weight_gan": 0.1,
    "weight_mrf": 0.01,
    "weight_cos": 0.01,
    "mrf_every": 2,
    "mrf_crop_px": 16,
    "mrf_positions": 8,
    "cos_every": 3,
    "cos_size_px": 32,
    "gan_from": 0.2,
    "r1_every": 3,
    "window_px": 1.5,
    "colour_jitter": 0.1,
    "blur_jitter_px": 1.0,
    "maps_until": 60,
    "images": 160,
    "validations": 5,
}


def start(folder, out, *before, **changes):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    said = [sys.executable, *before, "-m", "stages.train", "--settings", canonical_json(settings(**changes))]
    return subprocess.Popen(said + words(folder, out), env=environment, stderr=subprocess.PIPE, text=True)


def assert_same_networks(first, second, **tolerance):
    for name, value in first["g_style"].items():
        torch.testing.assert_close(value, second["g_style"][name], **tolerance)
    for region in ("face", "back"):
        for name, value in first["maps"][region].items():
            torch.testing.assert_close(value, second["maps"][region][name], **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("images", 40), ("minutes", 1.5)])
def test_a_variant_takes_the_budget_of_an_avatar(tmp_path, kind, count):
    torch.save({"format": FORMAT, "images": 40, "minutes": 1.5}, tmp_path / "avatar.pt")
    found = train.budget_of(Train(images=7, minutes=9), tmp_path / "avatar.pt", kind)
    assert {"images": found.images, "minutes": found.minutes} == {"images": 0, "minutes": 0} | {kind: count}
    torch.save({"format": FORMAT, "images": True, "minutes": math.nan}, tmp_path / "avatar.pt")
    with pytest.raises(UserError, match=f"does not say for how many {kind}"):
        train.budget_of(Train(), tmp_path / "avatar.pt", kind)


def test_killed_at_any_moment_and_started_again_is_bitwise_the_same(subject):
    """SIGKILL at random moments, three times; the clock decides what was saved by then."""
    # A process of its own, as the others have: what ran in this one before decides which kernels it takes.
    process = start(subject, "whole.pt", **EVERYTHING | {"save_s": 600})
    _, said = process.communicate()
    assert process.returncode == 0, said
    whole = torch.load(subject / "whole.pt", weights_only=True)
    seed = time.time_ns()
    moments, killed = random.Random(seed), []
    changes = EVERYTHING | {"save_s": 0.4, "report_s": 0.3}
    for _ in range(3):
        process = start(subject, "killed.pt", **changes)
        before = {path: path.stat().st_mtime_ns for path in subject.glob("train/*/state.pt")}
        while process.poll() is None and before == {
            path: path.stat().st_mtime_ns for path in subject.glob("train/*/state.pt")
        }:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed.append(process.returncode == -signal.SIGKILL)
    assert killed[0], f"it was over before it could be killed (seed {seed})"
    process = start(subject, "killed.pt", **changes)
    _, said = process.communicate()
    assert process.returncode == 0, said
    parts = torch.load(subject / "killed.pt", weights_only=True)
    assert parts["images"] == whole["images"] == 160
    assert_same_networks(whole, parts, atol=0, rtol=0)


@pytest.mark.slow
def test_two_processes_train_as_one_does_on_their_batches_together(subject):
    """Gloo on the CPU. ID-MRF, which draws its squares per process, is left out."""
    changes = {"batch": 8, "images": 120, "weight_gan": 0.1, "r1_every": 3, "colour_jitter": 0.1, "maps_until": 48}
    changes |= {"window_px": 3, "precision": "float32"}
    changes |= {"validations": 15, "weight_cos": 0.01, "cos_size_px": 32, "report_s": 600}
    known = set(subject.glob("train/*"))
    process = start(
        subject, "two.pt", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", **changes
    )
    _, said = process.communicate()
    assert process.returncode == 0, said
    (folder,) = set(subject.glob("train/*")) - known
    two = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    content = torch.load(subject / "two.pt", weights_only=True)
    (folder / "avatar.pt").unlink(missing_ok=True)
    (folder / "two.pt").unlink()
    (folder / "stats.jsonl").unlink()
    whole = run(subject, out="one.pt", **changes)
    one = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [row["images"] for row in two] == [row["images"] for row in one] == list(range(8, 121, 8))
    for name in ("l1", "mask", "cos", "gan", "disc", "d_real", "norm_style", "norm_disc", "val_full_db"):
        # Rounding differs between one sum and two halves, and an adversarial training amplifies it step by step.
        mine, theirs = ([row[name] for row in rows] for rows in (two, one))
        room = 1e-3 * np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=room, err_msg=name)
        np.testing.assert_allclose(mine[:5], theirs[:5], rtol=1e-4, atol=room / 20, err_msg=name)
    assert_same_networks(whole, content, atol=2e-3, rtol=1e-2)


def start_processes(folder, out, **changes):
    """The stage as it is on a machine with two GPUs; here both processes train on the CPU."""
    changed = canonical_json(settings(**changes))
    code = f"""
import sys
from stages import train
from selfieavatar.settings.cli import main

def run(args):
    args.gpu = 2
    train.start_process_group(args)

main(train.build_parser(), run, ["--settings", {changed!r}, *sys.argv[1:]])
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code, *words(folder, out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_ctrl_c_stops_several_processes_between_two_steps(subject):
    known = set(subject.glob("train/*"))
    process = start_processes(subject, "never.pt", images=10**6, validations=1, maps_until=10**6)
    end = time.monotonic() + 600
    while time.monotonic() < end and not [
        p for p in set(subject.glob("train/*")) - known if list(p.glob("checkpoint_*"))
    ]:
        time.sleep(0.1)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130 and "run the same command to go on" in said, said
    assert "Traceback" not in said, said
    (folder,) = set(subject.glob("train/*")) - known
    assert torch.load(folder / "state.pt", weights_only=True)["counters"]["images"] > 0


@pytest.mark.slow
def test_several_processes_say_why_they_failed(subject):
    process = start_processes(subject, "never.pt", batch=3)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 2 and "train.batch 3 cannot be shared by 2 GPUs" in said, said
    assert "Traceback" not in said and len(said.splitlines()) < 15, said


def test_several_gpus_start_the_stage_once_per_gpu(subject, monkeypatch):
    started = []

    class Process:
        def __init__(self, command, start_new_session):
            assert start_new_session
            started.append(command)

        def wait(self):
            return len(started) - 1

    monkeypatch.setattr(subprocess, "Popen", Process)
    args = train.build_parser().parse_args([*words(subject), "--gpu", "2", "--threads", "8"])
    args.settings = settings()
    train.start_process_group(args)
    launcher, stage = started[0][: started[0].index("stages.train")], started[0][started[0].index("stages.train") + 1 :]
    assert launcher[1:] == ["-m", "selfieavatar.training.parallel", "--standalone", "--nproc-per-node", "2", "-m"]
    worker = train.build_parser().parse_args(stage)
    assert Train(**json.loads(worker.settings)) == args.settings and worker.threads == 4
    for name in ("samples", "identity", "clips_dir", "train_dir", "out", "gpu"):
        assert getattr(worker, name) == getattr(args, name)
    with pytest.raises(UserError, match="training on 2 GPUs has failed"):
        train.start_process_group(args)


def test_the_file_says_which_networks_were_taken(subject, monkeypatch):
    scores = iter([3.0, 1.0, 2.0, 2.5])
    monkeypatch.setattr("selfieavatar.training.loop.validation_score", lambda figures: next(scores))
    before = set(subject.glob("train/*/*.pt"))
    content = run(subject, out="i/avatar.pt", seed=9)
    assert content["images"] == 40 and content["history"][-1]["taken_images"] == 12
    assert [path.name for path in set(subject.glob("train/*/*.pt")) - before] == ["avatar.pt"]
