"""What no training frame shows of the maps is filled; what is shown stays, and so do the images."""

import numpy as np
import pytest
import torch

from selfieavatar.networks.avatar_networks import AvatarNetworks
from selfieavatar.networks.haar import haar, inverse_haar
from selfieavatar.settings.train_section import Train
from selfieavatar.training.dataset import FrameStore, make_batch
from selfieavatar.training.loop import Frames
from selfieavatar.training.unseen_texels import fill_unseen
from tests.networks.settings import TINY
from tests.training.makers import SIZE, write_clip


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unseen")
    write_clip(folder / "a", 9)
    store = FrameStore([(folder / "a", k) for k in range(9)], SIZE, 10**9, 1)
    return Frames(store, np.array([1.0] * 8 + [0]), [8])


def networks(**changes):
    """Settings of the networks, and parts of an avatar whose face map is grey with two garish corners."""
    torch.manual_seed(0)
    network = Train(**TINY | changes)
    nets = AvatarNetworks(network, SIZE).eval()
    maps = {name: getattr(nets, name).cached() for name in ("face", "back", "torso", "hair")}
    side = 2 * network.net_map_px
    colour = torch.full((1, 3, side, side), 0.25)
    colour[:, 1, :3, :3] = colour[:, 1, -3:, -3:] = 40.0
    maps["face"]["skip"] = haar(colour)
    style = {name: value.clone() for name, value in nets.style.state_dict().items()}
    return nets, network, {"g_style": style, "maps": {name: own for name, own in maps.items() if own}}


PUBLISHED = {"net_warp_scale": 1, "net_warp_mode": "nearest"}


@pytest.mark.parametrize(
    ("names", "changes"),
    [((), {}), ((), PUBLISHED), (("hair", "torso"), {"net_hair": True, "net_torso": True})],
    ids=["face", "published", "all"],
)
def test_what_is_shown_stays_and_the_rest_is_filled(frames, names, changes):
    nets, network, parts = networks(net_soft_edge=False, **changes)
    batch = make_batch(frames.store.read([0, 3, 7]), np.zeros(3), "cpu")
    before = {name: {key: value.clone() for key, value in own.items()} for name, own in parts["maps"].items()}
    fill_unseen(parts, network, frames, torch.device("cpu"))
    colour = inverse_haar(parts["maps"]["face"]["skip"])
    torch.testing.assert_close(colour, torch.full_like(colour, 0.25), atol=1e-5, rtol=0)
    middle = (..., slice(6, 10), slice(6, 10))
    torch.testing.assert_close(parts["maps"]["face"]["feature"][middle], before["face"]["feature"][middle])
    for name in ("back", *names):  # no frame has coordinates of hair or torso: there is nothing to fill them from
        for key, value in before[name].items():
            torch.testing.assert_close(parts["maps"][name][key], value, atol=1e-6, rtol=0)
    off_face = {name: parts["maps"][name] for name in names}
    with torch.no_grad():
        images = [
            nets.style(nets.style.atlas(maps["face"], off_face), maps["back"], batch.render, batch.uv)[0]
            for maps in (before, parts["maps"])
        ]
    inner = batch.uv[:, :2].sub(0.5).norm(dim=1, keepdim=True) < 0.4
    assert (images[0] - images[1]).abs()[inner.expand(-1, 3, -1, -1) & (batch.uv[:, 2:] > 0)].mean() < 0.01


def test_coverage_counts_looks_at_each_texel(frames):
    """Against the change of the looked-up sum by each of some texels, one at a time."""
    nets, network, parts = networks(net_soft_edge=False)
    style, batch = nets.style, make_batch(frames.store.read([0, 3]), np.zeros(2), "cpu")
    atlas = style.atlas(parts["maps"]["face"])
    found = style.coverage(atlas, batch.uv, batch.alpha)
    grid, inside = style._grid(batch.uv)
    side = found.shape[-1]
    for row, column in ((side // 2, side // 2), (side // 2, side // 4), (0, 0), (side // 3, side // 2)):
        total = 0.0
        for k in range(2):
            for y in range(grid.shape[1]):
                for x in range(grid.shape[2]):
                    across, down = ((grid[k, y, x] + 1) * side - 1).mul(0.5).clamp(0, side - 1).tolist()
                    near = max(0.0, 1 - abs(across - column)) * max(0.0, 1 - abs(down - row))
                    total += near * inside[k, 0, y, x].item()
        assert found[0, 0, row, column].item() == pytest.approx(total, abs=1e-3)


def test_what_a_generator_gives_stays(frames):
    _, network, parts = networks(net_free_maps=False)
    before = parts["maps"]["face"]["skip"].clone()
    fill_unseen(parts, network, frames, torch.device("cpu"))
    torch.testing.assert_close(parts["maps"]["face"]["skip"], before, atol=0, rtol=0)


def test_maps_of_many_channels(frames):
    wide = {"net_channel_base": 65536, "net_channel_max": 520, "net_warp_scale": 1}
    _, network, parts = networks(net_soft_edge=False, **wide)
    fill_unseen(parts, network, frames, torch.device("cpu"))
    assert parts["maps"]["face"]["feature"].shape[1] == 520


@pytest.mark.parametrize("changes", [{}, PUBLISHED, {"net_free_maps": False, "net_bases_px": 8}])
def test_bases_are_filled_as_what_they_make_of_the_map(frames, changes):
    """Filled one by one and then combined is the same as combined and then filled; what is shown stays."""
    nets, network, parts = networks(net_soft_edge=False, net_face_bases=2, net_bases_channels=3, **changes)
    parts["maps"]["bases"] = nets.bases.cached()
    before = {name: value.clone() for name, value in parts["maps"]["bases"].items()}
    code, side = torch.tensor([0.7, -0.4]), network.net_bases_px or network.net_map_px
    skip = parts["maps"]["face"]["skip"].clone()
    sums = {name: torch.einsum("k,kyx->yx", code, before[name]) for name in ("feature", "colour")}
    summed = parts["maps"] | {"bases": before | {name: value.repeat(2, 1, 1) for name, value in sums.items()}}
    fill_unseen(parts, network, frames, torch.device("cpu"))
    fill_unseen({"g_style": parts["g_style"], "maps": summed}, network, frames, torch.device("cpu"))
    after = parts["maps"]["bases"]
    assert torch.equal(after["mix"], before["mix"]) and torch.equal(after["high"], torch.ones(2))
    for name in ("feature", "colour"):
        made = torch.einsum("k,kyx->yx", code, after[name])
        torch.testing.assert_close(made, summed["bases"][name][0], atol=1e-5, rtol=0)
        corner, middle = (after[name].view(2, -1, *(after[name].shape[-1:] * 2))[..., k, k] for k in (0, side // 2))
        old = before[name].view(2, -1, *(before[name].shape[-1:] * 2))
        assert not torch.equal(corner, old[..., 0, 0]) and corner.isfinite().all()
        torch.testing.assert_close(middle, old[..., side // 2, side // 2])
    assert torch.equal(parts["maps"]["face"]["skip"], skip) or network.net_free_maps


def test_a_generator_without_maps_has_nothing_to_fill(frames):
    torch.manual_seed(0)
    network = Train(**TINY, net_generator="unet")
    nets = AvatarNetworks(network, SIZE)
    parts = {"g_style": nets.style.state_dict(), "maps": {"face": {}, "back": {}}}
    fill_unseen(parts, network, frames, torch.device("cpu"))
    assert parts["maps"] == {"face": {}, "back": {}}
