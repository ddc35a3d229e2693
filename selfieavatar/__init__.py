"""Animate a photographic head avatar of a person, made from one short selfie video."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.errors import UserError
    from selfieavatar.identity import Identity
    from selfieavatar.live.live_driver import LiveDriver
    from selfieavatar.runtime.choice import fastest_avatar
    from selfieavatar.runtime.exported_avatar import ExportedAvatar

# Imported on first use, so that `import selfieavatar` loads neither torch nor mediapipe (PEP 562).
_HOMES = {
    "Avatar": "selfieavatar.avatar",
    "ExportedAvatar": "selfieavatar.runtime.exported_avatar",
    "Identity": "selfieavatar.identity",
    "LiveDriver": "selfieavatar.live.live_driver",
    "UserError": "selfieavatar.errors",
    "fastest_avatar": "selfieavatar.runtime.choice",
}

__all__ = ["Avatar", "ExportedAvatar", "Identity", "LiveDriver", "UserError", "__version__", "fastest_avatar"]


def __getattr__(name: str) -> object:
    """Import a public name from its module; UserError where that needs torch, and there is none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(_HOMES[name])
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from selfieavatar.errors import UserError

        raise UserError(
            f"{name} needs torch: pip install 'selfieavatar[torch]'; ExportedAvatar does without"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
