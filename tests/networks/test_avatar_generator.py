"""G_style: published size, fusion (which side of the mask is which), warping through I_UV, all sizes."""

import pytest
import torch

from selfieavatar.errors import UserError
from selfieavatar.networks.avatar_generator import AvatarGenerator, map_channels
from selfieavatar.networks.avatar_networks import AvatarNetworks
from selfieavatar.networks.blocks import count_parameters
from selfieavatar.networks.discriminator import Discriminator
from selfieavatar.networks.haar import haar, inverse_haar
from selfieavatar.networks.resample import coarser_noise
from selfieavatar.networks.sampling import sample_window
from selfieavatar.networks.sizes import check_sizes, refuse_sizes
from selfieavatar.settings.train_section import Train
from tests.networks.settings import TINY, preset, tiny


def identity_uv(size):
    """I_UV that looks at the texture straight on: (1,3,S,S)."""
    axis = (torch.arange(size) + 0.5) / size
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)])[None]


def test_parameters_of_the_published_structure():
    with torch.device("meta"):
        network = preset("paper-1024")
        nets, disc = AvatarNetworks(network, 1024), Discriminator(network, 1024)
    published = {"face": 21.2e6, "back": 21.2e6, "style": 47.5e6}
    for name, count in published.items():
        assert count_parameters(getattr(nets, name)) == pytest.approx(count, rel=0.1), name
    assert count_parameters(disc) == pytest.approx(27.8e6, rel=0.1)


@pytest.mark.parametrize(
    ("name", "size_px"),
    [("smoke", 64), ("cpu-128", 128), ("cpu-256", 256), ("cpu-512", 512), ("demo", 128), ("gpu-512", 512)],
)
def test_presets_fit_their_size(name, size_px):
    network = preset(name)
    assert check_sizes(network, size_px) is None
    with torch.device("meta"):
        nets = AvatarNetworks(network, size_px).to(memory_format=torch.channels_last)
        image, mask = nets(torch.zeros(2, 3, size_px, size_px), torch.zeros(2, 3, size_px, size_px))
    assert image.shape == (2, 3, size_px, size_px)
    assert mask.shape == (2, 1, network.net_feature_px, network.net_feature_px)


@pytest.mark.parametrize("size_px", [64, 128, 256, 512, 1024])
def test_one_definition_paints_every_size(size_px):
    network = tiny(feature_px=size_px // 8, render_px=size_px // 4, render_bottom_px=4, warp_scale=1, noise=True)
    torch.manual_seed(0)
    nets = AvatarNetworks(network, size_px)
    with torch.no_grad():
        image, _ = nets(torch.rand(1, 3, size_px, size_px), identity_uv(size_px))
    assert image.shape == (1, 3, size_px, size_px) and torch.isfinite(image).all()


def test_wrong_sizes_are_named():
    assert "net_feature_px 24" in check_sizes(tiny(feature_px=24), 64)
    assert "net_render_px" in check_sizes(tiny(render_px=64), 32)
    assert "decode.size_px 63" in check_sizes(tiny(), 63)
    assert check_sizes(tiny(), 32) is None
    assert "net_map_px" in check_sizes(tiny(map_px=4), 32)
    assert "18 channels" in check_sizes(tiny(channel_max=18, channel_base=1000), 32)
    assert "8 channels" in check_sizes(tiny(warp_scale=4, feature_px=8, channel_base=64, render_bottom_px=4), 32)
    assert "net_latent" in check_sizes(tiny(latent=9, time_code=True), 32)


@pytest.mark.parametrize(
    "change", [{"net_disc_patch_px": 16}, {"net_disc_patch_px": 5}, {"net_disc_patch_px": 2}, {"mrf_crop_px": 4}]
)
def test_sizes_of_losses_that_do_not_fit_are_named(change):
    fitting = TINY | {"net_disc_patch_px": 8, "mrf_crop_px": 8}
    refuse_sizes(Train(**fitting), 32)
    with pytest.raises(UserError, match=next(iter(change))):
        refuse_sizes(Train(**fitting | change), 32)


def test_face_map_is_painted_where_the_uv_image_says():
    network = tiny(soft_edge=False)
    style = AvatarGenerator(network, 32)
    texture = torch.rand(1, 3, 32, 32)
    face = {"feature": torch.zeros(1, map_channels(network)["face"], 16, 16), "skip": haar(texture)}
    uv = identity_uv(32)
    uv[:, 2, :, :10] = 0  # no face at the left
    _, skip = style._warp(style.atlas(face), *style._grid(uv))
    shown = inverse_haar(skip)
    torch.testing.assert_close(shown[..., 10:], texture[..., 10:], atol=1e-5, rtol=0)
    assert shown[..., :10].abs().max() == 0


@pytest.mark.parametrize("names", [("torso",), ("hair",), ("torso", "hair")])
def test_maps_off_the_face_are_painted_on_the_person_where_the_uv_image_says(names):
    network = tiny(soft_edge=False)
    style, channels = AvatarGenerator(network, 32), map_channels(network)["face"]
    own = {name: torch.rand(1, 3, 32, 32) for name in ("face", *names)}
    maps = {name: {"feature": torch.zeros(1, channels, 16, 16), "skip": haar(v)} for name, v in own.items()}
    uv = identity_uv(32)
    uv[:, 2, :, :20] = 0  # hair at the left, torso next to it, face at the right
    uv[:, 1, :, :10] = uv[:, 1, :, :10] / 2
    uv[:, 1, :, 10:20] = 0.5 + uv[:, 1, :, 10:20] / 2
    m = torch.zeros(1, 1, 16, 16)
    m[..., :8, :] = 1  # background in the upper half
    atlas = style.atlas(maps.pop("face"), maps)
    _, skip = style._warp(atlas, *style._places(atlas, uv, *style._grid(uv), m))
    shown = inverse_haar(skip)
    torch.testing.assert_close(shown[..., 21:], own["face"][..., 21:], atol=1e-5, rtol=0)
    for name, part in {"hair": slice(1, 9), "torso": slice(11, 19)}.items():
        wanted = own[name][..., 16:31, part] if name in own else torch.zeros(1, 3, 15, 8)
        torch.testing.assert_close(shown[..., 16:31, part], wanted, atol=1e-5, rtol=0)
    assert shown[..., :16, :19].abs().max() == 0


def test_maps_off_the_face_fade_where_their_coordinates_end():
    network = tiny(soft_edge=False, feature_px=32)
    style, channels = AvatarGenerator(network, 64), map_channels(network)["face"]
    maps = {"feature": torch.zeros(1, channels, 16, 16), "skip": torch.zeros(1, 12, 16, 16)}
    uv = identity_uv(64)
    uv[:, 2] = 0
    uv[:, 1] /= 2
    uv[:, 1, :, 40:] = 0  # hair at the left, nothing at the right
    atlas = style.atlas(maps, {"hair": maps})
    _, shown = style._places(atlas, uv, *style._grid(uv), torch.zeros(1, 1, 32, 32))
    row = shown[0, 0, 32]
    assert row[:38].eq(1).all() and row[40:].eq(0).all()
    assert (row[37:40].diff() < 0).all() and row[39] < 0.3


def test_without_coordinates_off_the_face_its_maps_change_nothing():
    torch.manual_seed(0)
    nets = AvatarNetworks(tiny(torso=True, hair=True), 32).eval()
    uv = identity_uv(32)
    uv[:, 0] = 0.1 + 0.8 * uv[:, 0]  # the maps meet at the borders
    uv[:, :, :, :10] = 0
    arguments = nets.back(), torch.rand(1, 3, 32, 32), uv
    with torch.no_grad():
        plain, with_map = (nets.style(atlas, *arguments)[0] for atlas in (nets.style.atlas(nets.face()), nets.atlas()))
    torch.testing.assert_close(with_map, plain, atol=1e-4, rtol=0)


def test_soft_edge_fades_the_border_pixels_only():
    uv = identity_uv(32)
    uv[:, 2, :, :10] = 0
    _, inside = AvatarGenerator(tiny(soft_edge=True), 32)._grid(uv)
    assert inside[0, 0, 16, 8:13].tolist() == pytest.approx([0, 0, 2 / 3, 1, 1])


@pytest.mark.parametrize(("share", "on_background", "on_person"), [(1.0, 1, 0), (0.5, 0.75, 0.25), (0.0, 0.5, 0.5)])
def test_mask_share_says_how_far_the_mask_decides(share, on_background, on_person):
    """What reaches the decoder are features and skip of the encoder and of G_b, mixed in these shares."""
    torch.manual_seed(0)
    nets = AvatarNetworks(tiny(mask_share=share), 32)
    render, uv = torch.rand(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    seen = []
    nets.style.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[:2]))

    def moved_by_back(logit):
        nets.style.mask.weight.data.zero_()
        nets.style.mask.bias.data.fill_(logit)
        seen.clear()
        before, _ = nets(render, uv)
        for map_free in (nets.back.feature_free, nets.back.skip_free):
            map_free.data += 0.5
        after, out_mask = nets(render, uv)
        assert torch.sign(out_mask).eq(torch.sign(torch.tensor(logit))).all()
        return [((new - old) / 0.5).detach() for old, new in zip(*seen, strict=True)], (after - before).abs().max()

    for logit, wanted in ((+9.0, on_background), (-9.0, on_person)):
        parts, change = moved_by_back(logit)
        for part in parts:
            torch.testing.assert_close(part, torch.full_like(part, wanted), atol=1e-4, rtol=0)
        assert change > 0.1 if wanted else change < 1e-6  # G_b shows, or is hidden


def test_composition_gives_the_mask_no_gradient_of_the_image():
    nets = AvatarNetworks(tiny(), 32)
    image, _ = nets(torch.rand(1, 3, 32, 32), identity_uv(32))
    image.sum().backward()
    assert nets.style.mask.weight.grad is None
    assert nets.style.encoder.from_rgb.weight.grad is not None
    assert nets.face.feature_free.grad.abs().max() > 0


def test_window_moves_the_background_map():
    rgb, feature = torch.rand(1, 3, 32, 32), torch.rand(1, 4, 16, 16)
    _, still = sample_window(feature, haar(rgb), None, 32, 2)
    moved_feature, moved = sample_window(feature, haar(rgb), torch.tensor([[4.0, -2.0], [0.0, 0.0]]), 32, 2)
    assert moved_feature.shape == (2, 4, 16, 16)
    torch.testing.assert_close(inverse_haar(moved)[0, :, :28, 8:], rgb[0, :, 2:30, 4:28], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[1], still[1], atol=1e-4, rtol=0)


def test_time_code_matters_only_where_it_is_on():
    torch.manual_seed(0)
    render, uv = torch.rand(2, 3, 32, 32), identity_uv(32).expand(2, -1, -1, -1)
    render[1] = render[0]
    times = torch.tensor([0.1, 0.9])
    with torch.no_grad():
        on, _ = AvatarNetworks(tiny(time_code=True), 32)(render, uv, times)
        off, _ = AvatarNetworks(tiny(time_code=False), 32)(render, uv, times)
    assert (on[0] - on[1]).abs().max() > 1e-3
    torch.testing.assert_close(off[0], off[1])


def lively(nets):
    """The networks with all weights that start at zero, or at one, moved away from there."""
    for parameter in nets.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return nets


def test_noise_is_drawn_anew_in_training_alone():
    style = AvatarNetworks(tiny(noise=True), 32).style
    uv = torch.rand(1, 3, 32, 32)
    m = torch.full((1, 1, 16, 16), 0.5)

    def drawn():
        return style._noises(*style._grid(uv), m)[16]

    assert torch.equal(drawn(), drawn())
    style.noise_anew = True
    assert not torch.equal(drawn(), drawn())
    style.eval()
    assert torch.equal(drawn(), drawn())


def test_noise_sticks_to_the_skin_and_stays_behind_it():
    torch.manual_seed(0)
    style = AvatarGenerator(tiny(noise=True, warp_scale=1, soft_edge=False), 32)
    uv = identity_uv(32)
    uv[:, 2, :, :8] = uv[:, 2, :, 24:] = 0
    moved = torch.cat([uv[..., -4:], uv[..., :-4]], -1)  # the face four pixels to the right
    m = torch.zeros(1, 1, 16, 16)
    for name in ("base", "back"):
        getattr(style, f"noise_{name}").zero_()
    still, shifted = (style._noises(*style._grid(image), m)[16] for image in (uv, moved))
    torch.testing.assert_close(shifted[..., 6:14], still[..., 4:12])
    assert still[..., 4:12].std() > 0.5 and still[..., :4].abs().max() == 0
    style.noise_face.zero_()
    style.noise_back.normal_()
    on_back, on_person = (style._noises(*style._grid(uv), m + side)[16] for side in (1, 0))
    torch.testing.assert_close(on_back, coarser_noise(style.noise_back, 16))
    assert on_person.abs().max() == 0


@pytest.mark.parametrize("changes", [{}, {"noise": True, "equalized": True, "time_code": True, "refine_channels": 0}])
def test_folded_network_paints_the_same(changes):
    torch.manual_seed(0)
    nets = lively(AvatarNetworks(tiny(**changes), 32)).requires_grad_(False)
    render, uv = torch.rand(2, 3, 32, 32), identity_uv(32).expand(2, -1, -1, -1)
    plain = nets(render, uv)
    nets.style.fold()
    for folded, wanted in zip(nets(render, uv), plain, strict=True):
        torch.testing.assert_close(folded, wanted, rtol=1e-3, atol=1e-4)
    nets.style.fold(torch.bfloat16)
    image, background = nets(render, uv)
    assert image.dtype == background.dtype == torch.float32
    assert (image - plain[0]).square().mean().sqrt() < 0.03 * plain[0].std()
