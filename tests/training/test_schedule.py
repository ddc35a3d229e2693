"""The schedule: budget, learning rates, weight decay, averages, and when the discriminator joins."""

import pytest

from selfieavatar.training.optimizer import parameter_groups
from selfieavatar.training.schedule import Budget
from selfieavatar.training.trainer import Trainer
from tests.training.makers import SIZE, settings


def test_budget_ends_with_the_first_bound():
    assert Budget(100, 0).progress(50, 9.0) == 0.5
    assert Budget(0, 10).progress(50, 9.0) == 0.9
    assert Budget(100, 10).progress(50, 9.0) == 0.9
    assert Budget(100, 10).progress(95, 1.0) == 0.95


def rate_at(trainer, images):
    trainer.images = images
    trainer.set_schedule(0.2)
    return trainer.optimizer.param_groups[-1]["lr"]


def test_the_start_is_counted_in_images():
    """The same after as many images, in steps of 4 or of 8; for 4, what 50 steps and (1 + steps) / (10 + steps) are."""
    four, eight = (Trainer(settings(batch=b, maps_until=10**6, decay_from=1), SIZE, "cpu") for b in (4, 8))
    assert rate_at(four, 92) == rate_at(eight, 88) == 24 / 50 * four.settings.lr_net
    kept = {}
    for batch in (4, 8):
        trainer = Trainer(settings(batch=batch, ema_images=10**6), SIZE, "cpu")
        trainer.images, new, averaged = 80, *(n.style.mask.bias.data for n in (trainer.nets, trainer.average))
        new.zero_()
        averaged.fill_(1)
        trainer._move_average()
        kept[batch] = averaged.item()
    assert kept[4] == pytest.approx(21 / 30) and kept[8] == pytest.approx((21 / 30) ** 2)


def test_learning_rates_warm_up_and_fall():
    trainer = Trainer(settings(lr_net=1e-3, lr_maps=1e-2, decay_from=0.5, maps_until=10**6), SIZE, "cpu")
    assert [rate_at(trainer, images) for images in (0, 96, 196, 400)] == pytest.approx([2e-5, 5e-4, 1e-3, 1e-3])
    rates = {}
    for share in (0.2, 0.75, 1.0):
        trainer.set_schedule(share)
        rates[share] = sorted({group["lr"] for group in trainer.optimizer.param_groups})
    assert rates[0.2] == pytest.approx([1e-3, 1e-2])
    assert rates[0.75] == pytest.approx([0.5e-3, 0.5e-2])
    assert rates[1.0] == pytest.approx([0.0])


def test_decay_spares_biases_noise_weights_constants_and_maps():
    trainer = Trainer(settings(weight_decay=0.1, net_noise=True, net_face_bases=2), SIZE, "cpu")
    groups = parameter_groups(trainer.nets, trainer.settings, 1e-3)
    decayed = {id(p) for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    for name, parameter in trainer.nets.named_parameters():
        spared = parameter.ndim < 2 or name.endswith(("constant", "free", "_bases"))
        assert (id(parameter) in decayed) != spared, name
    assert sum(len(group["params"]) for group in groups) == len(list(trainer.nets.parameters()))


def test_discriminator_joins_after_its_share():
    trainer = Trainer(settings(weight_gan=0.1, gan_from=0.5), SIZE, "cpu")
    trainer.set_schedule(0.49)
    assert not trainer.adversarial
    trainer.set_schedule(0.5)
    assert trainer.adversarial
    assert not Trainer(settings(weight_gan=0.0, gan_from=0.0), SIZE, "cpu").adversarial
