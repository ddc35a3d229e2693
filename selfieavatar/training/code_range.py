"""Measure the range of the code of the face's bases over the frames that were trained on.

Bases are learned where the code has been, and beyond add up to what nobody has looked at: a driver whose face does more
than the footage shows gets the face nearest to it.
"""

from __future__ import annotations

from typing import Any

import torch

from selfieavatar.networks.avatar_generator import AvatarGenerator
from selfieavatar.networks.avatar_networks import build_generator
from selfieavatar.settings.train_section import Networks
from selfieavatar.training.loop import Frames
from selfieavatar.training.unseen_texels import spread_batches


@torch.no_grad()
def measure_code_range(parts: dict[str, Any], settings: Networks, frames: Frames, device: torch.device) -> None:
    """Write the least and the largest code of each basis into the parts of an avatar that has bases.

    Args:
        parts: what the avatar takes from the networks (`Trainer.averaged_weights`), on the CPU; its maps are changed.
        settings: of the networks. frames: that they were trained on.
    """
    style = build_generator(settings, frames.store.size_px)
    if not isinstance(style, AvatarGenerator) or style.code is None:
        return
    style.load_state_dict(parts["g_style"])
    style.to(device).eval()
    batches = spread_batches(frames, device)
    codes = torch.cat([style.code(style.encoder.squeeze(batch.render, batch.uv)[0]) for batch in batches])
    parts["maps"]["bases"] |= {"low": codes.amin(0).cpu(), "high": codes.amax(0).cpu()}
