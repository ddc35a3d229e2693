"""Maps that follow the expression: the same as a map for each frame, learned from the start, and off by default."""

import pytest
import torch
from torch.nn import functional

from selfieavatar.networks.avatar_generator import Atlas
from selfieavatar.networks.avatar_networks import AvatarNetworks
from selfieavatar.networks.face_bases import bases_shapes, sample_bases
from selfieavatar.networks.sizes import check_sizes
from tests.networks.settings import preset, tiny
from tests.networks.test_avatar_generator import identity_uv


def networks(seed=0, **changes):
    """Networks of a 32 px avatar with all weights that start at zero moved away from there."""
    torch.manual_seed(seed)
    nets = AvatarNetworks(tiny(**changes), 32)
    for parameter in nets.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return nets.requires_grad_(False)


def frames(count=3):
    """I_R and I_UV of a face in the middle, each frame otherwise turned."""
    uv = identity_uv(32).repeat(count, 1, 1, 1)
    for k in range(count):
        uv[k, :2] = 0.2 + 0.6 * uv[k, :2] + 0.05 * k
        uv[k, :, :, : 6 + k] = uv[k, :, 26:] = 0
    return torch.rand(count, 3, 32, 32), uv


def test_without_bases_nothing_is_there():
    nets = AvatarNetworks(tiny(), 32)
    assert nets.bases is None and nets.style.code is None and nets.atlas().bases is None
    assert not any("bases" in name or ".code." in name for name in nets.state_dict())
    assert AvatarNetworks(tiny(face_bases=2, generator="unet"), 32).bases is None


def test_other_weights_start_as_they_do_without_bases():
    torch.manual_seed(3)
    plain = AvatarNetworks(tiny(), 32)
    torch.manual_seed(3)
    nets = AvatarNetworks(tiny(face_bases=3), 32)
    own = {name for name in nets.state_dict() if name.startswith(("bases.", "style.code."))}
    assert nets.state_dict().keys() - own == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, nets.state_dict()[name]), name
    render, uv = frames()
    with torch.no_grad():
        assert (nets(render, uv)[0] - plain(render, uv)[0]).abs().max() > 0
        nets.bases.feature_bases.zero_()
        nets.bases.colour_bases.zero_()
        torch.testing.assert_close(nets(render, uv)[0], plain(render, uv)[0], atol=1e-6, rtol=0)


FORMS = [{}, {"warp_scale": 1, "warp_mode": "nearest"}, {"warp_scale": 4, "feature_px": 8, "soft_edge": False}]


@pytest.mark.parametrize("form", FORMS, ids=["doubled", "published", "fourfold"])
def test_it_is_a_map_for_each_frame(form):
    """Against the form that is easy to see and slow: for each frame the sum of the maps, which is then sampled."""
    nets = networks(face_bases=3, bases_channels=2, channel_base=1024, channel_max=64, **form)
    style, (render, uv) = nets.style, frames()
    code = style.code(style.encoder.squeeze(render, uv)[0])
    assert code.std(0).min() > 1e-4 and code.abs().max() < 1
    atlas, bases = style.atlas(nets.face(), None, nets.bases()), nets.bases()
    grid, inside = style._grid(uv)
    found = style._warp(atlas, grid, inside, style._added(atlas, style.encoder.squeeze(render, uv)[0], grid, inside))
    for k in range(len(uv)):
        feature, colour = atlas.feature.clone(), atlas.colour.clone()
        for w, low_rank, rgb in zip(code[k], bases.feature, bases.colour, strict=True):
            few = low_rank.view(2, 16, 16)
            feature[0] += w * sum(bases.mix[:, c, None, None] * few[c] for c in range(2))
            colour[0] += w * rgb.view_as(colour[0])
        wanted = style._warp(Atlas(feature, colour), grid[k : k + 1], inside[k : k + 1])
        for part, value in zip(found, wanted, strict=True):
            torch.testing.assert_close(part[k : k + 1], value, atol=1e-4, rtol=1e-4)


def test_coarser_bases_are_looked_up_as_their_enlargement_is():
    nets = networks(face_bases=2, bases_px=8, bases_channels=4)
    bases, (_, uv) = nets.bases(), frames(1)
    assert bases.feature.shape == (2, 32, 8)
    grid, inside = nets.style._grid(uv)
    found, _ = sample_bases(bases, torch.tensor([[0.5, -1.0]]), grid, inside, "bilinear")
    small = (0.5 * bases.feature[0] - bases.feature[1]).view(1, 4, 8, 8)
    sampled = functional.grid_sample(small, grid, padding_mode="border", align_corners=False) * inside
    torch.testing.assert_close(found, torch.einsum("oc,bchw->bohw", nets.bases.mix, sampled), atol=1e-5, rtol=1e-4)


def test_nothing_but_the_face_follows():
    nets = networks(face_bases=2)
    uv = identity_uv(32)
    uv[:, 2, :, :16] = 0  # torso at the left
    uv[:, 1, :, :16] = 0.5 + uv[:, 1, :, :16] / 2
    style, render = nets.style, torch.rand(1, 3, 32, 32)
    grid, inside = style._grid(uv)
    bottom = style.encoder.squeeze(render, uv)[0]
    for part in style._added(nets.atlas(), bottom, grid, inside):
        assert part[..., :16].abs().max() == 0 and part[..., 16:].abs().max() > 0


def test_bases_and_code_learn_from_the_first_step():
    torch.manual_seed(0)
    nets = AvatarNetworks(tiny(face_bases=3), 32)
    render, uv = frames()
    image, _ = nets(render, uv)
    functional.mse_loss(image, torch.rand_like(image)).backward()
    learned = {name: p.grad for name, p in nets.named_parameters() if name.startswith(("bases.", "style.code."))}
    assert len(learned) == 7
    for name, gradient in learned.items():
        assert gradient is not None and gradient.abs().max() > 0, name
    assert (learned["bases.colour_bases"].abs().amax((1, 2)) > 0).all(), "each of them"
    nets.freeze_maps()
    assert all(p.requires_grad for p in nets.bases.parameters())


def test_the_code_stays_in_the_range_that_was_seen():
    nets = networks(face_bases=2)
    bases, (_, uv) = nets.bases(), frames(2)
    places = nets.style._grid(uv)
    limited = bases._replace(low=torch.tensor([-0.5, 0.1]), high=torch.tensor([0.25, 0.2]))
    found = sample_bases(limited, torch.tensor([[0.9, 0.15], [-0.9, -0.9]]), *places, "bilinear")
    wanted = sample_bases(bases, torch.tensor([[0.25, 0.15], [-0.5, 0.1]]), *places, "bilinear")
    for part, value in zip(found, wanted, strict=True):
        assert torch.equal(part, value)


def test_in_bfloat16_code_and_bases_are_summed_in_float32():
    nets = networks(face_bases=2)
    places, bottom = nets.style._grid(frames(1)[1]), torch.rand(1, nets.style.encoder.bottom.weight.shape[0], 4, 4)
    plain = nets.style.code(bottom)
    _, colour = sample_bases(nets.bases(), plain, *places, "bilinear")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nets.style.code(bottom), plain)
        assert torch.equal(sample_bases(nets.bases(), plain, *places, "bilinear")[1], colour)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folded_network_paints_the_same(dtype):
    nets = networks(face_bases=2)
    render, uv = frames()
    plain = nets(render, uv)[0]
    nets.style.fold(dtype)
    assert (nets(render, uv)[0] - plain).square().mean().sqrt() < (0.03 if dtype == torch.bfloat16 else 1e-4)


@pytest.mark.parametrize(
    ("name", "size_px"),
    [("smoke", 64), ("cpu-128", 128), ("cpu-256", 256), ("demo", 128), ("gpu-512", 512), ("paper-1024", 1024)],
)
def test_every_preset_can_have_bases(name, size_px):
    network = preset(name).model_copy(update={"net_face_bases": 4})
    assert check_sizes(network, size_px) is None
    with torch.device("meta"):
        nets = AvatarNetworks(network, size_px).to(memory_format=torch.channels_last)
        image, _ = nets(torch.zeros(2, 3, size_px, size_px), torch.zeros(2, 3, size_px, size_px))
    assert image.shape == (2, 3, size_px, size_px)
    shapes = bases_shapes(network)
    assert all(getattr(nets.bases(), name).shape == shapes[name] for name in ("feature", "colour", "mix"))
    assert nets.bases().colour.numel() == 4 * 12 * network.net_map_px**2


@pytest.mark.parametrize("side", [12, 32, 2])
def test_bases_of_another_size_are_named(side):
    assert f"is {side}" in check_sizes(tiny(face_bases=1, bases_px=side), 32)
    assert check_sizes(tiny(bases_px=side), 32) is None
    assert check_sizes(tiny(face_bases=1, bases_px=8), 32) is None
