"""Show how well the face was tracked in all clips of a subject, on one page: tracking.html.

Reads the manifests of each clip; the page holds measures, advice, curves of the coefficients and each clip's contact
sheet made smaller, and links to contact.png and overlay.mp4 beside it. Needs no network to look at. Seconds, little
memory.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.fitting.landmark_measures import openings
from selfieavatar.footage.tracking_quality import advice, head_angles, summary
from selfieavatar.identity import Identity
from selfieavatar.io.files import atomic_file
from selfieavatar.io.images import encode_jpeg, read_image
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.reporting.page_templates import Image, render
from selfieavatar.reporting.plots import curves
from selfieavatar.settings.cli import main, stage_parser

SHEET_PX = 1024  # width of the contact sheets that the page holds


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage; the lists are in the order of --clips."""
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
    """Read the three manifests of each clip.

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


def clip_curves(clip: dict[str, Manifest], scale: np.ndarray, open_shares: np.ndarray | None) -> bytes:
    """Plot the clip's coefficients over time, as PNG."""
    fit = clip["fit"]
    angles, gaze = head_angles(fit["rotation"]), np.degrees(fit["gaze"])
    position = fit["translation"] - np.nanmedian(fit["translation"], axis=0)
    groups = {
        "head, degrees": dict(zip(("yaw", "pitch", "roll"), angles.T, strict=True)),
        "position, cm": dict(zip(("x", "y", "z"), position.T, strict=True)),
        "gaze, degrees": {"yaw": gaze[:, [0, 2]].mean(1), "pitch": gaze[:, [1, 3]].mean(1)},
    }
    if open_shares is not None:
        groups["opening"] = dict(zip(("left lids", "right lids", "lips"), open_shares.T, strict=True))
    groups["error, %"] = {"error": 100 * fit["landmark_error"]}
    return curves(clip["decode"]["time_s"], fit["quality"], groups, fit["expression"] / scale)


def run(args: argparse.Namespace) -> None:
    """Write the page."""
    scale = np.maximum(Identity.load(args.identity).model.expression_scale, 1e-6)
    shown = []
    for name, path, sheet, clip in zip(args.clips, args.decode, args.sheet, read_clips(args), strict=True):
        landmarks = clip["landmarks"]
        points = landmarks["points_px"].reshape(len(landmarks), -1, 2)
        shares = openings(points, landmarks.metadata["landmark_set"])
        lids = None if shares is None else shares[:, :2].mean(1)
        found = summary(clip["decode"], clip["decode"].metadata, clip["fit"], lids)
        shown.append(found | {
            "name": name, "folder": os.path.relpath(path.parent, args.out.parent), "advice": advice(found),
            "sheet": Image(f"contact sheet of {name}", encode_jpeg(read_image(sheet), SHEET_PX, quality=85), "jpeg"),
            "curves": Image(f"curves of {name}", clip_curves(clip, scale, shares)),
        })  # fmt: skip
    with atomic_file(args.out) as temporary:
        text = render("tracking.html.j2", title=f"Tracking of {args.subject}", clips=shown)
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(build_parser(), run)
