"""The sections of figures.html, from scores to markup. Pages of this kind stand next to a paper: each plot says what it
shows, and what is missing says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.summary_text import worse_than
from selfieavatar.reporting import avatar_scores, charts, page
from selfieavatar.reporting.avatar_scores import FIGURES, Scores
from selfieavatar.reporting.curves import curves
from selfieavatar.reporting.tiles import ERROR_FULL_SCALE

COLOURS = dict(zip(REGIONS, ("#7a7a7a", "#2a9d6f", "#1f5fa8", "#c8553d", "#8e5ea2"), strict=True))
DIGITS = {"psnr_db": 2, "ssim": 3, "sharpness": 2, "lpips": 3, "fid": 1, "identity_similarity": 3}
STYLE = "td { white-space: normal } td small { white-space: nowrap }"
SPREAD = ("psnr_db", "ssim")  # whose spread and course are shown
MOST_CLIPS = 12  # whose course over time is shown
BOXES = "Box: median and quartiles over the frames; whiskers: 5th to 95th percentile; dot: mean."
MEANING = {
    "pairs": "of neighbouring frames",
    "found": "frames in which both faces were tracked again",
    "difference_error": "mean error of the change from frame to frame, share of the full range",
    "difference_error_face": "the same over the face",
    "flicker_static": "mean change of the avatar where the truth stands still",
    "flicker_static_truth": "the truth's own change there: the camera's noise",
}


def _number(value: float | None, digits: int) -> str:
    """With its digits; "null" where it is not known, as in metrics.json."""
    return "null" if value is None else f"{value:.{digits}f}"


def _estimate(found: charts.Estimate, figure: str) -> str:
    """A figure and its interval, which goes below it where the table would be too wide."""
    value = _number(found.value, DIGITS[figure])
    if found.interval is None:
        return value
    low, high = (_number(end, DIGITS[figure]) for end in found.interval)
    return page.fill("$value <small>[$low, $high]</small>", value=value, low=low, high=high)


def headline(metrics: Mapping[str, Any]) -> Iterator[page.Html]:
    """The figures by region and method, as table and as chart, and why others are missing."""
    found = {figure: avatar_scores.estimates(metrics, figure) for figure in FIGURES}
    missing = avatar_scores.missing(metrics)
    shown = [figure for figure in FIGURES if figure not in missing]
    rows = []
    for region in REGIONS:
        for method in found["psnr_db"][region]:
            own = method == avatar_scores.AVATAR
            name = page.fill("<b>$region: $method</b>" if own else "$region: $method", region=region, method=method)
            frames = metrics[region].get("frames", "") if own else ""
            rows.append([name, frames, *(_estimate(found[figure][region][method], figure) for figure in shown)])
    yield page.table(["region: method", "frames", *(FIGURES[figure] for figure in shown)], rows)
    drawn = str(metrics["intervals"].get("drawn", "frames"))
    words = (
        "95&nbsp;% intervals of the means: $drawn."
        if drawn.startswith("none")
        else "In brackets: 95&nbsp;% intervals of the avatar's means, by bootstrap over $drawn, or longer "
        "ones for slow figures. They say how much a mean would vary over other frames of the same kind, not over other "
        "trainings."
    )
    yield page.fill(f"<p><small>{words}</small></p>", drawn=drawn)
    short = worse_than(metrics)
    if short:
        yield page.fill('<p class="advice">The face is worse than a plain copy ($short).</p>', short=short)
    yield page.items(f"{FIGURES[figure]} is null: {why}" for figure, why in missing.items())
    chart = charts.estimate_chart({FIGURES[figure]: found[figure] for figure in SPREAD})
    known = any(found[figure][region][avatar_scores.AVATAR].interval for figure in SPREAD for region in REGIONS)
    caption = "Means over the frames" + ("; the bar is the 95 % interval of the avatar's mean." if known else ".")
    yield page.figure(page.image(chart, "means by region and method"), caption)


def further(metrics: Mapping[str, Any]) -> Iterator[page.Html]:
    """Steadiness, what was tracked again, and speed, each with its meaning."""
    told = metrics["definitions"] | MEANING
    found = metrics["temporal"] | (metrics["tracked"] or {})
    line = "<b>$name</b> $value <small>$told</small>"
    shown = {name: "null" if value is None else f"{value:.4g}" for name, value in found.items()}
    lines = [page.fill(line, name=name, value=value, told=told.get(name, "")) for name, value in shown.items()]
    fps = metrics["speed"].get("fps")
    device = metrics["speed"].get("device", "an unknown device")
    yield page.fill("<h2>Steadiness, expression and speed</h2>")
    yield page.items([*lines, f"{fps:.1f} frames/s, one by one, on {device}" if fps else "speed: null"])


def spread(scores: Scores) -> Iterator[page.Html]:
    """How the scores of single frames spread: by region, and by what the clips show."""
    panels = {FIGURES[f]: {r: scores.values[f"{f}_{r}"] for r in REGIONS} for f in SPREAD}
    yield page.fill("<h2>Spread over the frames</h2>")
    yield page.figure(page.image(charts.box_chart(panels, COLOURS), "spread of the scores by region"), BOXES)
    region = scores.region
    columns = {FIGURES[f]: scores.values[f"{f}_{region}"] for f in SPREAD}
    for label, rows in avatar_scores.groups_of(scores).items():
        yield page.fill("<h3>By $label, over the region: $region</h3>", label=label, region=region)
        lines = [
            [name, int(mine.sum()), *(_estimate(scores.mean(f"{f}_{region}", mine), f) for f in SPREAD)]
            for name, mine in rows.items()
        ]
        yield page.table([label, "frames", *(FIGURES[figure] for figure in SPREAD)], lines)
        if label != "clip":
            boxes = {axis: {name: v[mine] for name, mine in rows.items()} for axis, v in columns.items()}
            yield page.figure(page.image(charts.box_chart(boxes), f"spread of the scores by {label}"), BOXES)


def over_time(scores: Scores, times: Mapping[str, np.ndarray]) -> Iterator[page.Html]:
    """The scores of each clip over time, the weakest first where there are too many.

    times: seconds of all frames of each clip.
    """
    clips = {clip: mine for clip, mine in scores.by_clip.items() if mine.sum() > 1}  # one frame has no course
    if not clips:
        return
    yield page.fill("<h2>Over time</h2>")
    if len(clips) > MOST_CLIPS:
        means = {clip: scores.mean(f"psnr_db_{scores.region}", mine).value for clip, mine in clips.items()}
        weak = sorted((clip for clip in clips if means[clip] is not None), key=means.get)[:MOST_CLIPS]
        yield page.fill("<p>The $count clips with the lowest PSNR of $all; the others are in self.parquet.</p>",
                        count=len(weak), all=len(clips))  # fmt: skip
        clips = {clip: clips[clip] for clip in weak}
    for clip, mine in clips.items():
        frames = scores.frames[mine]
        groups = {
            FIGURES[f]: {r: avatar_scores.unbroken(frames, scores.values[f"{f}_{r}"][mine]) for r in REGIONS}
            for f in SPREAD
        }
        drawn = curves(times[clip][frames[0] : frames[-1] + 1], None, groups, colours=COLOURS)
        caption = f"{clip}: score of each frame, by region."
        yield page.figure(page.image(drawn, f"scores of {clip} over time"), caption)


def frames_to_see(
    scores: Scores, chosen: Mapping[str, Sequence[int]], images: Mapping[int, bytes]
) -> Iterator[page.Html]:
    """Truth, avatar and error of frames. chosen: kind -> rows of the scores; images: row -> JPEG."""
    region = scores.region
    yield page.fill("<h2>Frames to look at</h2><p>Truth, avatar, error (white: $scale of the full range), by PSNR over "
                    "the region: $region; frames of a clip at least a second apart.</p>",
                    scale=f"{ERROR_FULL_SCALE:g}", region=region)  # fmt: skip
    several = np.isfinite(scores.values[f"psnr_db_{region}"]).sum() > 1
    for kind in ("worst", "typical", "best"):
        if not chosen[kind]:
            continue
        shown = []
        for row in chosen[kind]:
            where = f"{scores.clips[row]}, frame {scores.frames[row]}, {scores.time_s[row]:.2f} s"
            value = " / ".join(f"{scores.values[f'{f}_{region}'][row]:.{DIGITS[f]}f}" for f in SPREAD)
            image = page.image(images[row], f"truth, avatar and error of {where}", "jpeg")
            shown.append(page.figure(image, f"{where}: {value}"))
        title = kind.capitalize() if several else "The only one"
        yield page.fill('<h3>$title</h3><div class="row">$shown</div>', title=title, shown=page.joined(shown))


def training(history: Sequence[Mapping[str, float]]) -> Iterator[page.Html]:
    """Curves of the training."""
    images, panels = avatar_scores.training_curves(history)
    yield page.fill("<h2>Training</h2>")
    if not panels:
        yield page.fill("<p>The avatar holds no history of its training.</p>")
        return
    positive = [
        t for t in avatar_scores.LOGARITHMIC if t in panels and all(np.nanmin(v) > 0 for v in panels[t].values())
    ]
    taken = history[-1].get("taken_images")
    marked = {} if taken is None else {"taken": taken}
    drawn = curves(images, None, panels, x_label="images", joined=True, logarithmic=positive, marked=marked)
    caption = (
        "Means since the report before. Losses without their weights, but for the total. d_real and d_fake: the "
        "discriminator's answers. Validation frames lie between the training frames, and so flatter; the dotted line "
        "is where the networks of the avatar were taken."
    )
    yield page.figure(page.image(drawn, "curves of the training"), caption)


def made_with(metrics: Mapping[str, Any], versions: Mapping[str, Any]) -> Iterator[page.Html]:
    """What the avatar was trained and measured with, and what to bear in mind. versions: those of the training."""
    took = metrics["training"]
    facts = [f"{took.get('images')} images in {_number(took.get('minutes'), 1)} minutes of training"]
    facts.append("trained with " + _listed(versions) if versions else "the versions of the training are not known")
    facts += [f"weights of {name}: {'null' if label is None else label}" for name, label in metrics["weights"].items()]
    yield page.items(facts)
    yield page.fill("<h2>Measured</h2>")
    said = avatar_scores.missing(metrics)  # above the table already
    notes = [note for note in metrics["notes"] if str(note).partition(": ")[0] not in said]
    yield page.items(["with " + _listed(metrics["versions"]), *notes])
    yield page.fill("<h2>Definitions</h2>")
    told = metrics["definitions"].items()
    yield page.items(page.fill("<b>$name</b>: $what", name=name, what=what) for name, what in told)


def _listed(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
