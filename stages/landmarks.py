"""Detect the facial landmarks in every frame of a clip.

The crop is streamed from the source at the detector's working size; coordinates are stored in pixels of the frames.
Frames without a face are marked; frames that decode leaves out, since they show somebody else, are not looked at.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from selfieavatar.detection.landmarks import FaceAlignmentDetector, FaceDetector, MediaPipeDetector, load_face_alignment
from selfieavatar.detection.outliers import outlier_detections
from selfieavatar.errors import UserError
from selfieavatar.footage.holdout import parts
from selfieavatar.footage.left_out import left_out
from selfieavatar.io.manifest import Manifest, read_manifest, write_manifest
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, RIGID, landmark_set
from selfieavatar.settings.assets import asset_path
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.settings.sections import Landmarks
from selfieavatar.video.reader import CropReader

log = logging.getLogger("landmarks")


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "landmarks")
    parser.add_argument("--source", required=True, help="video file or image folder")
    parser.add_argument("--start", type=int, default=None, help="first source frame (default: 0)")
    parser.add_argument("--end", type=int, default=None, help="source frame after the last (default: all)")
    parser.add_argument("--decode", required=True, type=Path, help="decode.parquet of the clip: its crop and frames")
    parser.add_argument("--manifest", required=True, type=Path, help="landmarks.parquet to write")
    return parser


def make_detector(settings: Landmarks) -> FaceDetector:
    """Make the detector that the settings name; UserError if its weights are missing."""
    if settings.detector == "mediapipe":
        return MediaPipeDetector(settings.min_confidence)
    weights, finder = str(asset_path("face_alignment_2d")), str(asset_path("face_alignment_sfd"))
    return FaceAlignmentDetector(load_face_alignment(weights, finder, "cpu"))


def detect_clip(
    detector: FaceDetector, reader: CropReader, frames: np.ndarray, scale: float, skipped: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Detect the landmarks of the numbered frames as columns of the manifest.

    Args:
        detector: for this clip alone.
        reader: of the clip at the working size.
        frames: (N,) frame numbers of the clip.
        scale: pixels of the frames for a pixel of the reader.
        skipped: (N,) bool, True where the detector does not look (default: nowhere).
    """
    count = landmark_set(detector.set_name).count
    rows = {int(number): i for i, number in enumerate(frames)}
    columns = {
        "frame": frames.astype(np.int32),
        "found": np.zeros(len(frames), bool),
        "points_px": np.full((len(frames), count * 2), np.nan, np.float32),
        "depth": np.full((len(frames), count), np.nan, np.float32),
        "confidence": np.zeros(len(frames), np.float32),
    }
    # The reader decodes in a thread of its own while the detector works.
    for number, _, image in progress(reader, total=len(frames), desc="landmarks"):
        row = rows.get(int(number))
        if skipped is not None and row is not None and skipped[row]:
            continue
        face = detector.detect(image)
        if face is None or row is None:
            continue
        columns["found"][row] = True
        columns["points_px"][row] = (face.points_px * scale).reshape(-1)
        columns["depth"][row] = face.depth * scale
        columns["confidence"][row] = face.confidence
    return columns


def drop_outlier_detections(columns: dict[str, np.ndarray], set_name: str, clip_parts: list[slice]) -> int:
    """Mark outlier detections, compared within each part of the clip, as not found; returns their number."""
    points = columns["points_px"].reshape(len(columns["frame"]), -1, 2)
    depth, rigid = np.nan_to_num(columns["depth"]), RIGID if set_name == MEDIAPIPE else None
    outlier = np.concatenate([outlier_detections(points[rows], depth[rows], rigid) for rows in clip_parts])
    columns["found"][outlier] = False
    columns["points_px"][outlier], columns["depth"][outlier] = np.nan, np.nan
    columns["confidence"][outlier] = 0
    return int(outlier.sum())


def run(args: argparse.Namespace) -> None:
    """Detect the landmarks of one clip and write the manifest."""
    settings: Landmarks = args.settings
    decode: Manifest = read_manifest(args.decode, "decode")
    size, working = int(decode.metadata["size_px"]), settings.size_px
    skipped = left_out(decode)
    detector = make_detector(settings)
    try:
        with CropReader(args.source, args.start, args.end, decode.metadata["crop_px"], working) as reader:
            columns = detect_clip(detector, reader, decode["frame"], size / working, skipped)
    finally:
        detector.close()
    outliers = drop_outlier_detections(columns, detector.set_name, parts(decode))
    if outliers:
        log.warning("%s: %d outlier detections differ from the clip's face and are left out", args.source, outliers)
    found = int(columns["found"].sum())
    if not found:
        raise UserError(
            f"no face was found in any of the {len(decode)} frames of {args.source}; choose a range with "
            f"start_frame and end_frame that shows the face from the front, or film it larger and better lit"
        )
    gone = int(skipped.sum())
    level = logging.WARNING if found < len(decode) - gone else logging.INFO
    apart = f"; {gone} more show somebody else or another place" if gone else ""
    log.log(level, "%s: a face in %d of %d frames%s", args.source, found, len(decode) - gone, apart)
    facts = {"landmark_set": detector.set_name, "count": landmark_set(detector.set_name).count, "size_px": size}
    write_manifest(args.manifest, "landmarks", columns, facts)


if __name__ == "__main__":
    main(build_parser(), run)
