"""One page about how well the face was tracked: tracking.html, for all clips of a subject.

Reads the manifests of each clip; the page holds figures, advice and curves of the coefficients, and links to each
clip's contact.png and overlay.mp4 beside it. Needs no network to look at. Seconds, little memory.
"""

from __future__ import annotations

import argparse
import base64
import html
import os
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from stages.core.arrays import read_identity
from stages.core.cli import main, stage_parser
from stages.core.errors import UserError
from stages.core.files import atomic_file
from stages.core.manifest import Manifest, read_manifest
from stages.graphics.curves import curves
from stages.metrics.tracking import advice, head_angles, openings, summary

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tracking of $subject</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } img { max-width: 100% } .advice { color: #a23 }
</style></head><body>
<h1>Tracking of $subject</h1>
<p>Error is the median distance between the projected model and the landmarks, as a share of the distance of the outer
eye corners; below 1.5&nbsp;% the mesh follows the face. Bridged frames (yellow in the curves) were interpolated over a
short gap, lost ones (red) are left out. Angles are the range of nine frames in ten; yaw counts to the right in the
picture, pitch down.</p>
<table><tr><th>clip</th><th>frames</th><th>s</th><th>no face</th><th>bridged</th><th>lost</th><th>error, %</th>
<th>95 %, %</th><th>yaw, degrees</th><th>pitch, degrees</th><th>blinks</th></tr>
$rows</table>
$clips<p>Whether the footage suffices, and what to record again, says <a href="capture.html">capture.html</a> of a
subject that is trained: look there first.</p>
</body></html>
""")
CLIP = Template("""<h2 id="$name">$name</h2>
$advice<p><a href="$folder/overlay.mp4">overlay.mp4</a> &middot; <a href="$folder/contact.png">contact.png</a></p>
<p><a href="$folder/contact.png"><img loading="lazy" src="$folder/contact.png" alt="contact sheet of $name"></a></p>
<p><img alt="curves of $name" src="data:image/png;base64,$curves"></p>
""")


def build_parser() -> argparse.ArgumentParser:
    """Command line of the stage; the lists are in the order of --clips."""
    parser = stage_parser(__doc__, "tracking")
    parser.add_argument("--subject", required=True, help="name of the subject")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz of the subject")
    parser.add_argument("--clips", required=True, nargs="+", help="names of the clips")
    for kind in ("decode", "landmarks", "fit"):
        parser.add_argument(f"--{kind}", required=True, nargs="+", type=Path, help=f"{kind}.parquet of each clip")
    parser.add_argument("--out", required=True, type=Path, help="tracking.html to write")
    return parser


def read_clips(args: argparse.Namespace) -> list[dict[str, Manifest]]:
    """The three manifests of each clip.

    Raises:
        UserError: lists of different lengths, or manifests of different frames.
    """
    kinds = ("decode", "landmarks", "fit")
    if {len(getattr(args, kind)) for kind in kinds} != {len(args.clips)}:
        raise UserError(f"--decode, --landmarks and --fit must name {len(args.clips)} files, one for each clip")
    clips = [{kind: read_manifest(getattr(args, kind)[k], kind) for kind in kinds} for k in range(len(args.clips))]
    for k, clip in enumerate(clips):
        if any(not np.array_equal(clip[kind]["frame"], clip["decode"]["frame"]) for kind in kinds):
            raise UserError(f"the manifests beside {args.decode[k]} list different frames; run the workflow again")
    return clips


def row(name: str, figures: dict[str, Any]) -> str:
    """One row of the table."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    cells = [
        f'<a href="#{name}">{name}</a>', figures["frames"], f"{figures['seconds']:.1f}", figures["without_face"],
        figures["bridged"], figures["lost"], percent(figures["error_median"]), percent(figures["error_95"]),
        *("{:.0f} to {:.0f}".format(*figures[angle]) for angle in ("yaw", "pitch")),
        "" if figures["blinks"] is None else figures["blinks"],
    ]  # fmt: skip
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def clip_curves(clip: dict[str, Manifest], scale: np.ndarray, open_shares: np.ndarray | None) -> bytes:
    """PNG of the clip's coefficients over time."""
    fit = clip["fit"]
    angles, gaze = head_angles(fit["rotation"]), np.degrees(fit["gaze"])
    place = fit["translation"] - np.nanmedian(fit["translation"], axis=0)
    groups = {
        "head, degrees": dict(zip(("yaw", "pitch", "roll"), angles.T, strict=True)),
        "place, cm": dict(zip(("x", "y", "z"), place.T, strict=True)),
        "gaze, degrees": {"yaw": gaze[:, [0, 2]].mean(1), "pitch": gaze[:, [1, 3]].mean(1)},
    }
    if open_shares is not None:
        groups["opening"] = dict(zip(("left lids", "right lids", "lips"), open_shares.T, strict=True))
    groups["error, %"] = {"error": 100 * fit["landmark_error"]}
    return curves(clip["decode"]["time_s"], fit["quality"], groups, fit["expression"] / scale)


def run(args: argparse.Namespace) -> None:
    """Writes the page."""
    scale = np.maximum(read_identity(args.identity)["expression_scale"], 1e-6)
    rows, parts = [], []
    for name, path, clip in zip(args.clips, args.decode, read_clips(args), strict=True):
        landmarks = clip["landmarks"]
        points = landmarks["points_px"].reshape(len(landmarks), -1, 2)
        shares = openings(points, landmarks.metadata["landmark_set"])
        lids = None if shares is None else shares[:, :2].mean(1)
        figures = summary(clip["decode"], clip["decode"].metadata, clip["fit"], lids)
        rows.append(row(html.escape(name), figures))
        said = "".join(f'<p class="advice">{html.escape(sentence)}</p>\n' for sentence in advice(figures))
        folder = os.path.relpath(path.parent, args.out.parent)
        picture = base64.b64encode(clip_curves(clip, scale, shares)).decode()
        parts.append(
            CLIP.substitute(name=html.escape(name), folder=html.escape(folder), advice=said, curves=picture)
        )
    with atomic_file(args.out) as temporary:
        page = PAGE.substitute(subject=html.escape(args.subject), rows="".join(rows), clips="".join(parts))
        temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(build_parser(), run)
