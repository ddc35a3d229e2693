"""The baseline: of G_style's form and about its size, painting from what its encoder sees."""

import pytest
import torch

from selfieavatar.networks.avatar_generator import AvatarGenerator
from selfieavatar.networks.avatar_networks import AvatarNetworks
from selfieavatar.networks.blocks import count_parameters
from selfieavatar.networks.plain_unet import PlainUNet
from tests.networks.settings import preset, tiny


def networks():
    torch.manual_seed(0)
    return AvatarNetworks(tiny(generator="unet"), 32)


def test_has_the_form_of_the_avatar_and_no_maps():
    nets = networks()
    image, background = nets(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
    assert image.shape == (2, 3, 32, 32) and background.shape == (2, 1, 32, 32)
    assert background.abs().max() <= 1
    assert nets.maps_frozen and nets.face.cached() == nets.back.cached() == {}
    assert not list(nets.face.parameters()) and not list(nets.back.parameters())


@pytest.mark.parametrize("seen", [["render"], ["render", "uv", "coordinates"]])
def test_sees_what_the_encoder_sees(seen):
    torch.manual_seed(0)
    nets = AvatarNetworks(tiny(generator="unet", render_inputs=seen), 32)
    render, uv = torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad():
        painted, without = nets(render, uv)[0], nets(render, uv.flip(-1))[0]
        moved = nets(render.flip(-1), uv)[0]
    assert torch.equal(painted, without) == ("uv" not in seen)
    assert not torch.allclose(painted, moved)


def test_skips_carry_single_pixels_to_the_output():
    nets = networks()
    render = torch.rand(1, 3, 32, 32, requires_grad=True)
    nets.style.out.bias.data.zero_()
    nets(render, render)[0][0, 0, 16, 16].backward()
    share = render.grad.abs().sum(1)[0]
    assert share[16, 16] > 5 * share[share > 0].median()


def test_folded_network_paints_the_same():
    nets = networks().requires_grad_(False)
    render = torch.rand(1, 3, 32, 32)
    plain = nets(render, render)
    nets.style.fold()
    for folded, wanted in zip(nets(render, render), plain, strict=True):
        torch.testing.assert_close(folded, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size_px"), [("smoke", 64), ("cpu-128", 128), ("cpu-256", 256), ("gpu-512", 512), ("paper-1024", 1024)]
)
def test_has_about_the_parameters_of_the_avatar(name, size_px):
    network = preset(name)
    with torch.device("meta"):
        style, plain = AvatarGenerator(network, size_px), PlainUNet(network, size_px)
    assert 0.5 < count_parameters(plain) / count_parameters(style) < 1.1
