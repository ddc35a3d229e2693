"""Put the metrics of an avatar into words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS = {"mean_frame": "the mean frame", "nearest_frame": "the nearest training frame"}


def comparison(metrics: Mapping[str, Any], region: str, method: str = "avatar") -> str:
    """Write one line: PSNR and SSIM over a region of metrics.json, beside the baselines'."""

    def scores(of: Mapping[str, Any]) -> str:
        if of["psnr_db"] is None:
            return "no pixel"
        return f"{of['psnr_db']:.1f} dB / " + ("null" if of["ssim"] is None else f"{of['ssim']:.2f}")

    rest = [f"{WORDS[name]} {scores(regions[region])}" for name, regions in metrics["baselines"].items()]
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
