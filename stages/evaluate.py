"""Stage `evaluate`: paint the test frames with the avatar, and measure them against the truth (self-reenactment).

In: avatar.pt, samples.parquet (one, or one of the training and one of the test clips), the clips' folders. Out:
metrics.json, self.parquet (scores of each frame), self/<clip>/NNNNNN.png, self.mp4 (truth, render, alpha, avatar,
error). Beside the avatar stand the figures of what it must beat: the mean training frame, and the training frame with
the nearest landmarks. Frames are streamed: memory does not grow with the clips. What is measured is the 8-bit picture
that is written.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.core.cli import main, progress, stage_parser
from stages.core.device import lease_device
from stages.core.errors import UserError
from stages.core.files import PictureWriter, atomic_dir, atomic_file, picture_name, read_picture
from stages.core.manifest import read_manifest, write_manifest
from stages.face.detector import MediaPipeDetector
from stages.face.landmark_sets import LandmarkSet, landmark_set
from stages.metrics.baseline import Baselines, fill_missing
from stages.metrics.network import NetworkScores
from stages.metrics.panel import panel_size, side_by_side
from stages.metrics.regions import REGIONS, region_masks
from stages.metrics.report import as_json, package_versions, result_figures
from stages.metrics.results import Results
from stages.metrics.retrack import retracking_of
from stages.metrics.verdict import comparison, worse_than
from stages.video.writer import VideoWriter

if TYPE_CHECKING:
    from stages.metrics.painter import Painter

log = logging.getLogger(__name__)

METHODS = ("avatar", "mean_frame", "nearest_frame")
TABLE_FIGURES = ("psnr_db", "ssim", "sharpness")


def build_parser() -> argparse.ArgumentParser:
    """Command line of the stage."""
    parser = stage_parser(__doc__, "evaluate")
    parser.add_argument("--avatar", required=True, type=Path, help="avatar.pt")
    parser.add_argument("--samples", required=True, nargs="+", type=Path, help="samples.parquet, one or several")
    parser.add_argument("--clips-dir", required=True, type=Path, help="folder that holds the folders of the clips")
    parser.add_argument("--out", required=True, type=Path, help="metrics.json")
    parser.add_argument("--frames-table", required=True, type=Path, help="self.parquet")
    parser.add_argument("--video", required=True, type=Path, help="self.mp4")
    parser.add_argument("--out-pictures", required=True, type=Path, help="folder self/ of the avatar's pictures")
    parser.add_argument("--variant", default="default", help="name of the ablation, written into metrics.json")
    parser.add_argument("--gpu", type=int, default=0, help="cards granted; 0 runs on the CPU")
    return parser


@dataclass
class Batch:
    """N frames of one clip; pictures (N,S,S,3) and alpha (N,S,S) float32 in [0,1]."""

    frames: np.ndarray
    truth: np.ndarray
    alpha: np.ndarray
    render: np.ndarray
    uv: np.ndarray


@dataclass
class Subject:
    """What samples.parquet says: frames to measure and to compare with, by clip, in order of frames."""

    name: str
    size_px: int
    test: dict[str, np.ndarray]
    train: dict[str, np.ndarray]
    left_out: int


def read_subject(paths: list[Path]) -> Subject:
    """Join the manifests of samples.

    Raises:
        UserError: they are of different subjects or sizes, or there is no frame to measure.
    """
    manifests = [read_manifest(path, "samples") for path in paths]
    facts = {(m.metadata["subject"], int(m.metadata["size_px"])) for m in manifests}
    if len(facts) > 1:
        raise UserError(f"the samples {', '.join(map(str, paths))} are of different subjects or sizes: {sorted(facts)}")
    clip, frame, split, used = (np.concatenate([m[c] for m in manifests]) for c in ("clip", "frame", "split", "used"))

    def by_clip(name: str) -> dict[str, np.ndarray]:
        mine = used & (split == name)
        return {str(c): np.unique(frame[mine & (clip == c)]) for c in dict.fromkeys(clip[mine].tolist())}

    test = by_clip("test")
    if not test:
        raise UserError(
            f"no usable test frame in {', '.join(map(str, paths))}; give the subject a clip of role 'test' "
            "or raise samples.holdout"
        )
    name, size_px = facts.pop()
    return Subject(name, size_px, test, by_clip("train"), int(((split == "test") & ~used).sum()))


def unit(picture: np.ndarray) -> np.ndarray:
    """Integer picture -> float32 in [0,1]."""
    return picture.astype(np.float32) / np.iinfo(picture.dtype).max


class Pictures:
    """Reads the pictures of the clips on threads."""

    def __init__(self, clips_dir: Path, threads: int) -> None:
        self.clips_dir = clips_dir
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1))

    def read(self, places: list[tuple[str, int]], kind: str) -> np.ndarray:
        """(N,...) float32 in [0,1] of frames (clip, number)."""
        paths = [self.clips_dir / clip / kind / picture_name(number) for clip, number in places]
        pictures = [unit(picture) for picture in self._pool.map(read_picture, paths)]
        for path, picture in zip(paths, pictures, strict=True):
            if picture.shape != pictures[0].shape:
                raise UserError(f"{path} has another size or depth than its neighbours; run the workflow again")
        return np.stack(pictures)

    def points(self, clip: str, frames: np.ndarray) -> tuple[np.ndarray, LandmarkSet]:
        """Landmarks (N,L,2) px of a clip's frames, NaN where none were found, and their set."""
        landmarks = read_manifest(self.clips_dir / clip / "landmarks.parquet", "landmarks")
        kind = landmark_set(landmarks.metadata["landmark_set"])
        return landmarks["points_px"][frames].reshape(len(frames), kind.count, 2), kind

    def filled_points(self, clip: str, frames: np.ndarray) -> np.ndarray:
        """`points`, where none were found those of the nearest frame that has some."""
        landmarks = read_manifest(self.clips_dir / clip / "landmarks.parquet", "landmarks")
        return fill_missing(landmarks["points_px"], landmarks["found"])[frames].reshape(len(frames), -1, 2)

    def batches(self, clip: str, frames: np.ndarray, size: int) -> Iterator[Batch]:
        """Batches of one clip."""
        for start in range(0, len(frames), size):
            part = frames[start : start + size]
            places = [(clip, int(number)) for number in part]
            yield Batch(part, *(self.read(places, kind) for kind in ("frames", "alpha", "render", "uv")))


def baselines_of(subject: Subject, pictures: Pictures, mean_frames: int) -> Baselines:
    """What the avatar must beat. UserError without a training frame."""
    if not subject.train:
        raise UserError("the samples name no training frame to compare with; set evaluate.baselines: false")
    read = partial(pictures.read, kind="frames")
    return Baselines(subject.train, subject.test, pictures.filled_points, read, mean_frames)


def measure(args: argparse.Namespace, subject: Subject, painter: Painter, pictures: Pictures, folder: Path) -> Results:
    """Paint, score, write and film every test frame."""
    settings, tile_px = args.settings, args.settings["video_tile_px"]
    baselines = baselines_of(subject, pictures, settings["mean_frames"]) if settings["baselines"] else None
    network = NetworkScores(painter.device, settings["network_metrics"])
    tracked, why = retracking_of(painter.avatar, MediaPipeDetector, settings["retrack_px"])
    result = Results(METHODS if baselines else METHODS[:1], network, tracked)
    result.notes += [why] if why else []
    decoded = {clip: read_manifest(args.clips_dir / clip / "decode.parquet", "decode") for clip in subject.test}
    fps = float(next(iter(decoded.values())).metadata["fps"] or 25.0)
    film = VideoWriter(args.video, fps, panel_size(subject.size_px, tile_px), settings["video_crf"])
    with film, progress(total=sum(map(len, subject.test.values()))) as bar:
        for clip, frames in subject.test.items():
            points, kind = pictures.points(clip, frames)
            order = np.cumsum(~decoded[clip]["duplicate"])  # counts the pictures that differ from the one before
            with PictureWriter(folder / clip, args.threads) as writer:
                for batch in pictures.batches(clip, frames, settings["batch_size"]):
                    image, alpha = painter.paint(batch.render, batch.uv)
                    shown = {METHODS[0]: image} | (baselines.of(clip, batch.frames) if baselines else {})
                    seen = points[np.searchsorted(frames, batch.frames)]
                    masks = region_masks(batch.alpha, batch.uv[..., 2] > 0, seen, kind)
                    result.add(clip, batch.frames, order[batch.frames], batch.truth, masks, shown)
                    for k, number in enumerate(batch.frames.tolist()):
                        writer.put(number, np.round(image[k] * 255).astype(np.uint8))
                        row = (batch.truth[k], batch.render[k], alpha[k], image[k])
                        film.put(side_by_side(*row, caption=f"{clip} {number}", least_px=tile_px))
                    bar.update(len(batch.frames))
    result.block = round(fps)  # a second: its frames say nearly the same
    result.fps = painter.frames_per_second(batch.render, batch.uv, settings["speed_frames"])
    return result


def report(args: argparse.Namespace, subject: Subject, painter: Painter, result: Results) -> dict:
    """The content of metrics.json."""
    if subject.left_out:
        result.notes.append(f"{subject.left_out} test frames left out, reasons in samples.parquet")
    facts = {"subject": subject.name, "variant": args.variant, "split": "self"}
    facts |= {"frames": len(result.frames), "size_px": subject.size_px}
    rest = {
        "speed": {"fps": result.fps, "device": painter.device_name()},
        "training": painter.avatar.training,
        "weights": painter.avatar.weights | result.network.weights,
    }
    rest |= {"versions": package_versions(), "notes": result.all_notes()}
    return as_json(facts | result_figures(result) | rest)


def load_painter(path: Path, device: str, threads: int, size_px: int) -> Painter:
    """The avatar on its device; torch is imported here, once the device is leased.

    Raises:
        UserError: the avatar cannot be read, or paints another size than the clips have.
    """
    import torch

    from stages.avatar import Avatar
    from stages.metrics.painter import Painter

    torch.set_num_threads(max(threads, 1))
    avatar = Avatar.load(path, device)
    if avatar.size_px != size_px:
        raise UserError(f"{path} paints {avatar.size_px} px, the clips are {size_px} px; train it again on these clips")
    return Painter(avatar, device)


def run(args: argparse.Namespace) -> None:
    """Measure the avatar and write the four outputs."""
    subject = read_subject(args.samples)
    with lease_device(args.gpu) as device, atomic_dir(args.out_pictures) as folder:
        painter = load_painter(args.avatar, device, args.threads, subject.size_px)
        result = measure(args, subject, painter, Pictures(args.clips_dir, args.threads), folder)
        content = report(args, subject, painter, result)
    sheet = result.sheets[METHODS[0]]
    columns = {f"{name}_{region}": sheet.per_frame(region, name) for name in TABLE_FIGURES for region in REGIONS}
    facts = {"subject": subject.name, "size_px": subject.size_px, "variant": args.variant}
    write_manifest(args.frames_table, "self", {"clip": result.clips, "frame": result.frames} | columns, facts)
    with atomic_file(args.out) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    log.info("%s, %d frames never trained on; PSNR / SSIM:", subject.name, len(result.frames))
    for region in REGIONS[:3]:
        log.info("  %s", comparison(content, region))
    short = worse_than(content)
    if short:
        log.warning("the face is worse than a plain copy (%s): train longer, or film more; see docs/results.md", short)


if __name__ == "__main__":
    main(build_parser(), run)
