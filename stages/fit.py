"""Fit: pose, expression and gaze of one clip with the subject's model, smooth and without lag."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from stages.core.arrays import read_identity
from stages.core.cli import main, stage_parser
from stages.core.errors import UserError
from stages.core.manifest import read_manifest, write_manifest
from stages.face.camera import Camera
from stages.face.clip import fit_clip
from stages.face.landmark_sets import landmark_set
from stages.face.morphable import MorphableModel
from stages.face.smoothing import BRIDGED, LOST
from stages.graphics.shading import default_light

log = logging.getLogger("fit")


def build_parser() -> argparse.ArgumentParser:
    """Command line of the stage."""
    parser = stage_parser(__doc__, "fit")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz of the subject")
    parser.add_argument("--landmarks", required=True, type=Path, help="landmarks.parquet of the clip")
    parser.add_argument("--decode", required=True, type=Path, help="decode.parquet of the clip")
    parser.add_argument("--out", required=True, type=Path, help="fit.parquet to write")
    return parser


def load_identity(path: Path) -> tuple[MorphableModel, Camera]:
    """Model and camera of a subject; UserError if the file is missing or no identity."""
    arrays = read_identity(path)
    try:
        model = MorphableModel.from_arrays(arrays)
        principal = (float(arrays["principal"][0]), float(arrays["principal"][1]))
        return model, Camera(float(arrays["focal_px"]), principal, int(arrays["size_px"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{path} is not a readable identity ({error}); delete it and run the workflow again") from error


def run(args: argparse.Namespace) -> None:
    """Fits the clip and writes the manifest."""
    model, camera = load_identity(args.identity)
    landmarks, decode = read_manifest(args.landmarks, "landmarks"), read_manifest(args.decode, "decode")
    if not np.array_equal(landmarks["frame"], decode["frame"]):
        raise UserError(
            f"{args.landmarks} and {args.decode} list different frames; run the workflow again to make both anew"
        )
    kind = landmark_set(landmarks.metadata["landmark_set"])
    if len(model.landmark_vertices) != kind.count:
        raise UserError(
            f"{args.identity} was made from {len(model.landmark_vertices)} landmarks, but {args.landmarks} "
            f"holds {kind.count}; use one `landmarks.detector` for all clips of a subject"
        )
    size = int(landmarks.metadata["size_px"])
    camera = camera.scaled(size)
    points = landmarks["points_px"].reshape(len(landmarks), kind.count, 2)
    clip = fit_clip(model, camera, points, decode["time_s"], args.settings, kind.name)
    _report(clip, str(args.landmarks))
    light = np.tile(np.asarray(default_light(), np.float32).reshape(1, 27), (len(points), 1))
    columns = {
        "frame": landmarks["frame"], "fitted": clip.fitted, "rotation": clip.rotation, "translation": clip.translation,
        "expression": clip.expression, "gaze": clip.gaze, "light": light, "landmark_error":
        clip.error.astype(np.float32),
        "quality": clip.quality.astype(str),
    }  # fmt: skip
    metadata = {
        "model": model.name, "focal_px": camera.focal_px, "size_px": size, "principal": list(camera.principal),
        "expression_count": model.expression_count,
    }  # fmt: skip
    write_manifest(args.out, "fit", columns, metadata)


def _report(clip, name: str) -> None:
    lost, bridged = int((clip.quality == LOST).sum()), int((clip.quality == BRIDGED).sum())
    if not clip.fitted.any():
        raise UserError(
            f"the subject's model fits none of the {len(clip.fitted)} frames of {name}; check that the clip shows "
            f"the same person, or raise `fit.max_error`"
        )
    log.log(
        logging.WARNING if lost else logging.INFO,
        "%s: median landmark error %.2f %% of the eye distance; %d of %d frames fitted, %d bridged, %d lost, %d cuts",
        name, 100 * np.nanmedian(clip.error), int(clip.fitted.sum()), len(clip.fitted), bridged, lost,
        int(clip.cuts.sum()),
    )  # fmt: skip


if __name__ == "__main__":
    main(build_parser(), run)
