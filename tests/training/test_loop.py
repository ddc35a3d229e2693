"""The loop: it learns, resumes exactly, returns from a loss that is not finite, and keeps the best networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from selfieavatar.errors import UserError
from selfieavatar.training import loop
from selfieavatar.training.dataset import FrameStore, make_batch
from selfieavatar.training.loop import Frames, avatar_parts, train, validate, validation_score
from selfieavatar.training.monitor import CHECK_EVERY, COLLAPSE_LOOKS
from selfieavatar.training.parallel import ProcessGroup
from selfieavatar.training.trainer import MOST_RETURNS, Diverged, Trainer
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


def test_it_learns(frames, tmp_path):
    untrained, _ = validate(Trainer(settings(), SIZE, "cpu").average, frames, torch.device("cpu"))
    trainer = train(settings(images=400, maps_until=40), SIZE, frames, tmp_path, "cpu")
    assert trainer.images == 400 and trainer.nets.maps_frozen and trainer.average.maps_frozen
    assert trainer.history[-1]["val_face_db"] > untrained["val_face_db"] + 5
    assert (tmp_path / "stats.jsonl").is_file() and list(tmp_path.glob("grid_*.png"))


@pytest.mark.parametrize(("stop_at", "bases"), [(8, 0), (24, 0), (24, 3)])  # before and after the maps are cached
def test_stopped_and_resumed_is_bitwise_the_same(frames, tmp_path, monkeypatch, stop_at, bases):
    chosen = settings(weight_gan=0.1, gan_from=0.3, r1_every=2, window_px=2, colour_jitter=0.1, net_face_bases=bases)
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


@pytest.fixture
def every_step_is_looked_at(monkeypatch):
    monkeypatch.setattr("selfieavatar.training.trainer.CHECK_EVERY", 1)


def spoil_at(monkeypatch, images, times):
    """The image of the step after `images` images is NaN, the first `times` times."""
    step, spoiled = Trainer.step, []

    def step_that_breaks(self, batch):
        if self.images == images and len(spoiled) < times:
            spoiled.append(1)
            batch.image = batch.image * float("nan")
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", step_that_breaks)


@pytest.mark.usefixtures("every_step_is_looked_at")
def test_not_finite_returns_to_the_last_good_state_then_gives_up(frames, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        spoil_at(patch, 28, 1)
        trainer = train(settings(maps_until=24), SIZE, frames, tmp_path / "once", "cpu")
    assert (trainer.returns, trainer.rate, trainer.discriminator_rate, trainer.images) == (1, 0.5, 1.0, 40)
    assert [row["images"] for row in trainer.history] == [12, 20, 32, 40], "back to 20, the last validation"
    assert trainer.nets.maps_frozen, "once more: at 20 they were not"
    assert all(torch.isfinite(value).all() for value in weights_of(trainer).values())
    spoil_at(monkeypatch, 20, 99)
    with pytest.raises(UserError, match=f"not finite, {MOST_RETURNS + 1} times"):
        train(settings(), SIZE, frames, tmp_path / "often", "cpu")
    state = loop.load_state(tmp_path / "often", "cpu")
    assert all(value.isfinite().all() for value in state["nets"].values()), "what was saved is not spoiled"


def test_weights_that_are_not_finite_are_never_a_good_state(frames, tmp_path, monkeypatch):
    """Looked at are steps 0 and 10; the validation after step 5 comes first and finds it."""
    step, spoiled = Trainer.step, []

    def step_that_breaks(self, batch):
        metrics = step(self, batch)
        if self.images == 16 and not spoiled:
            spoiled.append(self.nets.style.mask.bias.data.fill_(float("nan")))
        return metrics

    monkeypatch.setattr(Trainer, "step", step_that_breaks)
    trainer = train(settings(), SIZE, frames, tmp_path, "cpu")
    assert trainer.returns == 1 and trainer.images == 40
    assert all(torch.isfinite(value).all() for value in weights_of(trainer).values())


def test_a_last_step_that_is_not_finite_is_taken_back(frames, tmp_path, monkeypatch):
    mark, spoiled = Trainer.mark_checkpoint, []

    def mark_that_fails(self):
        if self.images == 40 and not spoiled:
            spoiled.append(1)
            self.consistent = False
            raise Diverged(collapse=False)
        mark(self)

    monkeypatch.setattr(Trainer, "mark_checkpoint", mark_that_fails)
    trainer = train(settings(images=38, validations=1, report_s=1e-9), SIZE, frames, tmp_path, "cpu")
    assert trainer.returns == 1 and trainer.images == 40 and "val_face_db" in trainer.history[-1]


def test_a_return_without_a_state_says_so(frames):
    trainer = Trainer(settings(), SIZE, "cpu")
    with pytest.raises(UserError, match="the discriminator has won at 0 images, and no state from before can be read"):
        trainer.roll_back(Diverged(collapse=True), None)


def collapsing(monkeypatch):
    """Settings of a run whose discriminator is said to win at step 300 of 400 (while its rate is the first one)."""
    monkeypatch.setattr("selfieavatar.training.trainer.CHECK_EVERY", 10)

    def step(self, batch):
        self.consistent = False
        if self.steps % CHECK_EVERY == 0:
            lost = self.steps >= 100 and self.discriminator_rate == 1
            self._check_divergence({"disc": 0.0 if lost else 1.0})
        self.images += self.settings.batch
        self.steps += 1
        self.consistent = True
        return {"l1": torch.tensor(0.1)}

    monkeypatch.setattr(Trainer, "step", step)
    return settings(weight_gan=0.1, images=1600, validations=16, maps_until=10**6)


def test_collapse_returns_to_a_state_from_before_it_began(frames, tmp_path, monkeypatch):
    went_back = []
    roll_back = Trainer.roll_back

    def noting(self, problem, state):
        went_back.append((problem.collapse, self.steps, state["counters"]["steps"]))
        roll_back(self, problem, state)

    monkeypatch.setattr(Trainer, "roll_back", noting)
    trainer = train(collapsing(monkeypatch), SIZE, frames, tmp_path, "cpu")
    (collapse, seen_at, state_of), window = went_back[0], COLLAPSE_LOOKS * CHECK_EVERY
    assert len(went_back) == 1 and collapse and 100 + window // 2 <= seen_at < 100 + window
    assert state_of <= seen_at - window, "a state of during the collapse is not good"
    assert (trainer.collapses, trainer.returns, trainer.discriminator_rate, trainer.rate) == (1, 0, 0.5, 1.0)
    assert trainer.images == 1600


def test_good_states_lie_a_window_apart(frames):
    trainer, window = Trainer(settings(), SIZE, "cpu"), COLLAPSE_LOOKS * CHECK_EVERY
    for trainer.steps in range(0, 1500, 36):
        trainer.mark_checkpoint()
        assert trainer.checkpoints[-1] == trainer.steps and len(trainer.checkpoints) <= 3
        if trainer.steps >= 2 * window:
            assert any(window <= trainer.steps - good <= 3 * window for good in trainer.checkpoints)


def test_after_too_many_collapses_only_the_rate_falls(frames):
    trainer = Trainer(settings(weight_gan=0.1, collapse_below=0.05), SIZE, "cpu")
    trainer.collapse.losses = [0.0] * (COLLAPSE_LOOKS - 1)
    with pytest.raises(Diverged):
        trainer._check_divergence({"disc": 0.01})
    trainer.collapses, trainer.collapse.losses = MOST_RETURNS, [0.0] * (COLLAPSE_LOOKS - 1)
    trainer._check_divergence({"disc": 0.01})
    assert trainer.discriminator_rate == 0.5


def test_the_best_by_validation_becomes_the_avatar(frames, tmp_path, monkeypatch):
    scores, kept = iter([1.0, 3.0, 2.0, 2.5]), {}
    monkeypatch.setattr(loop, "validation_score", lambda metrics: next(scores))
    check = loop.Run.check

    def noting(self):
        check(self)
        kept[self.trainer.images] = self.trainer.averaged_weights()

    monkeypatch.setattr(loop.Run, "check", noting)
    trainer = train(settings(maps_until=30), SIZE, frames, tmp_path, "cpu")
    assert trainer.best == {"score": 3.0, "images": 20} and trainer.images == 40
    assert len(list(tmp_path.glob("best_*.pt"))) == 1
    taken = avatar_parts(trainer, tmp_path)
    assert taken["images"] == 20
    for name, value in kept[20]["g_style"].items():
        assert torch.equal(taken["g_style"][name], value)
    assert torch.equal(taken["maps"]["face"]["feature"], kept[20]["maps"]["face"]["feature"])
    trainer.best["score"] = 2.5
    assert avatar_parts(trainer, tmp_path)["images"] == 40, "no better than the last"


def test_before_the_discriminator_joins_nothing_is_best(frames, tmp_path):
    trainer = train(settings(weight_gan=0.1, gan_from=0.9), SIZE, frames, tmp_path, "cpu")
    assert trainer.best["images"] == 40


def test_validation_score_dislikes_blur_and_ringing_alike():
    as_sharp = {"val_full_db": 20.0, "val_face_db": 30.0, "val_person_sharpness": 1.0, "val_face_sharpness": 1.0}
    assert validation_score(as_sharp) == pytest.approx(25)
    for region in ("val_person_sharpness", "val_face_sharpness"):
        for ratio in (10 ** (1 / 20), 10 ** (-1 / 20)):
            assert validation_score(as_sharp | {region: ratio}) == pytest.approx(24.5)


def test_validation_measures_sharpness_of_the_face_and_of_the_person(frames, monkeypatch):
    """Hair that is painted noisy, beside a sharp face, tells in the person's alone."""
    # in these frames, whose person is a face alone, hair is all around it
    monkeypatch.setattr(loop, "move_torso", lambda batch: replace(batch, alpha=torch.ones_like(batch.alpha)))
    truth = frames.batch(frames.validation, frames.store.read(frames.validation), torch.device("cpu")).image

    def paint(render, uv):
        near = torch.nn.functional.max_pool2d((uv[:, 2:3] > 0).float(), 5, 1, 2)
        noise = 0.2 * torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
        return 2 * (truth + (1 - near) * noise) - 1, -torch.ones_like(near)

    metrics, _ = validate(paint, frames, torch.device("cpu"))
    assert metrics["val_face_sharpness"] == pytest.approx(1) and metrics["val_person_sharpness"] > 1.2


def test_a_step_that_was_cut_in_two_is_not_saved(frames, tmp_path, monkeypatch):
    def cut(self, batch):
        if self.images == 24:
            raise KeyboardInterrupt  # the second Ctrl-C
        return move(self, batch)

    move = Trainer._generator_step
    monkeypatch.setattr(Trainer, "_generator_step", cut)
    with pytest.raises(KeyboardInterrupt):
        train(settings(), SIZE, frames, tmp_path, "cpu")
    assert loop.load_state(tmp_path, "cpu")["counters"]["images"] == 20, "the last validation"


@pytest.mark.parametrize("change", [{"channels_last": False}, {"blur_jitter_px": 1.5}])
def test_other_forms_train_too(frames, tmp_path, change):
    trainer = train(settings(weight_gan=0.1, **change), SIZE, frames, tmp_path, "cpu")
    assert np.isfinite(trainer.history[-1]["l1"]) and trainer.history[-1]["norm_disc"] > 0


def test_bases_of_the_face_learn_at_the_rate_of_the_maps_and_are_averaged(frames, tmp_path):
    fresh = Trainer(settings(net_face_bases=2), SIZE, "cpu")
    trainer = train(settings(net_face_bases=2), SIZE, frames, tmp_path, "cpu")
    assert trainer.history[-1]["norm_bases"] > 0 and trainer.nets.maps_frozen
    [group] = [group for group in trainer.optimizer.param_groups if group["base_lr"] == trainer.settings.lr_maps]
    for name in ("feature_bases", "colour_bases"):
        own, mean, before = (getattr(nets.bases, name) for nets in (trainer.nets, trainer.average, fresh.nets))
        assert any(parameter is own for parameter in group["params"])
        moved = [(own[k] - before[k]).abs().max() for k in range(2)]
        assert min(moved) > 0 and not torch.equal(mean, own) and not torch.equal(mean, before)
    parts = avatar_parts(trainer, tmp_path)
    assert parts["maps"]["bases"]["colour"].shape == (2, 96, 32)
    assert "norm_bases" not in train(settings(images=4), SIZE, frames, tmp_path / "off", "cpu").history[-1]


@pytest.mark.filterwarnings("error::UserWarning")
def test_the_baseline_without_maps_trains_without_a_warning(frames, tmp_path):
    trainer = train(settings(net_generator="unet", images=8), SIZE, frames, tmp_path, "cpu")
    assert trainer.history[-1]["norm_style"] > 0 and trainer.history[-1]["norm_face"] == 0


def test_a_batch_that_cannot_be_shared_is_refused(frames, tmp_path):
    with pytest.raises(UserError, match="train.batch 4 cannot be shared by 3 GPUs"):
        train(settings(), SIZE, frames, tmp_path, "cpu", ProcessGroup(0, 3))


def test_a_lazy_term_counts_as_often_as_if_it_were_never_left_out(frames):
    """Each sum of terms has its own limit on the norm, and only then counts for the steps that it is left out of."""
    trainer = Trainer(settings(clip_norm=0.5), SIZE, "cpu")
    weight = trainer.nets.style.mask.weight
    always, lazily = torch.randn(2, *weight.shape, generator=torch.Generator().manual_seed(0))
    expected = 0.5 * always / always.norm() + 16 * 0.5 * lazily / lazily.norm()
    metrics = trainer._gradients({1: (weight * always).sum(), 16: (weight * lazily).sum()})
    torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-6)
    assert metrics["norm_style"] == pytest.approx(always.norm().item(), rel=1e-4)
    small = 1e-3 * lazily
    trainer._gradients({16: (weight * small).sum()})
    torch.testing.assert_close(weight.grad, 16 * small)
    trainer._gradients({1: (weight * small).sum()})
    torch.testing.assert_close(weight.grad, small)
    assert trainer._gradients({})["norm_style"] == 0 and weight.grad is None


def test_adversarial_loss_can_leave_the_face_alone(frames):
    chosen = {"weight_l1": 0.0, "weight_mask": 0.0, "weight_gan": 1.0, "net_soft_edge": False}
    batch = make_batch(frames.store.read([0, 1]), np.zeros(2), "cpu")

    def moved(region):
        trainer = Trainer(settings(gan_region=region, **chosen), SIZE, "cpu")
        trainer.set_schedule(0.5)
        kept = []
        forward = trainer.nets.forward
        trainer.nets.forward = lambda *words: kept.append(forward(*words)) or kept[-1]
        batch.image.requires_grad_(False)
        fake, _ = trainer.nets(batch.render, batch.uv)
        fake.register_hook(lambda gradient: kept.append(gradient))
        trainer.nets.forward = lambda *words: (fake, kept[0][1])
        trainer._generator_step(batch)
        return kept[-1].abs().sum(1, keepdim=True) * batch.uv[:, 2:3]

    assert moved("whole").max() > 0
    assert moved("around_face").max() == 0


@pytest.mark.slow
def test_compiled_networks_train_as_others_do(frames, tmp_path, monkeypatch):
    """By the backend that needs no C++ compiler; the same graphs, the lazy R1 penalty and the cached maps included."""
    compiled = []

    def compile_by_aot(module):
        compiled.append(module)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="aot_eager")

    chosen = {"images": 32, "weight_gan": 0.1, "r1_every": 2, "window_px": 1.5, "validations": 2}
    chosen["precision"] = "float32"  # other graphs round otherwise, which bfloat16 shows
    plain = train(settings(**chosen), SIZE, frames, tmp_path / "plain", "cpu")
    monkeypatch.setattr(torch.nn.Module, "compile", compile_by_aot)
    trainer = train(settings(compile=True, **chosen), SIZE, frames, tmp_path / "compiled", "cpu")
    assert compiled == [trainer.nets, trainer.discriminator]
    assert trainer.history[-1]["l1"] == pytest.approx(plain.history[-1]["l1"], rel=1e-3)
    assert trainer.history[-1]["disc"] == pytest.approx(plain.history[-1]["disc"], rel=1e-3)
