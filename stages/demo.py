"""Render the demo clip: a synthetic actor who speaks, blinks and turns, as a video with its ground truth.

The video has two takes: frames [0, train_frames) to train on and [train_frames, train_frames + test_frames) to test on,
with other phrases and another path of the head.

The truth is one .npz (np.load, allow_pickle=False; N frames, L points, S = size in px, cm, rad, px of the video):
rotation (N,3) axis-angle and translation (N,3): camera point = R @ X + t; focal_px; principal (2,); size_px; fps; seed;
take (N,) 0 train, 1 test; expression (N,E) in [0,1] and expression_names (E,); gaze (N,4) left yaw, left pitch, right
yaw, right pitch in the head, + towards image right and down; lids_cm, lids_px (N,2) opening between the middles of
the lids, left then right eye; lips_cm, lips_px (N,) opening between the inner middles of the lips; point_index (L,)
MediaPipe numbers, point_names (L,), points_px (N,L,2), points_head (N,L,3) in model space; alpha (N,S,S) u8.
Left and right are the subject's.
"""

from __future__ import annotations

import argparse
import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.demo_actor.head import EXPRESSIONS
from selfieavatar.demo_actor.motion import Motion, make_motion
from selfieavatar.demo_actor.scene import Scene, Truth
from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_file
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.settings.sections import Demo
from selfieavatar.video.writer import VideoWriter

log = logging.getLogger(__name__)


class TruthFile:
    """Write an .npz as a stream: alpha frame by frame, the tables at the end. Its bytes are reproducible."""

    def __init__(self, archive: zipfile.ZipFile, frames: int, size: int) -> None:
        self._archive = archive
        self._alpha = archive.open(self._member("alpha"), "w", force_zip64=True)
        header = {"descr": "|u1", "fortran_order": False, "shape": (frames, size, size)}
        np.lib.format.write_array_header_1_0(self._alpha, header)

    @staticmethod
    def _member(name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(f"{name}.npy")
        info.compress_type = zipfile.ZIP_DEFLATED
        return info

    def put_alpha(self, alpha: np.ndarray) -> None:
        """Append one frame (S,S) u8."""
        self._alpha.write(np.ascontiguousarray(alpha).tobytes())

    def close_alpha(self) -> None:
        """End the alpha; an archive cannot be closed while one of its members is open."""
        self._alpha.close()

    def finish(self, tables: dict[str, np.ndarray]) -> None:
        """Close the alpha and add the tables."""
        self.close_alpha()
        for name, values in tables.items():
            with self._archive.open(self._member(name), "w") as member:
                np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)


@contextmanager
def truth_file(path: Path, frames: int, size: int) -> Iterator[TruthFile]:
    """Open a truth file that appears under its name only when it is complete."""
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w", compresslevel=1) as archive:
        truth = TruthFile(archive, frames, size)
        try:
            yield truth
        finally:
            truth.close_alpha()


def truth_tables(
    scene: Scene, takes: list[Motion], truths: list[Truth], fps: float, seed: int
) -> dict[str, np.ndarray]:
    """Collect the tables of the truth file by name (see the module's docstring)."""
    tables = {
        "rotation": np.stack([cv2.Rodrigues(t.rotation)[0][:, 0] for t in truths]),
        "translation": np.stack([t.translation for t in truths]),
        "expression": np.concatenate([m.expression for m in takes]),
        "gaze": np.concatenate([m.gaze for m in takes]),
        "points_px": np.stack([t.points_px for t in truths]),
        "points_head": np.stack([t.points_head for t in truths]),
        "lids_cm": np.stack([t.lids_cm for t in truths]),
        "lids_px": np.stack([t.lids_px for t in truths]),
        "lips_cm": np.array([t.lips_cm for t in truths]),
        "lips_px": np.array([t.lips_px for t in truths]),
    }
    tables = {name: values.astype(np.float32) for name, values in tables.items()}
    return tables | {
        "take": np.concatenate([np.full(len(m.expression), k, np.int32) for k, m in enumerate(takes)]),
        "expression_names": np.array(EXPRESSIONS),
        "point_index": scene.points.index,
        "point_names": scene.points.name,
        "focal_px": np.float64(scene.focal_px),
        "principal": scene.principal,
        "size_px": np.int32(scene.size),
        "fps": np.float64(fps),
        "seed": np.int64(seed),
    }


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "demo")
    parser.add_argument("--seed", type=int, required=True, help="which person: the number of `demo:<seed>`, 0 or more")
    parser.add_argument("--out", type=Path, required=True, help="video file to write (.mp4)")
    parser.add_argument("--truth", type=Path, required=True, help="ground truth to write (.npz)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Render both takes and write video and truth."""
    if args.seed < 0:
        raise UserError(f"demo: seed {args.seed} is negative; use a source such as demo:1 in the subjects sheet")
    if args.truth.suffix != ".npz":
        raise UserError(f"demo: the truth file {args.truth} must end in .npz")
    settings: Demo = args.settings
    size, fps = settings.size_px, settings.fps
    counts = {"train": settings.train_frames, "test": settings.test_frames}
    scene = Scene(args.seed, size)
    takes = [make_motion(args.seed, take, count, fps) for take, count in counts.items() if count > 0]
    total, truths = sum(counts.values()), []
    bar = progress(total=total, desc=f"demo:{args.seed}")
    with (
        bar,
        truth_file(args.truth, total, size) as truth,
        VideoWriter(args.out, fps, (size, size), crf=settings.crf) as video,
    ):
        for take in takes:
            for image, alpha, state in scene.play(take, args.threads):
                video.put(image)
                truth.put_alpha(alpha)
                truths.append(state)
                bar.update()
        truth.finish(truth_tables(scene, takes, truths, fps, args.seed))
    log.info("demo:%d: %d frames of %d px in %s, truth in %s", args.seed, total, size, args.out, args.truth)


if __name__ == "__main__":
    main(build_parser(), run)
