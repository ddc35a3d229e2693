"""metrics.json as plain Python values: the regions' figures, notes on what is missing, versions; never NaN or
infinity."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from stages.metrics.network import NetworkScores
from stages.metrics.regions import REGIONS
from stages.metrics.registry import ScoreSheet

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "lpips", "torch_fidelity")
DIGITS = 6


def region_figures(sheet: ScoreSheet, network: NetworkScores, method: str) -> dict[str, dict[str, float | None]]:
    """{region: {ssim, psnr_db, sharpness, lpips, fid}} of a method."""
    mine, deep = sheet.summary(), network.summary(method)
    return {region: mine[region] | deep[region] for region in REGIONS}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the figures depend on."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def as_json(value: Any) -> Any:
    """Values that JSON has: floats rounded to six digits after the point, what is not finite None, mappings by
    string."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
