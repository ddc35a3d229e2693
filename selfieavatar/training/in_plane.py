"""Augment by moving the person in the image plane over the clean background: shift, rotation and scale.

StyleAvatar's sliding window moves the whole image by whole pixels. Here the background stays where it is, as it does
when somebody moves before a camera, so that the background map learns what lies behind the head, and the head is seen
in places where nobody filmed it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.training.dataset import Batch

_BACKGROUND = 0.02  # alpha at the border up to which nothing of the person is cut off there


@dataclass(frozen=True)
class Motion:
    """Similarity transforms of a batch: angle (B,) rad, scale (B,), shift (B,2) px, about the face's centre."""

    angle: Tensor
    scale: Tensor
    shift_px: Tensor

    @classmethod
    def draw(
        cls, count: int, share: float, shift_px: float, degrees: float, scale: float, random: torch.Generator
    ) -> Motion:
        """Draw normal deviations for a share of the images, and rest for the others."""
        moved = (torch.rand(count, generator=random) < share).float()
        angle = torch.randn(count, generator=random) * math.radians(degrees) * moved
        log_scale = torch.randn(count, generator=random) * scale * moved
        return cls(angle, log_scale.exp(), torch.randn(count, 2, generator=random) * shift_px * moved[:, None])

    def only(self, wanted: Tensor) -> Motion:
        """Let the images rest that are not among the wanted ones (B,) bool."""
        kept = wanted.to(self.angle)
        return Motion(self.angle * kept, 1 + (self.scale - 1) * kept, self.shift_px * kept[:, None])


def move_person(batch: Batch, motion: Motion) -> Batch:
    """Move the person of each image over the clean background; images without one stay as they are.

    Coordinates in I_UV stay those of the surface. What is cut off at the border and would come in is unknown: it
    carries no loss (validity 0).
    """
    if batch.plate is None:
        return batch
    known = batch.plate.isfinite().all((1, 2, 3))
    plate = torch.where(known[:, None, None, None], batch.plate, batch.image)
    motion = motion.only(known)
    side = batch.image.shape[-1]
    source = _source_px(motion, _centres(batch.uv[:, 2]), side).to(batch.image)
    grid = (2 * source + 1) / side - 1  # pixel centres at whole numbers, to those of grid_sample
    inside = (source > -0.5).all(-1) & (source < side - 0.5).all(-1)
    # what the person adds to the background; it can be negative, where they cast a shadow on it
    person = torch.cat([batch.image - (1 - batch.alpha) * plate, batch.alpha], 1)
    person = F.grid_sample(person, grid, "bilinear", "border", align_corners=False)
    colour, alpha = person.split([3, 1], 1)
    render = F.grid_sample(batch.render, grid, "bilinear", "zeros", align_corners=False)
    uv = _sampled_uv(batch.uv, source)
    validity = (inside[:, None] | (alpha <= _BACKGROUND)).to(alpha)
    layout = torch.channels_last
    image = (colour + (1 - alpha) * plate).clamp(0, 1)
    moved = {"image": image, "alpha": alpha, "render": render, "uv": uv, "validity": validity}
    return replace(batch, **{name: value.contiguous(memory_format=layout) for name, value in moved.items()})


def _centres(face: Tensor) -> Tensor:
    """Compute the centroid (B,2) x, y px of each face (B,S,S); the image's centre where there is none."""
    side = face.shape[-1]
    place, mass = torch.arange(side, device=face.device).float(), face.sum((1, 2))
    sums = torch.stack([(face.sum(1) * place).sum(1), (face.sum(2) * place).sum(1)], 1)
    middle = torch.full_like(sums, (side - 1) / 2)
    return torch.where(mass[:, None] > 0, sums / mass.clamp_min(1)[:, None], middle)


def _source_px(motion: Motion, centre: Tensor, side: int) -> Tensor:
    """Compute where each pixel comes from: (B,S,S,2) x, y px, pixel centres at whole numbers."""
    place = torch.arange(side, device=centre.device).float()
    pixels = torch.stack(torch.meshgrid(place, place, indexing="xy"), -1)
    angle, scale, shift = (value.to(centre) for value in (motion.angle, motion.scale, motion.shift_px))
    away = pixels - (centre + shift)[:, None, None]
    cos, sin = ((f(angle) / scale)[:, None, None] for f in (torch.cos, torch.sin))
    back = torch.stack([cos * away[..., 0] + sin * away[..., 1], cos * away[..., 1] - sin * away[..., 0]], -1)
    return back + centre[:, None, None]


def _sampled_uv(uv: Tensor, source: Tensor) -> Tensor:
    """Sample coordinates between the four neighbours, of which only those of the nearest one's region count.

    Regions are face, hair, torso and nothing: across their borders coordinates jump.
    """
    count, _, side, _ = uv.shape
    u, v, face = uv.unbind(1)
    region = torch.where(face > 0, 3, (v > 0).long() + (v >= 0.5).long())
    low = source.floor()
    flat = {"u": u.flatten(1), "v": v.flatten(1), "region": region.flatten(1)}

    def at(place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x, y = place.long().unbind(-1)
        known = (x >= 0) & (x < side) & (y >= 0) & (y < side)
        index = (y.clamp(0, side - 1) * side + x.clamp(0, side - 1)).flatten(1)
        return known, {name: values.gather(1, index).view(known.shape) for name, values in flat.items()}

    inside, nearest = at((source + 0.5).floor())
    wanted = torch.where(inside, nearest["region"], 0)
    total = torch.zeros(2, count, side, side, device=uv.device)
    weights = torch.zeros(count, side, side, device=uv.device)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        corner = low + low.new_tensor([dx, dy])
        known, found = at(corner)
        weight = (1 - (source - corner).abs()).clamp_min(0).prod(-1) * (known & (found["region"] == wanted))
        weights += weight
        total += weight * torch.stack([found["u"], found["v"]])
    mean = total / weights.clamp_min(1e-6)
    return torch.stack([*torch.where(wanted > 0, mean, 0), (wanted == 3).to(uv)], 1)
