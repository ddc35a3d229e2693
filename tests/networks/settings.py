"""Network settings of tests: a tiny avatar, and the published structure."""

from selfieavatar.networks.sizes import network_settings
from selfieavatar.settings.config import load_preset, stage_settings

TINY = {
    "net_feature_px": 16,
    "net_map_px": 16,
    "net_warp_scale": 2,
    "net_noise": False,
    "net_refine_channels": 4,
    "net_channel_base": 256,
    "net_channel_max": 16,
    "net_bottom_px": 4,
    "net_skip_px": 16,
    "net_map_channel_base": 128,
    "net_map_channel_max": 8,
    "net_render_px": 32,
    "net_render_bottom_px": 4,
    "net_render_skip_px": 16,
    "net_render_channel_base": 128,
    "net_render_channel_max": 8,
    "net_disc_channel_base": 256,
    "net_disc_channel_max": 16,
    "net_latent": 8,
    "net_mapping_layers": 2,
}


def tiny(**changes):
    """Network section of a 32 px avatar; keys without the prefix net_."""
    overlay = TINY | {f"net_{name}": value for name, value in changes.items()}
    return network_settings(stage_settings("train", overlay))


def preset(name):
    """Network section of a preset."""
    return network_settings(stage_settings("train", load_preset(name)["train"]))
