"""A tiny avatar.pt of the made-up person, with networks that nobody has trained."""

import numpy as np
import torch

from selfieavatar.networks.avatar_networks import OFF_FACE, AvatarNetworks
from tests.live.makers import Painted
from tests.training.makers import settings

SIZE = 32


def write_avatar(path):
    """Write it, for live use: on MediaPipe's mesh, with a usual pose."""
    torch.manual_seed(0)
    network = settings()
    nets = AvatarNetworks(network, SIZE).requires_grad_(False)
    names = ["face", "back", *(name for name in OFF_FACE if getattr(network, f"net_{name}"))]
    for name in names:
        getattr(nets, name).freeze()
    maps = {name: {part: getattr(nets, name)()[part].contiguous() for part in ("feature", "skip")} for name in names}
    arrays = {
        name: values.item() if values.dtype.kind in "US" else torch.from_numpy(np.array(values, order="C"))
        for name, values in Painted().identity.to_arrays().items()
    }
    content = {"format": 3, "subject": "anna", "size_px": SIZE, "settings": network.model_dump(), "weights": {}}
    ends = {"low": arrays["expression_low"], "high": arrays["expression_high"]}
    torch.save(
        content | {"g_style": nets.style.state_dict(), "maps": maps, "identity": arrays, "expression_range": ends}, path
    )
