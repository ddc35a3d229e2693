"""Assemble metrics.json as plain, finite Python values: metrics by region, notes on what is missing, versions."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import cv2
import numpy as np

from selfieavatar.evaluation import bootstrap, retrack
from selfieavatar.evaluation.metric_registry import ScoreSheet
from selfieavatar.evaluation.network_metrics import REGION_METRICS, NetworkScores
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.results import Results
from selfieavatar.evaluation.summary_text import TRACKED_TORSO

PACKAGES = ("torch", "torchvision", "numpy", "lpips", "torch_fidelity")
DIGITS = 6
TABLE_METRICS = ("psnr_db", "ssim", "sharpness")  # of single frames, also compared by labels of the clips


# Which form of a metric is meant, since several go by one name.
DEFINITIONS = {
    "driver_only": "driven by pose, expression and gaze of the face; mean light, torso where the head's pose tells",
    "tracked_torso": "the same avatar, driven by all that was tracked in the frame that it is compared with: the "
    "torso's place, too, and with render.light: fitted the light",
    "ssim": "11 x 11 Gaussian window, sigma 1.5, mean of R, G, B, whole windows (Wang et al. 2004)",
    "ssim_uniform7": "7 x 7 flat window, unbiased variances: scikit-image's default, for papers that name no form",
    "psnr_db": "mean over frames of 10 log10(1 / mean square error over the region's pixels)",
    "sharpness": "mean gradient of the avatar's luma over the truth's",
    "akd": "mean distance of the landmarks tracked in both images, over the outer eye corners' distance",
    "aed": "mean absolute difference of the expression tracked in both, in standard deviations of the subject's",
    "apd_deg": "angle between the head poses tracked in both, degrees",
    "lid_correlation, lip_correlation": "of the opening of lids (lips) tracked in the avatar with that in the truth; "
    "null where the truth's deviates by less than 1 % of the eye distance",
    "lid_amplitude, lip_amplitude": "standard deviation of that opening over the truth's: 1 moves as much",
    "lid_closing": "share of the truth's closing that the lids reach, over frames whose true eyes are closed (opening "
    "below half of the usual, the 75th percentile)",
    "jitter": "mean second difference of tracked landmarks over the eye corners' distance; _truth: of the true ones",
    "effnet_distance": "mean squared distance of unit features at five levels of EfficientNet-Lite0 (not LPIPS)",
    "identity_similarity": "cosine of the face's features to those of the true face, by the network under `weights`: "
    "vggface2 (ResNet50) or dlib_face (ResNet-29); compare values of one network only; 1: equal",
    "mask_mae": "mean absolute difference of the avatar's alpha and the matte of the true frame, over the whole image",
    "mask_iou": "intersection over union of both, cut at one half",
    "mouth, eyes": "boxes around the landmarks of lips and lids; no FID there",
    "intervals": f"{100 * bootstrap.LEVEL:.0f} % percentile bootstrap of means over frames, {bootstrap.DRAWS} draws, "
    f"widened by Student's t for few blocks; a block is a second, or {bootstrap.CORRELATION_TIMES} correlation times "
    f"of the metric, as long as {bootstrap.LEAST_BLOCKS} blocks fill the frames",
}


def result_metrics(result: Results) -> dict[str, Any]:
    """Assemble the measured part of metrics.json: regions, steadiness, what was tracked again, baselines."""
    metrics = {name: region_metrics(sheet, result.network, name) for name, sheet in result.sheets.items()}
    tracked = None if result.retracking is None else result.retracking.summary()
    intervals = {name: result.intervals(name) for name in result.sheets}
    drawn = {"drawn": bootstrap.method(result.clips, result.block), "seed": bootstrap.SEED}
    own = result.avatar
    own_metrics, tracked_torso = metrics.pop(own), metrics.pop(TRACKED_TORSO, None)
    return own_metrics | {
        TRACKED_TORSO: tracked_torso and tracked_torso | {"intervals": intervals[TRACKED_TORSO]},
        "temporal": result.temporal.summary(),
        "tracked": tracked,
        "mask": result.mask.summary(),
        "intervals": intervals[own] | result.further_intervals() | drawn,
        "baselines": {name: regions | {"intervals": intervals[name]} for name, regions in metrics.items()},
        "definitions": DEFINITIONS,
    }


def frame_columns(result: Results) -> dict[str, Any]:
    """Assemble the columns of the manifest `self`: the avatar's metrics of each frame, NaN where unknown."""
    sheet = result.sheets[result.avatar]
    scores = {f"{name}_{region}": sheet.per_frame(region, name) for name in sheet.metrics for region in REGIONS}
    network = result.network
    scores |= {f"{n}_{r}": network.per_frame(result.avatar, r, n) for n in REGION_METRICS for r in REGIONS}
    scores["identity_similarity"] = network.per_frame(result.avatar, "face", "identity_similarity")
    scores |= dict.fromkeys((*retrack.METRICS, *retrack.OPENINGS), np.zeros(0))
    for metrics in result.further().values():
        scores |= metrics
    unknown = np.full(len(result.frames), np.nan)
    return {"clip": result.clips, "frame": result.frames} | {k: v if len(v) else unknown for k, v in scores.items()}


def region_metrics(sheet: ScoreSheet, network: NetworkScores, method: str) -> dict[str, dict[str, float | None]]:
    """Assemble {region: {frames, ssim, psnr_db, sharpness, lpips, fid, ...}} of a method; frames: how many have it."""
    mine, deep, frames = sheet.summary(), network.summary(method), sheet.frames()
    return {region: {"frames": frames[region]} | mine[region] | deep[region] for region in REGIONS}


def package_versions() -> dict[str, str]:
    """List the versions of Python and of the packages that the metrics depend on."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "opencv": cv2.__version__} | versions  # its wheel has several names


def as_json(value: Any) -> Any:
    """Convert to what JSON has: floats rounded to six digits, None for what is not finite, mappings by string."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
