"""Render figures.html, the page about an avatar, from its scores.

Pages of this kind stand next to a paper: each plot says what it shows, and what is missing says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.summary_text import worse_than
from selfieavatar.reporting import avatar_scores, plots
from selfieavatar.reporting.avatar_scores import METRICS, Scores
from selfieavatar.reporting.page_templates import Image, render
from selfieavatar.reporting.tiles import ERROR_FULL_SCALE

COLOURS = dict(zip(REGIONS, ("#7a7a7a", "#2a9d6f", "#1f5fa8", "#c8553d", "#8e5ea2"), strict=True))
DIGITS = {
    "psnr_db": 2, "ssim": 3, "sharpness": 2, "lpips": 3, "effnet_distance": 3, "fid": 1, "identity_similarity": 3,
}  # fmt: skip
SPREAD = ("psnr_db", "ssim")  # metrics whose spread and course are shown
MOST_CLIPS = 12  # whose course over time is shown
BOXES = "Box: median and quartiles over the frames; whiskers: 5th to 95th percentile; dot: mean."
CURVES = (
    "Means since the report before. Losses without their weights, but for the total. d_real and d_fake: the "
    "discriminator's answers. Validation frames lie between the training frames, and so flatter; the dotted line is "
    "where the networks of the avatar were taken."
)
MEANING = {
    "pairs": "of neighbouring frames",
    "found": "frames in which both faces were tracked again",
    "difference_error": "mean error of the change from frame to frame, share of the full range",
    "difference_error_face": "the same over the face",
    "flicker_static": "mean change of the avatar where the truth stands still",
    "flicker_static_truth": "the truth's own change there: the camera's noise",
}


def avatar_page(
    metrics: Mapping[str, Any], scores: Scores, times: Mapping[str, np.ndarray],
    examples: Mapping[str, Mapping[int, bytes]], history: Sequence[Mapping[str, float]], versions: Mapping[str, Any],
    video: tuple[str, str],
) -> str:  # fmt: skip
    """Render the page.

    Args:
        metrics: content of a metrics.json that `misfit` accepts.
        scores: of the frames.
        times: seconds of all frames of each clip.
        examples: "worst", "typical", "best" -> row of the scores -> JPEG of truth, avatar and error.
        history: of the training.
        versions: of the training.
        video: path as seen from the page, and name.
    """
    found = {metric: avatar_scores.estimates(metrics, metric) for metric in METRICS}
    missing = avatar_scores.missing(metrics)
    clips = {clip: mine for clip, mine in scores.by_clip.items() if mine.sum() > 1}  # one frame has no course
    several = np.isfinite(scores.values[f"psnr_db_{scores.region}"]).sum() > 1
    spread = {METRICS[m]: {r: scores.values[f"{m}_{r}"] for r in REGIONS} for m in SPREAD}
    variant = "" if metrics["variant"] == "default" else f", variant {metrics['variant']}"
    return render(
        "figures.html.j2", title=f"Avatar of {metrics['subject']}{variant}", metrics=metrics, titles=METRICS,
        digits=DIGITS, video=video[0], video_name=video[1], clip_count=len(scores.by_clip), region=scores.region,
        shown=[metric for metric in METRICS if metric not in missing], missing=missing, worse=worse_than(metrics),
        estimates={r: {method: {m: found[m][r][method] for m in METRICS} for method in found["ssim"][r]}
                   for r in REGIONS},
        means_plot=_means_plot(found), error_scale=f"{ERROR_FULL_SCALE:g}",
        examples={
            kind.capitalize() if several else "The only one":
                [_example(scores, row, data) for row, data in examples[kind].items()]
            for kind in ("worst", "typical", "best") if examples[kind]},
        spread=SPREAD, groups=_groups(scores),
        spread_plot=Image(BOXES, plots.box_plot(spread, COLOURS), alt="spread of the scores by region"),
        drawable=len(clips),
        over_time=[_over_time(scores, clip, clips[clip], times[clip]) for clip in _weakest(scores, clips)],
        further=metrics["temporal"] | (metrics["tracked"] or {}) | _mask_error(metrics),
        meaning=metrics["definitions"] | MEANING,
        training_plot=_training_plot(history), versions=versions,
        # What is missing is said above the table already.
        notes=[note for note in metrics["notes"] if str(note).partition(": ")[0] not in missing],
    )  # fmt: skip


def _mask_error(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in (metrics["mask"] or {}).items() if name != "frames"}


def _means_plot(found: Mapping[str, Mapping[str, Mapping[str, plots.Estimate]]]) -> Image:
    known = any(found[metric][region][avatar_scores.AVATAR].interval for metric in SPREAD for region in REGIONS)
    caption = "Means over the frames" + ("; the bar is the 95 % interval of the avatar's mean." if known else ".")
    drawn = plots.interval_plot({METRICS[metric]: found[metric] for metric in SPREAD})
    return Image(caption, drawn, alt="means by region and method")


def _example(scores: Scores, row: int, data: bytes) -> Image:
    where = f"{scores.clips[row]}, frame {scores.frames[row]}, {scores.time_s[row]:.2f} s"
    value = " / ".join(f"{scores.values[f'{m}_{scores.region}'][row]:.{DIGITS[m]}f}" for m in SPREAD)
    return Image(f"{where}: {value}", data, "jpeg", f"truth, avatar and error of {where}")


def _groups(scores: Scores) -> list[tuple[str, list[tuple], Image | None]]:
    """Score clips by what they show, such as emotions: label, rows (value, frames, estimates of SPREAD), plot."""
    columns = {metric: scores.values[f"{metric}_{scores.region}"] for metric in SPREAD}
    found = []
    for label, rows in avatar_scores.groups_of(scores).items():
        lines = [
            (name, int(mine.sum()), {metric: scores.mean(f"{metric}_{scores.region}", mine) for metric in SPREAD})
            for name, mine in rows.items()
        ]
        plot = None
        if label != "clip":
            boxes = {METRICS[metric]: {name: v[mine] for name, mine in rows.items()} for metric, v in columns.items()}
            plot = Image(BOXES, plots.box_plot(boxes), alt=f"spread of the scores by {label}")
        found.append((label, lines, plot))
    return found


def _weakest(scores: Scores, clips: Mapping[str, np.ndarray]) -> list[str]:
    """Choose all clips, or the MOST_CLIPS with the lowest PSNR, lowest first."""
    if len(clips) <= MOST_CLIPS:
        return list(clips)
    means = ((scores.mean(f"psnr_db_{scores.region}", mine).value, clip) for clip, mine in clips.items())
    return [clip for _, clip in sorted((value, clip) for value, clip in means if value is not None)[:MOST_CLIPS]]


def _over_time(scores: Scores, clip: str, mine: np.ndarray, time_s: np.ndarray) -> Image:
    frames = scores.frames[mine]
    groups = {
        METRICS[m]: {r: avatar_scores.unbroken(frames, scores.values[f"{m}_{r}"][mine]) for r in REGIONS}
        for m in SPREAD
    }
    drawn = plots.curves(time_s[frames[0] : frames[-1] + 1], None, groups, colours=COLOURS)
    return Image(f"{clip}: score of each frame, by region.", drawn, alt=f"scores of {clip} over time")


def _training_plot(history: Sequence[Mapping[str, float]]) -> Image | None:
    images, groups = avatar_scores.training_curves(history)
    if not groups:
        return None
    positive = [
        t for t in avatar_scores.LOGARITHMIC if t in groups and all(np.nanmin(v) > 0 for v in groups[t].values())
    ]
    taken = history[-1].get("taken_images")
    marked = {} if taken is None else {"taken": taken}
    drawn = plots.curves(images, None, groups, x_label="images", joined=True, logarithmic=positive, marked=marked)
    return Image(CURVES, drawn, alt="curves of the training")
