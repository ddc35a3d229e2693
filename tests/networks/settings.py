"""Network settings of tests: a tiny avatar, and the published structure."""

from selfieavatar.settings.config import load_preset
from selfieavatar.settings.train_section import Train

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
    """Settings of a 32 px avatar's networks; keys without the prefix net_."""
    return Train(**TINY | {f"net_{name}": value for name, value in changes.items()})


def preset(name):
    """The section `train` of a preset."""
    return Train(**load_preset(name)["train"])
