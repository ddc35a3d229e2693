"""Check the content of an avatar.pt, a stranger's file, before any network is built of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from selfieavatar.networks.avatar_generator import map_channels
from selfieavatar.networks.avatar_networks import OFF_FACE
from selfieavatar.networks.face_bases import bases_shapes, has_bases
from selfieavatar.networks.sizes import check_sizes
from selfieavatar.settings.config import read_section
from selfieavatar.settings.sections import Decode
from selfieavatar.settings.train_section import Networks

# Avatars from before have the default.
YOUNGER_KEYS = ("net_face_bases", "net_bases_channels", "net_bases_px", "net_merge_kernel")
NEEDED = ("size_px", "settings", "g_style", "maps", "identity", "expression_range", "weights")


def refuse_misfits(content: dict[str, Any]) -> None:
    """Raise UserError, ValueError or what Python raises on nonsense where parts do not fit, before any is built."""
    network, size_px = networks_of(content), content["size_px"]
    read_section(Decode, {"size_px": size_px}, "decode")
    if problem := check_sizes(network, size_px):
        raise ValueError(problem)
    if not isinstance(content["weights"], dict):
        raise ValueError("weights must be a table")
    if not all(isinstance(content.get(name, ""), str) for name in ("subject", "consent", "started_from")):
        raise ValueError("subject, consent and started_from must be texts")
    for part in ("g_style", "identity", "expression_range"):
        for name, values in content[part].items():
            _refuse_hollow(values, f"{part}.{name}")
            if part == "g_style" and not (values.dtype == torch.float32 and bool(values.isfinite().all())):
                raise ValueError(f"{part}.{name} is not of finite numbers")
    channels = map_channels(network)
    channels |= dict.fromkeys(OFF_FACE, channels["face"])
    for region in regions_of(network):
        side = network.net_feature_px if region == "back" else network.net_map_px
        for name, count in (("feature", channels[region]), ("skip", 12)):
            values = content["maps"][region][name]
            _refuse_hollow(values, f"maps.{region}.{name}")
            fits = values.shape == (1, count, side, side) and values.dtype == torch.float32
            if not fits or not bool(values.isfinite().all()):
                raise ValueError(f"the map {name} of {region} is not of this network")
    if has_bases(network):
        _refuse_bases(content["maps"]["bases"], network)


def _refuse_bases(bases: Any, network: Networks) -> None:
    """Raise ValueError where the bases of the face's maps, or the range of their code, are not of this network."""
    if not isinstance(bases, dict):
        raise ValueError("maps.bases must be a table")
    for name, shape in bases_shapes(network).items():
        values = bases[name]
        _refuse_hollow(values, f"maps.bases.{name}")
        fits = tuple(values.shape) == shape and values.dtype == torch.float32
        if not fits or not bool(values.isfinite().all()):
            raise ValueError(f"the bases' {name} is not of this network")
    if not bool((bases["low"] <= bases["high"]).all()):
        raise ValueError("the range of the bases' code is upside down")


def networks_of(content: dict[str, Any]) -> Networks:
    """Read the settings of its networks; those of the training, and of other versions, are passed over."""
    settings = {name: Networks.model_fields[name].default for name in YOUNGER_KEYS} | content["settings"]
    if missing := [key for key in Networks.model_fields if key not in settings]:
        raise ValueError(f"its settings lack {', '.join(missing)}")
    return read_section(Networks, {key: settings[key] for key in Networks.model_fields}, "train")


def consent_of(content: dict[str, Any]) -> str:
    """Read the basis of consent, with that of the avatar it started from; empty where nothing is stated."""
    consent, started_from = content.get("consent", ""), content.get("started_from", "")
    return f"{consent or 'not stated'}; started from {started_from}" if started_from else consent


def _refuse_hollow(values: Any, name: str) -> None:
    """Raise ValueError where a tensor claims more numbers than the file holds."""
    if isinstance(values, Tensor) and values.untyped_storage().nbytes() < values.nbytes:
        raise ValueError(f"{name} claims more numbers than there are")


def regions_of(network: Networks) -> tuple[str, ...]:
    """Return the regions of which the network takes maps."""
    if network.net_generator == "unet":
        return ()
    return ("face", "back", *(name for name in OFF_FACE if getattr(network, f"net_{name}")))
