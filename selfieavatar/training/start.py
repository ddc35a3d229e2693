"""Start a training from the networks of somebody else's avatar instead of random ones (not in the paper).

What a decoder knows of skin, hair and teeth holds for many people, and so does where on the face's map they lie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfieavatar.errors import UserError
from selfieavatar.io.avatar_file import read_avatar
from selfieavatar.networks.avatar_content import LONGEST_TEXT, NEEDED, consent_of, networks_of, refuse_misfits
from selfieavatar.networks.avatar_networks import OFF_FACE, AvatarNetworks
from selfieavatar.networks.feature_generator import MapBank
from selfieavatar.settings.train_section import Networks, Train


def read_start(path: Path, settings: Train, size_px: int, face_model: str) -> dict[str, Any]:
    """Read the avatar that a training starts from.

    face_model: name of the face model of who is to be trained, which lays out the map of the face.

    Raises:
        UserError: no sound avatar, its networks or face model are others than those to be trained, or they could not
            learn on.
    """
    content = read_avatar(path)
    try:
        if missing := [name for name in NEEDED if name not in content]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        refuse_misfits(content)
        model = content["identity"]["model"]
        facts = {"size_px": content["size_px"], "face model": model if model == face_model else ascii(model[:20])}
        theirs = networks_of(content).model_dump() | facts
    except (UserError, LookupError, RuntimeError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"train.start_from {path} does not fit together ({first}); name another avatar") from error
    painted = (key for key in Networks.model_fields if not key.startswith("net_disc_"))  # what avatar.pt holds
    wanted = {key: getattr(settings, key) for key in painted} | {"size_px": size_px, "face model": face_model}
    apart = [f"{key} {theirs[key]} instead of {value}" for key, value in wanted.items() if theirs[key] != value]
    if apart:
        raise UserError(
            f"train.start_from {path} has other networks ({', '.join(apart[:4])}); name an avatar of the same preset, "
            "size and face model, or leave it empty"
        )
    if settings.net_generator == "style" and not settings.net_free_maps:
        raise UserError(
            "train.start_from takes maps as they are, which without train.net_free_maps cannot learn; set that, or "
            "leave start_from empty"
        )
    start = content | {"subject": content.get("subject", ""), "consent": consent_of(content)}
    if len(words := started_from(start)) > LONGEST_TEXT:  # the new avatar would be refused by who loads it
        raise UserError(
            f"train.start_from {path} names whom it started from in {len(words)} characters, and an avatar has room "
            f"for {LONGEST_TEXT}; name another avatar"
        )
    return start


def started_from(start: dict[str, Any] | None) -> str:
    """Say whose avatar (`read_start`) a training started from, and with what consent; empty for None."""
    return f"{start['subject']} ({start['consent'] or 'not stated'})" if start else ""


@torch.no_grad()
def start_from(nets: AvatarNetworks, avatar: dict[str, Any]) -> None:
    """Overwrite networks and maps by those of an avatar (`read_start`); the maps are cached from here on.

    Raises:
        UserError: its tensors do not fit.
    """
    nets.freeze_maps()
    try:
        nets.style.load_state_dict(avatar["g_style"])
        for region in ("face", "back", *OFF_FACE):
            bank: nn.Module = getattr(nets, region)
            if isinstance(bank, MapBank):
                bank.feature.copy_(avatar["maps"][region]["feature"])
                bank.skip.copy_(avatar["maps"][region]["skip"])
        if nets.bases is not None:
            own = {"feature": "feature_bases", "colour": "colour_bases", "mix": "mix"}
            for name, parameter in own.items():
                getattr(nets.bases, parameter).copy_(avatar["maps"]["bases"][name])
    except (RuntimeError, LookupError, TypeError) as error:
        raise UserError(f"the avatar of train.start_from is damaged ({str(error).splitlines()[0]})") from error
