"""One page about how well the face was tracked: tracking.html, for all clips of a subject.

Reads the manifests of each clip; the page holds figures, advice, curves of the coefficients and each clip's contact
sheet made smaller, and links to contact.png and overlay.mp4 beside it. Needs no network to look at. Seconds, little
memory.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.footage.tracking import advice, head_angles, openings, summary
from selfieavatar.io.arrays import read_identity
from selfieavatar.io.files import atomic_file, read_image
from selfieavatar.io.jpeg import encode_jpeg
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.reporting import page
from selfieavatar.reporting.curves import curves
from selfieavatar.settings.cli import main, stage_parser

INTRO = """<p>Error is the median distance between the projected model and the landmarks, as a share of the distance of
the outer eye corners; below 1.5&nbsp;% the mesh follows the face. Bridged frames (yellow in the curves) were
interpolated over a short gap, lost ones (red) are left out. Angles are the range of nine frames in ten; yaw counts to
the right in the image, pitch down.</p>"""
COLUMNS = ("clip", "frames", "s", "no face", "bridged", "lost", "error, %", "95\u00a0%, %", "yaw, degrees",
           "pitch, degrees", "blinks")  # fmt: skip
END = """<p>Whether the footage suffices, and what to record again, says $capture of a subject that is trained: look
there first.</p>"""
CLIP = """<h2 id="$name">$name</h2>
$advice<p>$links</p>
$sheet
$curves"""
SHEET_PX = 1024  # width of the contact sheets that the page holds


def build_parser() -> argparse.ArgumentParser:
    """Command line of the stage; the lists are in the order of --clips."""
    parser = stage_parser(__doc__, "tracking")
    parser.add_argument("--subject", required=True, help="name of the subject")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz of the subject")
    parser.add_argument("--clips", required=True, nargs="+", help="names of the clips")
    for kind in ("decode", "landmarks", "fit"):
        parser.add_argument(f"--{kind}", required=True, nargs="+", type=Path, help=f"{kind}.parquet of each clip")
    parser.add_argument("--sheet", required=True, nargs="+", type=Path, help="contact.png of each clip")
    parser.add_argument("--out", required=True, type=Path, help="tracking.html to write")
    return parser


def read_clips(args: argparse.Namespace) -> list[dict[str, Manifest]]:
    """The three manifests of each clip.

    Raises:
        UserError: lists of different lengths, or manifests of different frames.
    """
    kinds = ("decode", "landmarks", "fit")
    if {len(getattr(args, kind)) for kind in (*kinds, "sheet")} != {len(args.clips)}:
        raise UserError(f"--decode, --landmarks, --fit, --sheet must name {len(args.clips)} files, one for each clip")
    clips = [{kind: read_manifest(getattr(args, kind)[k], kind) for kind in kinds} for k in range(len(args.clips))]
    for k, clip in enumerate(clips):
        if any(not np.array_equal(clip[kind]["frame"], clip["decode"]["frame"]) for kind in kinds):
            raise UserError(f"the manifests beside {args.decode[k]} list different frames; run the workflow again")
    return clips


def row(name: str, figures: dict[str, Any]) -> list[Any]:
    """One row of the table."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    return [
        page.fill('<a href="#$name">$name</a>', name=name), figures["frames"], f"{figures['seconds']:.1f}",
        figures["without_face"], figures["bridged"], figures["lost"], percent(figures["error_median"]),
        percent(figures["error_95"]), *("{} to {}".format(*map(round, figures[angle])) for angle in ("yaw", "pitch")),
        "" if figures["blinks"] is None else figures["blinks"],
    ]  # fmt: skip


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


def section(name: str, folder: str, said: list[str], sheet: bytes, drawn: bytes) -> page.Html:
    """What the page shows of one clip below the table; folder: the clip's, as seen from the page."""
    links = [page.link(f"{folder}/{file}", file) for file in ("overlay.mp4", "contact.png")]
    return page.fill(
        CLIP, name=name, links=page.joined(links, " "),
        advice=page.joined(page.fill('<p class="advice">$sentence</p>\n', sentence=sentence) for sentence in said),
        sheet=page.image(sheet, f"contact sheet of {name}", "jpeg"), curves=page.image(drawn, f"curves of {name}"),
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Writes the page."""
    scale = np.maximum(read_identity(args.identity)["expression_scale"], 1e-6)
    rows, parts = [], []
    for name, path, sheet, clip in zip(args.clips, args.decode, args.sheet, read_clips(args), strict=True):
        landmarks = clip["landmarks"]
        points = landmarks["points_px"].reshape(len(landmarks), -1, 2)
        shares = openings(points, landmarks.metadata["landmark_set"])
        lids = None if shares is None else shares[:, :2].mean(1)
        figures = summary(clip["decode"], clip["decode"].metadata, clip["fit"], lids)
        rows.append(row(name, figures))
        folder = os.path.relpath(path.parent, args.out.parent)
        shown, drawn = encode_jpeg(read_image(sheet), SHEET_PX, quality=85), clip_curves(clip, scale, shares)
        parts.append(section(name, folder, advice(figures), shown, drawn))
    with atomic_file(args.out) as temporary:
        end = page.fill(END, capture=page.link("capture.html", "capture.html"))
        body = (page.Html(INTRO), page.table(COLUMNS, rows), *parts, end)
        temporary.write_text(page.page(f"Tracking of {args.subject}", *body), encoding="utf-8")


if __name__ == "__main__":
    main(build_parser(), run)
