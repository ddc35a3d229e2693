"""Modulated convolutions against the formula of the paper, the width table, the mapping and the time code."""

import pytest
import torch
import torch.nn.functional as F

from selfieavatar.networks.blocks import (
    Conv,
    ConvBlock,
    Mapping,
    StyledConv,
    ToRGB,
    fold,
    haar_down,
    positional_code,
)
from selfieavatar.networks.haar import haar, inverse_haar
from selfieavatar.networks.resample import downsample2, upsample2
from selfieavatar.networks.sizes import width_at


def naive_styled(layer, x, style):
    """StyleGAN2, eq. 1 and 3, literally: one modulated and demodulated kernel for each sample."""
    out = []
    for k in range(len(x)):
        factor = layer.modulation(style[min(k, len(style) - 1)])
        kernel = layer.weight * layer.scale * factor[None, :, None, None]
        kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt() * layer.gain
        out.append(F.conv2d(x[k : k + 1], kernel, padding=1))
    return F.leaky_relu(torch.cat(out) + layer.bias[None, :, None, None], 0.2)


@pytest.mark.parametrize("styles", [1, 3])
@pytest.mark.parametrize("equalized", [False, True])
def test_styled_conv_is_the_published_modulation(styles, equalized):
    torch.manual_seed(0)
    layer = StyledConv(5, 4, 6, equalized=equalized)
    torch.nn.init.normal_(layer.modulation.weight)
    torch.nn.init.normal_(layer.bias)
    x, style = torch.randn(3, 5, 8, 8), torch.randn(styles, 6)
    torch.testing.assert_close(layer(x, style), naive_styled(layer, x, style), rtol=1e-4, atol=1e-5)


def test_demodulated_output_has_about_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    layer = StyledConv(32, 32, 8, active=False)
    for scale in (0.1, 10.0):
        layer.modulation.bias.data.fill_(scale)
        out = layer(torch.randn(4, 32, 16, 16), torch.zeros(1, 8))
        assert out[..., 2:-2, 2:-2].std().item() == pytest.approx(1.0, abs=0.1)


def test_noise_is_off_at_the_start_and_added_with_its_weight():
    layer, x, style = StyledConv(3, 3, 4, active=False), torch.randn(2, 3, 8, 8), torch.zeros(1, 4)
    noise = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(layer(x, style, noise), layer(x, style))
    layer.noise_weight.data.fill_(0.5)
    torch.testing.assert_close(layer(x, style, noise) - layer(x, style), (0.5 * noise).expand(-1, 3, -1, -1))


def test_shapes_of_up_and_down():
    x, style = torch.randn(2, 6, 8, 8), torch.zeros(2, 4)
    assert StyledConv(6, 5, 4, up=True)(x, style).shape == (2, 5, 16, 16)
    assert ConvBlock(6, 7)(x).shape == ConvBlock(6, 7, blur=True)(x).shape == (2, 7, 4, 4)
    assert Conv(6, 3, stride=2)(x).shape == (2, 3, 4, 4)
    assert ToRGB(6, 4)(x, style, torch.randn(2, 3, 8, 8)).shape == (2, 3, 16, 16)


def test_the_branch_of_images_is_the_published_branch_in_haar_space():
    x, style, bands = torch.randn(2, 6, 8, 8), torch.zeros(1, 4), torch.randn(2, 12, 4, 4)
    layer = ToRGB(6, 4)
    published = layer.conv(x, style) + haar(upsample2(inverse_haar(bands)))
    torch.testing.assert_close(haar(layer(x, style, inverse_haar(bands))), published)


def test_colours_of_the_levels_add_up_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        image = ToRGB(6, 4)(torch.randn(2, 6, 8, 8), torch.zeros(1, 4), torch.full((2, 3, 8, 8), 1 / 3))
    assert image.dtype == torch.float32


@pytest.mark.parametrize("colours", [3, 6])
def test_haar_space_is_halved_as_the_image_is(colours):
    bands = torch.randn(2, 4 * colours, 8, 8)
    published = haar(downsample2(inverse_haar(bands)))
    torch.testing.assert_close(haar_down(bands), published, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("equalized", [False, True])
def test_folded_convolution_is_the_same(up, equalized):
    torch.manual_seed(0)
    layer = StyledConv(5, 4, 6, up=up, equalized=equalized)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, style, noise = torch.randn(3, 5, 8, 8), torch.randn(1, 6), torch.randn(1, 1, 16 if up else 8, 16 if up else 8)
    with torch.no_grad():
        plain = layer(x, style, noise)
        fold(layer, style, torch.float32)
        torch.testing.assert_close(layer(x, style, noise), plain, rtol=1e-4, atol=1e-5)


def test_widths_follow_the_published_table():
    table = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
    assert {px: width_at(px, 32768, 512) for px in table} == table


def test_mapping_ignores_the_length_of_the_latent():
    mapping, latent = Mapping(8, 4), torch.randn(2, 8)
    torch.testing.assert_close(mapping(latent), mapping(7 * latent), rtol=1e-3, atol=1e-4)


def test_time_code_tells_neighbouring_frames_apart():
    code = positional_code(torch.linspace(0, 1, 5000), 64)
    assert code.shape == (5000, 64) and code.abs().max() <= 1
    assert (code[1:] - code[:-1]).norm(dim=1).min() > 0.05
