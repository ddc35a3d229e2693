"""Put the metrics of an avatar into words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfieavatar.io.files import content_hash

WORDS = {"mean_frame": "the mean frame", "nearest_frame": "the nearest training frame"}
TRACKED_TORSO = "tracked_torso"  # the avatar with the torso where it was tracked in the truth
TRACKED_WORDS = "the avatar, torso tracked in the truth"


def beside(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Map what stands beside the avatar in metrics.json, in words, to its regions."""
    tracked = {TRACKED_WORDS: metrics[TRACKED_TORSO]} if metrics.get(TRACKED_TORSO) else {}
    return tracked | {WORDS.get(name, name): regions for name, regions in metrics["baselines"].items()}


def comparison(metrics: Mapping[str, Any], region: str, method: str = "avatar") -> str:
    """Write one line: PSNR and SSIM over a region of metrics.json, with what stands beside it."""

    def scores(of: Mapping[str, Any]) -> str:
        if of["psnr_db"] is None:
            return "no pixel"
        return f"{of['psnr_db']:.1f} dB / " + ("null" if of["ssim"] is None else f"{of['ssim']:.2f}")

    rest = [f"{name} {scores(regions[region])}" for name, regions in beside(metrics).items()]
    return f"{region}: {method} {scores(metrics[region])}" + (f" ({', '.join(rest)})" if rest else "")


def worse_than(metrics: Mapping[str, Any], region: str = "face") -> str | None:
    """Name the baseline that the avatar falls short of over a region, in words; None where it beats them."""
    own = metrics[region]["psnr_db"]
    known = [
        (regions[region]["psnr_db"], name)
        for name, regions in metrics["baselines"].items()
        if regions[region]["psnr_db"] is not None
    ]
    if own is None or not known or max(known)[0] <= own:
        return None
    best, name = max(known)
    return f"{own:.1f} dB, {WORDS[name]} {best:.1f} dB"


def outdated(metrics: Mapping[str, Any], avatar: Path) -> bool:
    """Tell whether metrics.json is of another avatar than the file holds now; where it does not say, it is not."""
    return bool(metrics.get("avatar")) and metrics["avatar"] != content_hash(avatar)
