"""Show how good an avatar is on one page, as a researcher would put it next to a paper: figures.html.

In: avatar.pt (the history of its training), metrics.json, self.parquet, the images self/ and the clips' folders. The
page holds all that it shows; only the video self.mp4 lies beside it. Needs no network to look at. Seconds, little
memory.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.evaluation.frames import seconds
from selfieavatar.io.avatar_file import read_avatar
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.files import atomic_file
from selfieavatar.io.images import encode_jpeg, image_name, read_image
from selfieavatar.io.manifest import Manifest, frame_rate, read_manifest
from selfieavatar.marking.facts import Origin
from selfieavatar.marking.marker import Marker
from selfieavatar.reporting.annotate import as_rgb8, error_map
from selfieavatar.reporting.avatar_page import avatar_page
from selfieavatar.reporting.avatar_scores import Scores, misfit, remarkable_frames
from selfieavatar.reporting.tiles import ERROR_FULL_SCALE
from selfieavatar.settings.cli import main, marking_arguments, marking_of, stage_parser
from selfieavatar.settings.clip_sheet import NAME

log = logging.getLogger(__name__)

IMAGES = 4  # of the worst, the typical and the best frames
TILE_PX = 256  # at most, of each of the three tiles


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "figures")
    parser.add_argument("--avatar", required=True, type=Path, help="avatar.pt")
    parser.add_argument("--metrics", required=True, type=Path, help="metrics.json")
    parser.add_argument("--frames-table", required=True, type=Path, help="self.parquet")
    parser.add_argument("--pictures", required=True, type=Path, help="folder self/ of the avatar's images")
    parser.add_argument("--video", required=True, type=Path, help="self.mp4, to link to")
    parser.add_argument("--clips-dir", required=True, type=Path, help="folder that holds the folders of the clips")
    parser.add_argument("--out", required=True, type=Path, help="figures.html to write")
    marking_arguments(parser)
    return parser


def read_metrics(path: Path) -> dict[str, Any]:
    """Read metrics.json.

    Raises:
        UserError: it is missing, damaged or of another version.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; measure the avatar first (snakemake {path})")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        problem = misfit(metrics)
    except (ValueError, RecursionError) as error:
        problem = f"it is not readable as JSON ({error})"
    if problem:
        raise UserError(f"{path}: {problem}; delete it and run the workflow again")
    return metrics


def read_history(content: Mapping[str, Any], path: Path) -> list[dict[str, float]]:
    """Return the history of the training that avatar.pt holds; empty where it holds none.

    Raises:
        UserError: it is no list of tables of numbers.
    """
    history = content.get("history", [])
    rows: list[Any] = history if isinstance(history, list) else [None]
    for row in rows:
        if not isinstance(row, dict) or "images" not in row or not all(type(v) in (int, float) for v in row.values()):
            raise UserError(f"the history in {path} is not that of a training; train the avatar again")
    return rows


def read_clips(path: Path, table: Manifest, clips_dir: Path) -> dict[str, Manifest]:
    """Read decode.parquet of each clip of self.parquet.

    Raises:
        UserError: one is missing or damaged, or has other frames.
    """
    found = {}
    for clip in dict.fromkeys(table["clip"].tolist()):
        if not NAME.fullmatch(clip):
            raise UserError(f"{path} names a clip {clip!r}, which is no name of a clip; run the workflow again")
        found[clip] = read_manifest(clips_dir / clip / "decode.parquet", "decode")
        frames = table["frame"][table["clip"] == clip]
        if frames[0] < 0 or frames[-1] >= len(found[clip]) or (np.diff(frames) <= 0).any():
            raise UserError(f"{path} does not fit the frames of clip '{clip}'; run the workflow again")
    return found


def read_scores(path: Path, table: Manifest, decoded: Mapping[str, Manifest]) -> Scores:
    """Read the scores of the frames, with what the clips' manifests say of them.

    Raises:
        UserError: a clip's labels are no table.
    """
    clips, frames, time_s = table["clip"], table["frame"], np.zeros(len(table))
    labels = {clip: decode.metadata.get("labels", {}) for clip, decode in decoded.items()}
    for clip, decode in decoded.items():
        mine = clips == clip
        time_s[mine] = decode["time_s"][frames[mine]]
        if not isinstance(labels[clip], dict):
            raise UserError(f"the labels of clip '{clip}' beside {path} are no table; run the workflow again")
    columns = {name: table[name] for name in table.table.column_names if name not in ("clip", "frame")}
    rates = {clip: frame_rate(decode) for clip, decode in decoded.items()}
    return Scores(columns, clips, frames, time_s, labels, block=seconds(rates))


def three_tiles(args: argparse.Namespace, marker: Marker, clip: str, frame: int) -> bytes:
    """Draw truth, avatar and error of a frame side by side, as JPEG; only then the avatar is marked.

    Raises:
        UserError: an image is missing or damaged, or the two differ in size.
    """
    paths = (ClipStore(args.clips_dir / clip).path("frames", frame), args.pictures / clip / image_name(frame))
    truth, own = (as_rgb8(read_image(path)) for path in paths)
    if truth.shape != own.shape:
        raise UserError(f"{paths[0]} and {paths[1]} differ in size; run the workflow again")
    tiles = [truth, own, error_map(truth, own, ERROR_FULL_SCALE)]
    side = min(TILE_PX, truth.shape[0])
    truth, own, error = (cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile in tiles)
    gap = np.full((side, max(2, side // 64), 3), 255, np.uint8)
    row = np.hstack([truth, gap, marker.paint(own), gap, error])
    painted = (side + gap.shape[1], 0, side, side)
    return marker.sealed(encode_jpeg(row, row.shape[1]), painted, title=f"{clip} {frame}")


def run(args: argparse.Namespace) -> None:
    """Write the page."""
    metrics, table = read_metrics(args.metrics), read_manifest(args.frames_table, "self")
    same = all(metrics[name] == table.metadata[name] for name in ("subject", "variant", "size_px"))
    if not same or not len(table) or metrics["frames"] != len(table):
        raise UserError(f"{args.frames_table} and {args.metrics} are of different runs; run the workflow again")
    content = read_avatar(args.avatar)
    versions = content.get("versions")
    marker = Marker(Origin.of_file(args.avatar, content), marking_of(args))
    decoded = read_clips(args.frames_table, table, args.clips_dir)
    scores = read_scores(args.frames_table, table, decoded)
    judged = scores.values[f"psnr_db_{scores.region}"]
    chosen = remarkable_frames(judged, scores.clips, scores.time_s, IMAGES)
    examples = {
        kind: {row: three_tiles(args, marker, str(scores.clips[row]), int(scores.frames[row])) for row in rows}
        for kind, rows in chosen.items()
    }
    text = avatar_page(
        metrics, scores, {clip: decode["time_s"] for clip, decode in decoded.items()}, examples,
        read_history(content, args.avatar), versions if isinstance(versions, dict) else {},
        (os.path.relpath(args.video, args.out.parent), args.video.name),
    )  # fmt: skip
    with atomic_file(args.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    log.info("%d frames shown in %s; clips: %d", len(table), args.out, len(decoded))


if __name__ == "__main__":
    main(build_parser(), run)
