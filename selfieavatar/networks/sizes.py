"""Check which sizes of the networks fit which images, without torch: the workflow asks before anything runs."""

from __future__ import annotations

from selfieavatar.errors import UserError
from selfieavatar.settings.train_section import Networks, Train

LEAST_CROP_PX = 8  # of ID-MRF: VGG19 halves it three times


def width_at(px: int, base: int, limit: int) -> int:
    """Compute the channels at a resolution: base / px, at most `limit` (32768 and 512 give the published table)."""
    return max(8, min(limit, base // px))


def fused_channels(settings: Networks) -> int:
    """Count the channels of the fused features at `net_feature_px`."""
    return width_at(settings.net_feature_px, settings.net_channel_base, settings.net_channel_max)


def bases_px(settings: Networks) -> int:
    """Return the side of the feature bases' maps."""
    return settings.net_bases_px or settings.net_map_px


def refuse_sizes(train: Train, size_px: int) -> None:
    """Stop where the networks of the section `train` do not fit images of size_px.

    Raises:
        UserError: says which keys, and how to fix them.
    """
    problem = check_sizes(train, size_px) or _check_losses(train, size_px)
    if problem:
        raise UserError(
            f"the section 'train' does not fit decode.size_px {size_px}: {problem}; choose a preset made for that size"
        )


def check_sizes(settings: Networks, size_px: int) -> str | None:
    """Say what is wrong with the sizes of the networks for images of size_px; None where all fit."""
    names = ("net_feature_px", "net_map_px", "net_render_px", "net_render_bottom_px", "net_bottom_px")
    powers = {name: getattr(settings, name) for name in names} | {"decode.size_px": size_px}
    odd = [f"{name} {value}" for name, value in powers.items() if value & (value - 1) or value < 4]
    if odd:
        return f"sizes must be powers of two of at least 4, but {', '.join(odd)} is not"
    if not settings.net_bottom_px < settings.net_feature_px <= size_px // 2:
        return f"net_feature_px must lie above net_bottom_px and at most at half of {size_px} px"
    if settings.net_feature_px * settings.net_warp_scale > size_px or settings.net_render_px > size_px:
        return f"net_feature_px * net_warp_scale and net_render_px must not exceed the size {size_px} px"
    if (
        not settings.net_render_bottom_px < settings.net_render_px // 2
        or settings.net_render_bottom_px >= settings.net_feature_px
    ):
        return "net_render_bottom_px must lie below net_render_px / 2 and below net_feature_px"
    if settings.net_map_px < 8:
        return "net_map_px must be at least 8"
    side = bases_px(settings)
    if settings.net_face_bases and (side & (side - 1) or not 4 <= side <= settings.net_map_px):
        return f"net_bases_px must be 0 or a power of two from 4 to net_map_px {settings.net_map_px}, but is {side}"
    width = fused_channels(settings)
    if width % settings.net_warp_scale**2:
        return (
            f"the {width} channels at net_feature_px (net_channel_base / net_feature_px, at most net_channel_max, at "
            f"least 8) must be a multiple of {settings.net_warp_scale**2}, the square of net_warp_scale"
        )
    if settings.net_time_code and settings.net_latent % 2:
        return "net_latent must be even for net_time_code"
    return None


def _check_losses(train: Train, size_px: int) -> str | None:
    """Say, as `check_sizes`, what is wrong with the sizes that only the training looks at."""
    patch, crop = train.net_disc_patch_px, train.mrf_crop_px
    if patch and (patch & (patch - 1) or not 4 <= patch <= size_px // 4):
        return f"net_disc_patch_px must be 0 or a power of two from 4 to {size_px // 4}, but is {patch}"
    if 0 < crop < LEAST_CROP_PX:
        return f"mrf_crop_px must be 0 or at least {LEAST_CROP_PX}, but is {crop}"
    return None
