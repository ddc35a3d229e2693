"""EfficientNet distance: none for equal images, more with damage, there where the damage is; the sum by hand."""

import numpy as np
import pytest
import torch

from selfieavatar.errors import UserError
from selfieavatar.evaluation.effnet_distance import EffnetDistance
from selfieavatar.settings import packaged
from tests.evaluation.test_lpips import images


@pytest.fixture(scope="module")
def distance():
    return EffnetDistance("cpu")


def test_zero_at_equality_and_grows_with_damage(distance):
    truth, masks = images()
    noise = np.random.default_rng(1).normal(0, 1, truth.shape).astype(np.float32)
    assert set(distance(truth, truth, masks)["full"]) == {0.0}
    slight, strong = (distance(truth + s * noise, truth, masks)["full"] for s in (0.05, 0.4))
    assert (0 < slight).all() and (slight < strong).all() and (strong < 4).all()


def test_regions_see_damage_where_it_is(distance):
    truth, masks = images()
    damaged = truth.copy()
    damaged[:, 24:40, 24:40] = 0.0
    scores = distance(damaged, truth, masks)
    assert scores["face"][0] > scores["full"][0]
    assert np.isnan(scores["face"][1])


def test_it_is_two_minus_twice_the_cosine_averaged_over_positions_and_levels(distance):
    truth, masks = images(1, 50)  # a size that no stride divides
    other = truth[:, ::-1].copy()
    with torch.no_grad():
        a, b = (distance.net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())) for x in (truth, other))
    cosines = [torch.nn.functional.cosine_similarity(a[level], b[level]).mean().item() for level in a]
    assert len(cosines) == 5
    assert distance(other, truth, masks)["full"][0] == pytest.approx(2 - 2 * np.mean(cosines), abs=1e-5)


def test_without_the_package_there_is_none(monkeypatch):
    monkeypatch.setattr(packaged, "packaged_file", lambda name: None)
    with pytest.raises(UserError, match="'efficientnet_lite0' come with the package"):
        EffnetDistance("cpu")
