"""Fill what the training frames never showed of the maps from what they did.

A map that is learned texel by texel keeps noise where no frame looked, and the noise comes to light where a driver
turns the head further than the footage does: as a coloured line before the ear, as light dots along the jaw.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.networks.avatar_generator import AvatarGenerator
from selfieavatar.networks.avatar_networks import OFF_FACE, build_generator
from selfieavatar.networks.haar import haar
from selfieavatar.rendering.texture import fill_holes
from selfieavatar.settings.train_section import Networks
from selfieavatar.training.dataset import Batch, make_batch
from selfieavatar.training.loop import Frames

MOST_FRAMES = 2000  # that are looked at, spread evenly
LEAST_SHARE = 0.002  # of them have to show a texel


@torch.no_grad()
def fill_unseen(parts: dict[str, Any], settings: Networks, frames: Frames, device: torch.device) -> None:
    """Fill unseen texels of the maps of face, torso and hair, and of the face's bases.

    Args:
        parts: what the avatar takes from the networks (`Trainer.averaged_weights`), on the CPU; its maps are changed.
        settings: of the networks. frames: that they were trained on.

    Maps that are a generator's own output, without free texels (`net_free_maps`), stay as they are. Bases are filled
    as the maps are, by an operation that is linear in them: whatever the code, what it makes of them is filled so, too.
    """
    style, bases = build_generator(settings, frames.store.size_px), parts["maps"].get("bases")
    if not isinstance(style, AvatarGenerator) or not (settings.net_free_maps or bases):
        return
    style.load_state_dict(parts["g_style"])
    style.to(device)
    maps = {name: {key: map.to(device) for key, map in pair.items()} for name, pair in parts["maps"].items()}
    names = ("face", *(name for name in OFF_FACE if name in maps))
    atlas = style.atlas(maps["face"], {name: maps[name] for name in names[1:]})
    seen, count = torch.zeros_like(atlas.colour[:, :1]), 0
    for batch in spread_batches(frames, device):
        seen += style.coverage(atlas, batch.uv, batch.alpha)
        count += len(batch.uv)
    least, scale = LEAST_SHARE * count, seen.shape[-2] // atlas.feature.shape[-2]
    if settings.net_free_maps:
        colours = _filled(atlas.colour, seen >= least, len(names))
        features = _filled(atlas.feature, _blocks(seen, scale) >= least, len(names))
        for name, colour, feature in zip(names, colours, features, strict=True):
            parts["maps"][name] = {"feature": feature, "skip": haar(colour) if scale == 2 else colour}
    on_face = seen.chunk(len(names), 3)[0]
    for key in ("feature", "colour") if bases else ():
        side = bases[key].shape[-1]
        below = bases[key].view(1, -1, side, side)
        [filled] = _filled(below, _blocks(on_face, on_face.shape[-1] // side) >= least, 1)
        bases[key] = filled.view_as(bases[key])


def spread_batches(frames: Frames, device: torch.device) -> Iterator[Batch]:
    """Read the frames that are trained on, at most `MOST_FRAMES` of them, spread evenly."""
    rows = np.flatnonzero(frames.weights)
    rows = rows[np.linspace(0, len(rows) - 1, min(MOST_FRAMES, len(rows))).astype(int)]
    for part in np.array_split(rows, -(-len(rows) // 8)):
        yield make_batch(frames.store.read(part.tolist()), frames.times[part], device)


def _blocks(seen: Tensor, side: int) -> Tensor:
    """Sum over blocks of side x side texels."""
    return side**2 * F.avg_pool2d(seen, side)


def _filled(maps: Tensor, known: Tensor, count: int) -> list[Tensor]:
    """Fill each of `count` maps side by side (1,C,M,count M) where it is not known (1,1,M,count M)."""
    pairs = zip(maps.cpu().chunk(count, 3), known.cpu().chunk(count, 3), strict=True)
    return [_fill(own, there) if there.any() else own.clone() for own, there in pairs]


def _fill(texture: Tensor, known: Tensor) -> Tensor:
    rows = np.ascontiguousarray(texture[0].permute(1, 2, 0).numpy())
    return torch.from_numpy(fill_holes(rows, known[0, 0].numpy())).permute(2, 0, 1)[None].contiguous()
