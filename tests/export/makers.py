"""A tiny avatar of random networks, without a training."""

from dataclasses import replace

import numpy as np
import torch

from selfieavatar.identity import Identity
from selfieavatar.io.avatar_file import FORMAT
from selfieavatar.networks.avatar_networks import OFF_FACE, AvatarNetworks
from selfieavatar.rendering.shading import default_light
from tests.networks.settings import tiny
from tests.runtime.makers import identity

SIZE = 32


def content(**network):
    """Content of an avatar.pt; network: its settings, without the prefix net_."""
    torch.manual_seed(0)
    settings = tiny(**network)
    nets = AvatarNetworks(settings, SIZE).requires_grad_(False)
    for name, values in nets.style.named_parameters():
        if name.endswith(("bias", "noise_weight")) and "modulation" not in name:
            values.normal_(0, 0.1)  # they start at zero, which hides mistakes
    banks = {name: getattr(nets, name).cached() for name in ("face", "back", *OFF_FACE)}
    who: Identity = replace(identity(), light=default_light())
    arrays = {
        name: values.item() if values.dtype.kind == "U" else torch.from_numpy(np.array(values))
        for name, values in who.to_arrays().items()
    }
    return {
        "format": FORMAT, "subject": "anna", "consent": "self", "size_px": SIZE, "settings": dict(settings),
        "g_style": nets.style.state_dict(), "maps": {name: maps for name, maps in banks.items() if maps}
        | ({"bases": nets.bases.cached()} if nets.bases is not None else {}), "identity": arrays,
        "expression_range": {"low": arrays["expression_low"], "high": arrays["expression_high"]}, "weights": {},
    }  # fmt: skip
