"""Say whether the footage suffices, and what to record again, before a training: capture.html and capture.json.

Reads the manifests, frames and mattes of a subject's clips. What the clips to train on show is judged, without the
frames at their end that are held out to measure on; clips to test on are listed apart. Needs no network to look at.
About 10 ms a frame, little memory.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.fitting.landmark_measures import openings
from selfieavatar.footage.checks import judge, overall, record_again
from selfieavatar.footage.face_image import FaceImage, face_image
from selfieavatar.footage.holdout import kept_frames
from selfieavatar.footage.left_out import counts_of, reasons_of
from selfieavatar.footage.measures import CELL_S, COLUMNS, Footage, clip_measures, measure, poses
from selfieavatar.footage.signals import cut_by_border, examples, face_shape, frame_seconds
from selfieavatar.footage.tracking_quality import head_angles
from selfieavatar.identity import Identity
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.files import atomic_file, write_json
from selfieavatar.io.images import encode_jpeg
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.morphable.landmark_sets import landmark_set
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.reporting.capture_page import capture_page
from selfieavatar.reporting.page_templates import Image
from selfieavatar.reporting.plots import coverage_map, curves, histogram
from selfieavatar.settings.capture_section import Capture
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.video.prefetch import in_order
from selfieavatar.video.stillness import COMPARE_PX, background_shift
from selfieavatar.video.window import cut_window

log = logging.getLogger(__name__)

KINDS = ("decode", "landmarks", "matting", "fit")
STILL_COUNT = 24  # images of a clip in which the background is compared
AWAY = 0.025  # of the image's side: so far from the person's matte it is background
THUMBNAIL_PX = 160
FAR = 16  # sides of the image: no detector sees a face so far outside

Table = dict[str, np.ndarray]


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage; the lists are in the order of --clips."""
    parser = stage_parser(__doc__, "capture")
    parser.add_argument("--subject", required=True, help="name of the subject")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz of the subject")
    parser.add_argument("--clips", required=True, nargs="+", help="names of the clips")
    parser.add_argument("--roles", required=True, nargs="+", choices=["train", "test"], help="role of each clip")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", required=True, nargs="+", type=Path, help=f"{kind}.parquet of each clip")
    for folder in ("frames", "alpha"):
        parser.add_argument(f"--{folder}", required=True, nargs="+", type=Path, help=f"folder {folder}/ of each clip")
    parser.add_argument("--out", required=True, type=Path, help="capture.html to write")
    parser.add_argument("--out-json", required=True, type=Path, help="capture.json to write")
    return parser


@dataclass(frozen=True)
class Clip:
    """Manifests and folders of one clip."""

    name: str
    role: str
    decode: Manifest
    landmarks: Manifest
    matting: Manifest
    fit: Manifest
    store: ClipStore

    @property
    def size_px(self) -> int:
        """Side of the frames, px."""
        return int(self.decode.metadata["size_px"])

    @property
    def points(self) -> np.ndarray:
        """Look up the landmarks (N, L, 2) in px of the frame."""
        return self.landmarks["points_px"].reshape(len(self.landmarks), -1, 2)

    def image(self, kind: str, row: int) -> np.ndarray:
        """Read a frame or matte of a row; kind: frames or alpha."""
        return self.store.image(kind, self.decode["frame"][row])


def read_clips(args: argparse.Namespace) -> list[Clip]:
    """Read the manifests of all clips.

    Raises:
        UserError: lists of different lengths, no clip to train on, or manifests of different frames or sizes.
    """
    lists = ("roles", *KINDS, "frames", "alpha")
    wrong = [name for name in lists if len(getattr(args, name)) != len(args.clips)]
    if wrong or "train" not in args.roles:
        said = f"--{wrong[0]} must name {len(args.clips)}, one for each clip" if wrong else "--roles must name a train"
        raise UserError(f"{said}; see --help")
    clips = []
    for k, name in enumerate(args.clips):
        found = {kind: read_manifest(getattr(args, kind)[k], kind) for kind in KINDS}
        if any(not np.array_equal(one["frame"], found["decode"]["frame"]) for one in found.values()):
            raise UserError(f"the manifests beside {args.decode[k]} list different frames; run the workflow again")
        store = ClipStore(args.frames[k].parent, frames=args.frames[k], alpha=args.alpha[k])
        clips.append(Clip(name, args.roles[k], **found, store=store))
        if (np.abs(clips[k].points) > FAR * clips[k].size_px).any():
            raise UserError(f"{args.landmarks[k]} has landmarks far outside of the frames; run the workflow again")
    if len({clip.size_px for clip in clips}) > 1:
        raise UserError(f"the clips of '{args.subject}' differ in size; give them the same preset")
    return clips


def read_model(path: Path, clips: list[Clip]) -> MorphableModel:
    """Read the subject's model; UserError if the file is missing, damaged, or not of the clips."""
    model = Identity.load(path).model
    for clip in clips:
        kind = landmark_set(clip.landmarks.metadata["landmark_set"])
        if (len(model.landmark_vertices), model.expression_count) != (kind.count, clip.fit["expression"].shape[1]):
            raise UserError(f"{path} and the manifests of clip '{clip.name}' come from different runs: run again")
    return model


def read_frames(clip: Clip, threads: int) -> Iterator[FaceImage]:
    """Measure the face of each frame, in order."""
    points, kind = clip.points, landmark_set(clip.landmarks.metadata["landmark_set"])

    def look(row: int) -> FaceImage:
        return face_image(clip.image("frames", row), points[row], kind)

    with closing(in_order(look, range(len(points)), threads)) as found:
        for _, measured in progress(found, total=len(points), desc=clip.name):
            yield measured


def table_of(clip: Clip, number: int, model: MorphableModel, threads: int) -> Table:
    """Make the columns `COLUMNS` of a clip."""
    decode, fit, points = clip.decode, clip.fit, clip.points
    kind = landmark_set(clip.landmarks.metadata["landmark_set"])
    lost = fit["quality"] == "lost"
    angles = np.where(lost[:, None], np.nan, head_angles(np.nan_to_num(fit["rotation"])))
    gaze, shares = np.degrees(fit["gaze"]), openings(points, kind.name)
    box = decode["face_box_px"]
    images = np.array(list(read_frames(clip, threads)), np.float64).reshape(len(points), -1)
    facts, reason = decode.metadata, reasons_of(decode.metadata, len(points))
    return {
        "clip": np.full(len(points), number), "time_s": decode["time_s"], "seconds": frame_seconds(decode["time_s"]),
        "left_out": reason, "fitted": ~lost & (reason == ""), "bridged": fit["quality"] == "bridged",
        "duplicate": decode["duplicate"], "error": fit["landmark_error"], "face_px": box[:, 3] - box[:, 1],
        "cut": cut_by_border(points, facts["crop_px"], facts["source_size"], clip.size_px),
        "gaze_yaw": gaze[:, [0, 2]].mean(1), "gaze_pitch": gaze[:, [1, 3]].mean(1),
        "lids": np.full(len(points), np.nan) if shares is None else shares[:, :2].mean(1),
    } | dict(zip(("yaw", "pitch", "roll"), angles.T, strict=True)) | face_shape(
        model, fit["expression"], kind
    ) | dict(zip(FaceImage._fields, images.T, strict=True))  # fmt: skip


def footage_of(clip: Clip) -> Footage:
    """Collect facts about a clip, and how far its background moved."""
    facts = clip.decode.metadata
    seen = np.flatnonzero(clip.decode["face"])  # decode refuses clips without any
    rows = seen[np.unique(np.linspace(0, len(seen) - 1, STILL_COUNT).round().astype(int))]
    grey, empty = [], []
    for row in rows:
        frame = cut_window(clip.image("frames", row), (0, 0, clip.size_px), COMPARE_PX)
        grey.append(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        matte = cv2.resize(clip.image("alpha", row), (COMPARE_PX, COMPARE_PX), interpolation=cv2.INTER_AREA)
        reach = 2 * round(AWAY * COMPARE_PX) + 1
        empty.append(cv2.erode((matte < 26).astype(np.uint8), np.ones((reach, reach))).astype(bool))
    shifts = [background_shift(grey[0], grey[k], empty[0] & empty[k]) / COMPARE_PX for k in range(1, len(rows))]
    return Footage(
        facts["crop_px"][2] / clip.size_px, float(facts["fps"]), bool(facts["static_camera"]),
        int(facts["faces_per_frame_max"]), np.array(shifts),
    )  # fmt: skip


def maps_of(table: Table, settings: Capture) -> list[Image]:
    """Plot directions of the head, and blur."""
    (seconds, yaw, pitch, wanted), _ = poses(table, settings)
    labels = ("yaw, degrees, + to the right of the image", "pitch, degrees, + down")
    directions = coverage_map(seconds, (yaw, pitch), wanted, seconds >= CELL_S, labels)
    limit = settings.softness
    labels = ("softness of edges, % of the face's height", "frames")
    blur = histogram(100 * table["softness"], limit, labels, f"blurred above {limit:g} %")
    return [Image("seconds in each direction of the head", directions), Image("sharpness of the frames", blur)]


def thumbnails_of(table: Table, rows: np.ndarray, clips: list[Clip]) -> list[Image]:
    """Shrink the frames of `examples`; rows: of each row of the table, its number among all frames of the clips."""
    first = np.concatenate([[0], np.cumsum([len(clip.decode) for clip in clips])])
    found = []
    for title, row in examples(table).items():
        clip = clips[table["clip"][row]]
        at = int(rows[row] - first[table["clip"][row]])
        image = cut_window(clip.image("frames", at), (0, 0, clip.size_px), THUMBNAIL_PX)
        caption = f"{title}: {clip.name}, frame {int(clip.decode['frame'][at])}, {table['time_s'][row]:.1f} s"
        found.append(Image(caption, encode_jpeg(image, THUMBNAIL_PX, quality=85), "jpeg"))
    return found


def curves_of(table: Table, clip: Clip) -> Image:
    """Plot the curves of one clip."""
    groups = {
        "head, degrees": {name: table[name] for name in ("yaw", "pitch", "roll")},
        "lips, share": {"opening": table["mouth_open"], "width": table["mouth_width"]},
        "lids, share": {"lids": table["lids"]},
        "brightness": {"face": table["brightness"], "left": table["left"], "right": table["right"]},
        "softness, %": {"softness": 100 * table["softness"]},
    }
    return Image(f"Clip {clip.name} over time", curves(table["time_s"], clip.fit["quality"], groups))


def run(args: argparse.Namespace) -> None:
    """Measure all clips, grade those to train on, and write both files."""
    cv2.setNumThreads(1)  # frames are looked at side by side instead
    clips, settings = read_clips(args), args.settings
    clips.sort(key=lambda clip: clip.role != "train")
    model = read_model(args.identity, clips)
    tables = [table_of(clip, number, model, args.threads) for number, clip in enumerate(clips)]
    facts = [footage_of(clip) for clip in clips]
    trained = [clip for clip in clips if clip.role == "train"]
    kept = kept_frames([clip.decode for clip in trained])
    rows = np.flatnonzero(np.concatenate(kept))  # what is held out is at the end: clips keep their numbers
    table = {name: np.concatenate([one[name] for one in tables[: len(trained)]])[rows] for name in COLUMNS}
    checks = judge(measure(table, facts[: sum(bool(part.any()) for part in kept)], settings), settings)
    verdict, sentence = overall(checks)
    report = {
        "subject": args.subject, "verdict": verdict, "sentence": sentence, "size_px": clips[0].size_px,
        "held_out": sum(map(len, kept)) - len(rows), "record_again": record_again(checks), "checks": checks, "clips": {
            clip.name: {"role": clip.role} | clip_measures(one | {"clip": np.zeros_like(one["clip"])}, fact, settings)
            for clip, one, fact in zip(clips, tables, facts, strict=True)}, "settings": dict(settings),
        "left_out": counts_of(table["left_out"]),
    }  # fmt: skip
    page = capture_page(report, maps_of(table, settings), thumbnails_of(table, rows, trained),
                        [curves_of(one, clip) for one, clip in zip(tables, trained, strict=False)])  # fmt: skip
    with atomic_file(args.out) as written:
        written.write_text(page, encoding="utf-8")
        write_json(args.out_json, report)
    log.info("%s: %s", args.subject, sentence)


if __name__ == "__main__":
    main(build_parser(), run)
