"""Check the content of an avatar.pt, a stranger's file, before any network is built of it."""

from __future__ import annotations

import math
from types import NoneType
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
_TABLES = ("settings", "g_style", "maps", "identity", "expression_range", "weights", "versions")
_TEXTS = ("subject", "consent", "started_from")
LONGEST_TEXT = 4096  # characters; an avatar that started from others names them all
NEEDED = ("size_px", "settings", "g_style", "maps", "identity", "expression_range", "weights")


def refuse_misfits(content: dict[str, Any]) -> None:
    """Raise UserError, ValueError or what Python raises on nonsense where parts do not fit, before any is built."""
    _refuse_foreign_kinds(content)
    network, size_px = networks_of(content), content["size_px"]
    read_section(Decode, {"size_px": size_px}, "decode")
    if problem := check_sizes(network, size_px):
        raise ValueError(problem)
    for part in ("g_style", "expression_range"):
        for name, values in content[part].items():
            _refuse_other_numbers(values, f"{part}.{name} is not of finite numbers")
    ends = content["expression_range"]
    if not bool((ends["low"] <= ends["high"]).all()):
        raise ValueError("expression_range is upside down")
    channels = map_channels(network)
    channels |= dict.fromkeys(OFF_FACE, channels["face"])
    for region in regions_of(network):
        side = network.net_feature_px if region == "back" else network.net_map_px
        for name, count in (("feature", channels[region]), ("skip", 12)):
            said = f"the map {name} of {region} is not of this network"
            _refuse_other_numbers(content["maps"][region][name], said, (1, count, side, side))
    if has_bases(network):
        _refuse_bases(content["maps"]["bases"], network)


def _refuse_foreign_kinds(content: dict[str, Any]) -> None:
    """Raise ValueError where a part is of another kind than training writes; what it does not know is passed over."""
    for part in _TABLES:
        if not isinstance(content.get(part, {}), dict):
            raise ValueError(f"{part} must be a table")
    for name in _TEXTS:
        text = content.get(name, "")
        if not isinstance(text, str) or len(text) > LONGEST_TEXT or not text.isprintable():
            raise ValueError(f"{', '.join(_TEXTS)} must be texts of one line")
    for name in ("images", "minutes"):
        if type(content.get(name, 0)) not in (int, float, NoneType):
            raise ValueError(f"{name} must be a number")
        if not math.isfinite(content.get(name) or 0):
            raise ValueError(f"{name} is not finite")
    for name, values in content["identity"].items():
        if not isinstance(values, str if name == "model" else Tensor):
            raise ValueError(f"identity.{name} must be {'a text' if name == 'model' else 'a tensor'}")
    for part in ("weights", "versions"):
        if not all(isinstance(text, str) for text in content.get(part, {}).values()):
            raise ValueError(f"{part} must be texts")
    history = content.get("history", [])
    rows = history if isinstance(history, list) else [None]
    if not all(isinstance(row, dict) and {*map(type, row.values())} <= {int, float} for row in rows):
        raise ValueError("history must be a list of tables of numbers")


def _refuse_other_numbers(values: Any, said: str, shape: tuple[int, ...] | None = None) -> None:
    """Raise ValueError where something is no tensor of finite float32, or has another shape."""
    fits = isinstance(values, Tensor) and values.dtype == torch.float32 and shape in (None, tuple(values.shape))
    if not fits or not bool(values.isfinite().all()):
        raise ValueError(said)


def _refuse_bases(bases: Any, network: Networks) -> None:
    """Raise ValueError where the bases of the face's maps, or the range of their code, are not of this network."""
    if not isinstance(bases, dict):
        raise ValueError("maps.bases must be a table")
    for name, shape in bases_shapes(network).items():
        _refuse_other_numbers(bases[name], f"the bases' {name} is not of this network", shape)
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


def regions_of(network: Networks) -> tuple[str, ...]:
    """Return the regions of which the network takes maps."""
    if network.net_generator == "unet":
        return ()
    return ("face", "back", *(name for name in OFF_FACE if getattr(network, f"net_{name}")))
