"""A training that starts from somebody's avatar begins where that one ended, and refuses what does not fit."""

import numpy as np
import pytest
import torch

from selfieavatar.errors import UserError
from selfieavatar.training.dataset import FrameStore
from selfieavatar.training.loop import Frames, train, validate
from selfieavatar.training.trainer import Trainer
from tests.training.makers import SIZE, settings, write_clip


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder, 12)
    return Frames(FrameStore([(folder, k) for k in range(12)], SIZE, 10**9, 1), np.ones(12), [2, 7])


def avatar_of(trainer, **changes):
    """What `start.read_start` would read of the trained networks."""
    content = {"format": 3, "settings": dict(trainer.settings), "size_px": SIZE, "subject": "anna"}
    return content | trainer.averaged_weights() | changes


@pytest.mark.parametrize("bases", [0, 2])
def test_it_paints_as_the_other_did_before_its_first_step(frames, tmp_path, bases):
    trained = train(settings(images=80, net_face_bases=bases), SIZE, frames, tmp_path, "cpu")
    fresh = Trainer(settings(net_face_bases=bases, seed=7), SIZE, "cpu")
    fresh.start_from(avatar_of(trained))
    for networks in (fresh.nets, fresh.average):
        theirs, _ = validate(trained.average, frames, torch.device("cpu"))
        mine, _ = validate(networks, frames, torch.device("cpu"))
        assert mine == pytest.approx(theirs, rel=1e-4)
    assert fresh.nets.maps_frozen and fresh.images == 0


def test_it_learns_on_from_there_and_resumes_its_own_state(frames, tmp_path):
    trained = train(settings(images=240), SIZE, frames, tmp_path / "first", "cpu")
    scores = {}
    for name, start in {"noise": None, "avatar": avatar_of(trained)}.items():
        run = train(settings(images=24, seed=5), SIZE, frames, tmp_path / name, "cpu", start=start)
        scores[name] = run.history[-1]["val_full_db"]
    assert scores["avatar"] > scores["noise"] + 1
    again = train(settings(images=24, seed=5), SIZE, frames, tmp_path / "noise", "cpu", start=avatar_of(trained))
    assert again.history[-1]["val_full_db"] == scores["noise"]  # the run had ended; a start does not undo it


def test_tensors_that_do_not_fit_are_refused(frames, tmp_path):
    trained = train(settings(images=8), SIZE, frames, tmp_path / "run", "cpu")
    with pytest.raises(UserError, match=r"start_from is damaged"):
        Trainer(settings(), SIZE, "cpu").start_from(avatar_of(trained, maps={}))
