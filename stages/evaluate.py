"""Measure an avatar by self-reenactment: paint the test frames, and compare them with the truth.

In: avatar.pt, samples.parquet (one, or one of the training and one of the test clips), the clips' folders. Out:
metrics.json, self.parquet (scores of each frame), self/<clip>/NNNNNN.png, self.mp4 (truth, render, alpha, avatar,
error), both marked as synthetic: the images by metadata alone, since their pixels are measured. The avatar is driven by
pose, expression and gaze of the face alone, as by any driver. Beside it stand the same avatar with the torso where it
was tracked in the truth, and what it must beat: the mean training frame, and the training frame with the nearest
landmarks. Frames are streamed: memory does not grow with the clips. What is measured is the 8-bit image that is
written.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfieavatar.detection.landmarks import MediaPipeDetector
from selfieavatar.errors import UserError
from selfieavatar.evaluation.baseline import Baselines
from selfieavatar.evaluation.frames import Images, Subject, driver_only, read_subject, seconds, video_rate
from selfieavatar.evaluation.metrics_file import as_json, frame_columns, package_versions, result_metrics
from selfieavatar.evaluation.network_metrics import NetworkScores
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.results import Results
from selfieavatar.evaluation.retrack import retracking_of
from selfieavatar.evaluation.summary_text import TRACKED_TORSO, comparison, worse_than
from selfieavatar.io.files import atomic_dir, content_hash, write_json
from selfieavatar.io.images import ImageWriter
from selfieavatar.io.manifest import write_manifest
from selfieavatar.marking.marker import Marker
from selfieavatar.reporting.tiles import TILES, row_size, side_by_side, tile_region, tile_side
from selfieavatar.settings.cli import main, marking_arguments, marking_of, progress, stage_parser
from selfieavatar.settings.device import lease_device
from selfieavatar.video.writer import VideoWriter

if TYPE_CHECKING:
    from selfieavatar.evaluation.inference import InferenceRunner

log = logging.getLogger(__name__)

BASELINES = ("mean_frame", "nearest_frame")


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "evaluate")
    parser.add_argument("--avatar", required=True, type=Path, help="avatar.pt")
    parser.add_argument("--samples", required=True, nargs="+", type=Path, help="samples.parquet, one or several")
    parser.add_argument("--clips-dir", required=True, type=Path, help="folder that holds the folders of the clips")
    parser.add_argument("--out", required=True, type=Path, help="metrics.json")
    parser.add_argument("--frames-table", required=True, type=Path, help="self.parquet")
    parser.add_argument("--video", required=True, type=Path, help="self.mp4")
    parser.add_argument("--out-pictures", required=True, type=Path, help="folder self/ of the avatar's images")
    parser.add_argument("--variant", default="default", help="name of the ablation, written into metrics.json")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted; 0 runs on the CPU")
    marking_arguments(parser)
    return parser


def baselines_of(subject: Subject, images: Images, mean_frames: int) -> Baselines:
    """Make the baselines that the avatar must beat; UserError without a training frame."""
    if not subject.train:
        raise UserError("the samples name no training frame to compare with; set evaluate.baselines: false")
    read = partial(images.read, kind="frames")
    return Baselines(subject.train, subject.test, images.filled_points, read, mean_frames)


def wants_tracked(runner: InferenceRunner, asked: bool) -> tuple[bool, str]:
    """Tell whether the avatar is measured with the tracked torso, too, or why it is not."""
    if not asked:
        return False, f"{TRACKED_TORSO}: left out by evaluate.tracked_torso: false"
    if runner.avatar.identity.torso is None:
        return False, f"{TRACKED_TORSO}: no torso was followed"
    return True, ""


def measure(
    args: argparse.Namespace, subject: Subject, runner: InferenceRunner, images: Images, folder: Path
) -> Results:
    """Paint and score every test frame, and write images and video."""
    settings, tile_px = args.settings, args.settings.video_tile_px
    baselines = baselines_of(subject, images, settings.mean_frames) if settings.baselines else None
    network = NetworkScores(runner.device, settings.network_metrics)
    retracked, why = retracking_of(runner.avatar, MediaPipeDetector, settings.retrack_px)
    tracked, why_not = wants_tracked(runner, settings.tracked_torso)
    methods = ("avatar", *([TRACKED_TORSO] if tracked else []), *(BASELINES if baselines else ()))
    result = Results(methods, network, retracked)
    result.notes += [note for note in (why, why_not) if note]
    rates = images.rates(subject)
    fps, size = video_rate(subject, rates), row_size(subject.size_px, tile_px)
    marker = Marker(runner.avatar, marking_of(args))
    painted = tile_region(TILES.index("avatar"), tile_side(subject.size_px, tile_px))
    seal = partial(marker.seal, region=painted, title=args.video.name)
    video = VideoWriter(args.video, fps, size, settings.video_crf, finish=seal)
    with video, progress(total=subject.frames) as bar:
        for clip, frames in subject.test.items():
            with ImageWriter(folder / clip, args.threads, marker.sealed) as writer:
                for batch in images.batches(clip, frames, settings.batch_size):
                    render, uv = driver_only(runner.avatar, images, clip, batch.frames)
                    image, alpha = runner.paint(render, uv)
                    shown = {"avatar": image} | (baselines.of(clip, batch.frames) if baselines else {})
                    if tracked:
                        shown[TRACKED_TORSO] = runner.paint(images.of(clip, batch.frames, "render"), batch.uv)[0]
                    masks = (alpha, batch.alpha) if runner.avatar.mask_trained else None
                    result.add(clip, batch.frames, batch.order, batch.truth, batch.masks, shown, masks)
                    for k, number in enumerate(batch.frames.tolist()):
                        writer.put(number, np.round(image[k] * 255).astype(np.uint8))
                        row = (batch.truth[k], render[k], alpha[k], image[k])
                        shown_row = side_by_side(*row, caption=f"{clip} {number}", least_px=tile_px)
                        marker.paint_part(shown_row, painted)  # of the video alone: the pixels in self/ are measured
                        video.put(shown_row)
                    bar.update(len(batch.frames))
    result.block = seconds(rates)
    result.fps = runner.frames_per_second(render, uv, settings.speed_frames)
    return result


def report(args: argparse.Namespace, subject: Subject, runner: InferenceRunner, result: Results) -> dict:
    """Assemble the content of metrics.json."""
    result.notes += subject.notes()
    facts = {"subject": subject.name, "variant": args.variant, "split": "self", "driving": "driver_only"}
    facts |= {"interleaved": list(subject.interleaved), "avatar": content_hash(args.avatar)}
    facts |= {"frames": len(result.frames), "size_px": subject.size_px}
    rest = {
        "speed": {"fps": result.fps, "device": runner.device_name(), "precision": args.settings.precision},
        "training": runner.avatar.training,
        "weights": runner.avatar.weights | result.network.weights,
    }
    rest |= {"versions": package_versions(), "notes": result.all_notes()}
    return as_json(facts | result_metrics(result) | rest)


def load_runner(path: Path, device: str, threads: int, size_px: int, precision: str) -> InferenceRunner:
    """Load the avatar on its device; torch is imported here, once the device is leased.

    Raises:
        UserError: the avatar cannot be read, or paints another size than the clips have.
    """
    import torch

    from selfieavatar.avatar import Avatar
    from selfieavatar.evaluation.inference import InferenceRunner

    torch.set_num_threads(max(threads, 1))
    avatar = Avatar.load(path, device, precision)
    if avatar.size_px != size_px:
        raise UserError(f"{path} paints {avatar.size_px} px, the clips are {size_px} px; train it again on these clips")
    return InferenceRunner(avatar, device)


def run(args: argparse.Namespace) -> None:
    """Measure the avatar and write the four outputs."""
    subject = read_subject(args.samples)
    with lease_device(args.gpu) as device, atomic_dir(args.out_pictures) as folder:
        runner = load_runner(args.avatar, device, args.threads, subject.size_px, args.settings.precision)
        result = measure(args, subject, runner, Images(args.clips_dir, args.threads), folder)
        content = report(args, subject, runner, result)
    facts = {"subject": subject.name, "size_px": subject.size_px, "variant": args.variant, "block": result.block}
    write_manifest(args.frames_table, "self", frame_columns(result), facts)
    write_json(args.out, content)
    log.info("%s, %d frames never trained on; PSNR / SSIM:", subject.name, len(result.frames))
    for region in REGIONS[:3]:
        log.info("  %s", comparison(content, region))
    short = worse_than(content)
    if short:
        log.warning("the face is worse than a plain copy (%s): train longer, or film more; see docs/results.md", short)


if __name__ == "__main__":
    main(build_parser(), run)
