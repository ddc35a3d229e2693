"""Measure the images of somebody else's method against the truth, as evaluate measures the avatar.

In: the images that the user has put into external/<method>/ (one clip to measure on) or external/<method>/<clip>/,
named by the numbers of the frames (external/<method>/<subject>--<clip>/ is a driver's, has no truth and is passed
over); samples.parquet (one, or one of the training and one of the test clips), the clips'
folders, identity.npz. Out: metrics.json and frames.parquet, in the form of the avatar's own metrics.json and
self.parquet: the same frames, truth, regions and figures. Settings are those of `evaluate`.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.detection.landmarks import MediaPipeDetector
from selfieavatar.errors import UserError
from selfieavatar.evaluation.frames import Images, Subject, read_subject, seconds, unit
from selfieavatar.evaluation.metrics_file import as_json, frame_columns, package_versions, result_metrics
from selfieavatar.evaluation.network_metrics import NetworkScores
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.results import Results
from selfieavatar.evaluation.retrack import retracking_of
from selfieavatar.evaluation.summary_text import comparison
from selfieavatar.identity import Identity
from selfieavatar.interop.exporters.image import external_image
from selfieavatar.io.files import write_json
from selfieavatar.io.manifest import write_manifest
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.settings.device import lease_device
from selfieavatar.settings.methods import method_images, no_methods

log = logging.getLogger(__name__)

NOT_KNOWN = "speed, training: not known of images that others have made"


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "external", section="evaluate")
    parser.add_argument("--method", required=True, help="name of the method, written into metrics.json")
    parser.add_argument("--pictures", required=True, type=Path, help="folder of the method's images")
    parser.add_argument("--samples", required=True, nargs="+", type=Path, help="samples.parquet, one or several")
    parser.add_argument("--clips-dir", required=True, type=Path, help="folder that holds the folders of the clips")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz of the subject")
    parser.add_argument("--out", required=True, type=Path, help="metrics.json")
    parser.add_argument("--frames-table", required=True, type=Path, help="frames.parquet")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted; 0 runs on the CPU")
    return parser


class ExternalImages:
    """Images of the test frames by an external method, brought to the size of the truth.

    Raises:
        UserError: images are missing, or it is not clear which clip they show.
    """

    def __init__(self, folder: Path, subject: Subject, threads: int) -> None:
        self.size_px, self.sizes = subject.size_px, Counter[int]()
        self._places, self.extra = _of_test_clips(folder, subject)
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1))

    def of(self, clip: str, frames: np.ndarray) -> np.ndarray:
        """Read test frames (N,): (N,S,S,3) float32 in [0,1], rounded as 8 bits are."""
        images = list(self._pool.map(self._read, (self._places[clip][int(number)] for number in frames)))
        self.sizes.update(side for side, _ in images)
        return np.stack([image for _, image in images])

    def _read(self, path: Path) -> tuple[int, np.ndarray]:
        image = unit(external_image(path))
        side = len(image)
        if side != self.size_px:
            shape = cv2.INTER_AREA if side > self.size_px else cv2.INTER_CUBIC
            resized = cv2.resize(image, (self.size_px, self.size_px), interpolation=shape)
            image = np.round(np.clip(resized, 0, 1) * 255) / np.float32(255)
        return side, image

    def notes(self) -> list[str]:
        """Note what to bear in mind about the images that were read."""
        said = [f"{self.extra} images of frames that are not measured were ignored"] if self.extra else []
        for side, count in sorted(self.sizes.items()):
            if side != self.size_px:
                how = "averaged over areas" if side > self.size_px else "enlarged bicubically"
                said.append(f"{count} images of {side} px were brought to the truth's {self.size_px} px ({how})")
        return said


def _of_test_clips(folder: Path, subject: Subject) -> tuple[dict[str, dict[int, Path]], int]:
    """Find the images of each test clip by frame, and count the others."""
    found = method_images(folder)
    if "" in found:
        if len(subject.test) > 1:
            names = ", ".join(subject.test)
            raise UserError(
                f"{folder} holds images, but subject '{subject.name}' is measured on several clips; give each a "
                f"folder of its own there: {names}"
            )
        found = {next(iter(subject.test)): found[""]}
    missing = [
        f"frame {number} of clip '{clip}'"
        for clip, frames in subject.test.items()
        for number in frames.tolist()
        if number not in found.get(clip, {})
    ]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of {subject.frames} images, first that of {missing[0]} "
            "(000000.png is frame 0 of clips/<clip>/frames); have the method write all test frames"
        )
    return found, sum(map(len, found.values())) - subject.frames


def measure(args: argparse.Namespace, subject: Subject, device: str) -> Results:
    """Score every test frame."""
    settings, images = args.settings, Images(args.clips_dir, args.threads)
    for sentence in no_methods(args.pictures.parent.parent):
        raise UserError(sentence)
    external = ExternalImages(args.pictures, subject, args.threads)
    identity = Identity.load(args.identity)
    identity = replace(identity, camera=identity.camera.scaled(subject.size_px))
    tracked, why = retracking_of(identity, MediaPipeDetector, settings.retrack_px)
    result = Results([args.method], NetworkScores(device, settings.network_metrics), tracked)
    with progress(total=subject.frames) as bar:
        for clip, frames in subject.test.items():
            for batch in images.batches(clip, frames, settings.batch_size):
                shown = {args.method: external.of(clip, batch.frames)}
                result.add(clip, batch.frames, batch.order, batch.truth, batch.masks, shown)
                bar.update(len(batch.frames))
    result.block = seconds(images.rates(subject))
    result.notes += ([why] if why else []) + subject.notes() + external.notes() + [NOT_KNOWN]
    return result


def run(args: argparse.Namespace) -> None:
    """Measure the images and write both outputs."""
    subject = read_subject(args.samples)
    with lease_device(args.gpu) as device:
        import torch

        torch.set_num_threads(max(args.threads, 1))
        result = measure(args, subject, device)
    facts = {"subject": subject.name, "method": args.method, "split": "self"}
    facts |= {"frames": len(result.frames), "size_px": subject.size_px, "interleaved": list(subject.interleaved)}
    rest = {"speed": None, "training": None, "weights": result.network.weights, "versions": package_versions()}
    content = as_json(facts | result_metrics(result) | rest | {"notes": result.all_notes()})
    kept = {"subject": subject.name, "size_px": subject.size_px, "method": args.method, "block": result.block}
    write_manifest(args.frames_table, "self", frame_columns(result), kept)
    write_json(args.out, content)
    for note in result.notes:
        log.info("%s", note)
    log.info("%s, %d frames; PSNR / SSIM:", subject.name, len(result.frames))
    for region in REGIONS[:3]:
        log.info("  %s", comparison(content, region, args.method))


if __name__ == "__main__":
    main(build_parser(), run)
