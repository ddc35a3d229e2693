"""LPIPS through the asset rule: the weights are really torchvision's AlexNet, and without them there is no figure."""

import lpips
import numpy as np
import pytest
import torch
from torchvision.models import alexnet

from selfieavatar.errors import UserError
from selfieavatar.evaluation import lpips as adapter


@pytest.fixture(scope="module")
def reference():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return alexnet(weights=None).eval()


@pytest.fixture(scope="module")
def score(reference, tmp_path_factory):
    """The adapter on a state dict of the published file's layout, with random values in it."""
    file = tmp_path_factory.mktemp("assets") / "alexnet.pth"
    torch.save(reference.state_dict(), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "asset_path", lambda name: {"alexnet_imagenet": file}[name])
        return adapter.LpipsScore("cpu")


def images(count=2, side=64):
    rng = np.random.default_rng(0)
    truth = rng.random((count, side, side, 3), np.float32)
    masks = {"full": np.ones((count, side, side), bool), "face": np.zeros((count, side, side), bool)}
    masks["face"][0, 16:48, 16:48] = True
    return truth, masks


def test_trunk_is_torchvision_s_alexnet(score, reference):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(score.net.net(image)[-1], reference.features[:12](image))


def test_heads_are_those_of_the_package(score):
    file = torch.load(
        lpips.__file__.replace("__init__.py", "weights/v0.1/alex.pth"), map_location="cpu", weights_only=True
    )
    for k in range(5):
        torch.testing.assert_close(score.net.lins[k].model[1].weight.data, file[f"lin{k}.model.1.weight"])


def test_zero_at_equality_and_grows_with_damage(score):
    truth, masks = images()
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, truth.shape).astype(np.float32)
    assert np.abs(score(truth, truth, masks)["full"]).max() < 1e-6
    slight, strong = (score(truth + s * noise, truth, masks)["full"] for s in (0.05, 0.4))
    assert (0 < slight).all() and (slight < strong).all()


def test_regions_see_damage_where_it_is(score):
    truth, masks = images()
    damaged = truth.copy()
    damaged[:, 24:40, 24:40] = 0.0
    scores = score(damaged, truth, masks)
    assert scores["face"][0] > scores["full"][0]
    assert np.isnan(scores["face"][1])


def test_missing_weights_stop_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    with pytest.raises(UserError, match="alexnet"):
        adapter.LpipsScore("cpu")
