"""The maps of G_fa and G_b: form, caching, and the free residual."""

import torch

from selfieavatar.networks.feature_generator import MapBank
from tests.networks.settings import tiny


def bank(**changes):
    torch.manual_seed(0)
    return MapBank(16, 6, tiny(**changes))


def test_map_has_its_size_and_unit_deviation():
    feature, skip = bank(free_maps=False)().values()
    assert feature.shape == (1, 6, 16, 16) and skip.shape == (1, 12, 16, 16)
    torch.testing.assert_close(feature.mean((2, 3)), torch.zeros(1, 6), atol=1e-4, rtol=0)
    torch.testing.assert_close(feature.var((2, 3), unbiased=False), torch.ones(1, 6), atol=1e-2, rtol=0)


def test_caching_keeps_the_map_and_drops_the_generator():
    maps = bank()
    maps.feature_free.data.normal_()
    before = [value.detach().clone() for value in maps().values()]
    maps.freeze()
    assert maps.generator is None
    assert {name for name, _ in maps.named_parameters()} == {"feature_free", "skip_free"}
    for now, then in zip(maps().values(), before, strict=True):
        torch.testing.assert_close(now, then)
    torch.testing.assert_close(maps.cached()["feature"], before[0])


def test_published_form_has_nothing_left_to_train_once_cached():
    maps = bank(free_maps=False)
    maps.freeze()
    assert not list(maps.parameters())


def test_noise_switch_changes_the_map_but_not_from_call_to_call():
    maps = bank(map_noise=True, free_maps=False)
    plain = maps()["feature"].detach()
    for conv in [*maps.generator.ups, *maps.generator.convs]:
        conv.noise_weight.data.fill_(1.0)
    noisy = maps()["feature"].detach()
    assert (noisy - plain).abs().max() > 0.1
    torch.testing.assert_close(maps()["feature"], noisy)
