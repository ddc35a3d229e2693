"""The loop: it learns, resumes exactly, returns from a loss that is not finite, and follows its schedules."""

import numpy as np
import pytest
import torch

from stages.core.errors import UserError
from stages.training import loop
from stages.training.dataset import FrameStore, make_batch
from stages.training.loop import Budget, Frames, train, validate
from stages.training.trainer import Trainer, parameter_groups
from tests.training.makers import SIZE, settings, write_clip


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder, 24)
    store = FrameStore([(folder, k) for k in range(24)], SIZE, 10**9, 1)
    weights = np.ones(24)
    weights[[5, 17]] = 0
    return Frames(store, weights, [5, 17])


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.average.state_dict().items()}


def test_budget_ends_with_the_first_bound():
    assert Budget(100, 0).share(50, 9.0) == 0.5
    assert Budget(0, 10).share(50, 9.0) == 0.9
    assert Budget(100, 10).share(50, 9.0) == 0.9
    assert Budget(100, 10).share(95, 1.0) == 0.95


def test_it_learns(frames, tmp_path):
    untrained, _ = validate(Trainer(settings(), SIZE, "cpu").average, frames, torch.device("cpu"))
    trainer = train(settings(images=400, maps_until=40), SIZE, frames, tmp_path, "cpu")
    assert trainer.images == 400 and trainer.nets.maps_frozen and trainer.average.maps_frozen
    assert trainer.history[-1]["val_face_db"] > untrained["val_face_db"] + 5
    assert (tmp_path / "stats.jsonl").is_file() and list(tmp_path.glob("grid_*.png"))


@pytest.mark.parametrize("stop_at", [8, 24])  # before and after the maps are cached
def test_stopped_and_resumed_is_bitwise_the_same(frames, tmp_path, monkeypatch, stop_at):
    chosen = settings(weight_gan=0.1, gan_from=0.3, r1_every=2, window_px=2, colour_jitter=0.1)
    whole = train(chosen, SIZE, frames, tmp_path / "whole", "cpu")
    step = Trainer.step

    def stopped(self, batch):
        if self.images == stop_at:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, SIZE, frames, tmp_path / "parts", "cpu")
    monkeypatch.setattr(Trainer, "step", step)
    parts = train(chosen, SIZE, frames, tmp_path / "parts", "cpu")
    assert parts.images == whole.images
    for name, value in weights_of(whole).items():
        assert torch.equal(value, weights_of(parts)[name]), name


def test_minutes_of_earlier_runs_count(frames, tmp_path):
    chosen = settings(images=8, minutes=5.0)
    train(chosen, SIZE, frames, tmp_path, "cpu")
    again = Trainer(chosen, SIZE, "cpu")
    again.restore(loop.load_state(tmp_path, "cpu"))
    assert again.images == 8 and again.minutes > 0


def test_not_finite_returns_to_the_last_good_state_then_gives_up(frames, tmp_path, monkeypatch):
    step, spoiled = Trainer.step, []

    def step_that_breaks(self, batch):
        if self.images == 20 and len(spoiled) < limit:
            spoiled.append(1)
            batch.picture = batch.picture * float("nan")
        return step(self, batch)

    monkeypatch.setattr("stages.training.trainer.CHECK_EVERY", 1)
    monkeypatch.setattr(Trainer, "step", step_that_breaks)
    limit = 1
    trainer = train(settings(), SIZE, frames, tmp_path / "once", "cpu")
    assert trainer.returns == 1 and trainer.rate == 0.5 and trainer.images == 40
    assert all(torch.isfinite(value).all() for value in weights_of(trainer).values())
    spoiled.clear()
    limit = 99
    with pytest.raises(UserError, match="not finite"):
        train(settings(), SIZE, frames, tmp_path / "often", "cpu")


def test_learning_rates_warm_up_and_fall(frames):
    trainer = Trainer(settings(lr_net=1e-3, lr_maps=1e-2, decay_from=0.5), SIZE, "cpu")
    trainer.steps = 10**6
    rates = {}
    for share in (0.2, 0.75, 1.0):
        trainer.enter(share)
        rates[share] = sorted({group["lr"] for group in trainer.optimizer.param_groups})
    assert rates[0.2] == pytest.approx([1e-3, 1e-2])
    assert rates[0.75] == pytest.approx([0.5e-3, 0.5e-2])
    assert rates[1.0] == pytest.approx([0.0])


def test_decay_spares_biases_noise_weights_constants_and_maps():
    trainer = Trainer(settings(weight_decay=0.1, net_noise=True), SIZE, "cpu")
    groups = parameter_groups(trainer.nets, trainer.settings, 1e-3)
    decayed = {id(p) for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    for name, parameter in trainer.nets.named_parameters():
        spared = parameter.ndim < 2 or name.endswith(("constant", "free"))
        assert (id(parameter) in decayed) != spared, name
    assert sum(len(group["params"]) for group in groups) == len(list(trainer.nets.parameters()))


def test_discriminator_joins_after_its_share(frames, tmp_path):
    trainer = Trainer(settings(weight_gan=0.1, gan_from=0.5), SIZE, "cpu")
    trainer.enter(0.49)
    assert not trainer.adversarial
    trainer.enter(0.5)
    assert trainer.adversarial
    assert not Trainer(settings(weight_gan=0.0, gan_from=0.0), SIZE, "cpu").adversarial


def test_adversarial_loss_can_leave_the_face_alone(frames):
    chosen = {"weight_l1": 0.0, "weight_mask": 0.0, "weight_gan": 1.0, "net_soft_edge": False}
    batch = make_batch(frames.store.read([0, 1]), np.zeros(2), "cpu")

    def moved(region):
        trainer = Trainer(settings(gan_region=region, **chosen), SIZE, "cpu")
        trainer.enter(0.5)
        kept = []
        forward = trainer.nets.forward
        trainer.nets.forward = lambda *words: kept.append(forward(*words)) or kept[-1]
        batch.picture.requires_grad_(False)
        fake, _ = trainer.nets(batch.render, batch.uv)
        fake.register_hook(lambda gradient: kept.append(gradient))
        trainer.nets.forward = lambda *words: (fake, kept[0][1])
        trainer._generator_step(batch)
        return kept[-1].abs().sum(1, keepdim=True) * batch.uv[:, 2:3]

    assert moved("whole").max() > 0
    assert moved("around_face").max() == 0
