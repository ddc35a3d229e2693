"""Reenact: an avatar follows the face of a video; nothing but avatar.pt and the video is needed.

In: avatar.pt and a video (or a folder of images) of anybody. The face is tracked over the whole video, which also tells
the driver's neutral face and usual pose. Out: by its ending a video .mp4, .webm or .mov, or a folder of PNGs, with the
driver's sound and frame times, less the pauses of a recording without sound; --alpha keeps the person without the
background. Frames without a face hold the last motion; gaps up to 0.2 s are bridged. About 6 KB of memory a frame;
images are streamed. The workflow's own rule, with distances and a table, is stages.reenact_clip.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.settings.cli import main, marking_arguments, marking_of, progress, stage_parser
from selfieavatar.settings.device import lease_device
from selfieavatar.video import timing
from selfieavatar.video.movie import FolderWriter, Movie, MovieWriter, check_movie
from selfieavatar.video.reader import open_source
from selfieavatar.video.sound import Sound
from selfieavatar.video.sources import VideoSource

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.live.clip_driver import Followed, Track
    from selfieavatar.marking.marker import Marker

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = stage_parser(__doc__, "reenact")
    parser.add_argument("--avatar", required=True, type=Path, help="avatar.pt of the person who is shown")
    parser.add_argument("--driver", required=True, type=Path, help="video, or folder of images, of whoever drives")
    parser.add_argument(
        "--out", required=True, type=Path, help="what to write: .mp4, .webm, .mov, or a folder for PNGs (no ending)"
    )
    parser.add_argument(
        "--alpha", action="store_true", help="keep alpha: WebM (VP9), .mov (ProRes 4444) or PNGs with RGBA"
    )
    parser.add_argument(
        "--is-person", action="store_true", help="the driver is the avatar's own person, whose face model is known"
    )
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted; 0 runs on the CPU")
    marking_arguments(parser)
    return parser


def check_paths(args: argparse.Namespace) -> None:
    """Refuse paths that could not be used, before time is spent.

    Raises:
        UserError: the driver is missing, or the output cannot be written.
    """
    if not args.driver.exists():
        raise UserError(f"the driver {args.driver} is missing; give a video or a folder of images")
    check_movie(args.out, args.alpha)
    if args.out.exists() and args.out.samefile(args.driver):
        raise UserError(f"--out {args.out} is the driver itself; name another file")
    above = args.out.absolute().parent
    try:  # to write tells more than to ask
        above.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write into {above} ({error.strerror}); make it writable, or choose another --out"
        ) from error


def track_driver(source: VideoSource) -> Track:
    """Find the driver's face in each frame of the video.

    Raises:
        UserError: no frame can be decoded, or none shows a face.
    """
    from selfieavatar.detection.landmarks import MediaPipeDetector
    from selfieavatar.live.clip_driver import track

    detector = MediaPipeDetector()
    try:
        frames = progress(source.read(range(source.count)), total=source.count, desc="track")
        found = track(frames, detector, source.size)
    finally:
        detector.close()
    if not len(found.times_s):
        raise UserError(f"{source.path}: no frame can be decoded; record or copy the file again")
    if not np.isfinite(found.points).any():
        raise UserError(f"no frame of {source.path} shows a face; choose another video")
    if len(found.times_s) < source.count:
        log.warning("%d of %d frames of %s could not be read", source.count - len(found.times_s), source.count,
                    source.path)  # fmt: skip
    return found


def painted(avatar: Avatar, followed: Followed, batch: int) -> Iterator[np.ndarray]:
    """Paint the frames one after the other: (S, S, 4) uint8, colour and straight alpha."""
    import torch

    motion = followed.motion
    for start in range(0, len(motion), batch):
        rows = slice(start, start + batch)
        images, alpha = avatar.drive(
            motion.rotation[rows], motion.translation[rows], motion.expression[rows], motion.gaze[rows]
        )
        yield from torch.cat([images, alpha], 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def shown_times(source: VideoSource, times_s: np.ndarray, sound: Sound) -> np.ndarray:
    """Find when to show frames of the driver (N,), s from the first on: without its pauses, unless sound runs along."""
    if len(timing.pauses(source.times_s)):
        log.info("%s", "the driver's pauses stay in the video, since its sound goes on in them" if sound.known
                 else "the driver's pauses are left out of the video")  # fmt: skip
        if not sound.known:
            times_s = timing.without_pauses(times_s, source.times_s)
    return times_s - times_s[0]


def writer_of(args: argparse.Namespace, marker: Marker, fps: float, size_px: int, sound: Sound) -> Movie:
    """Choose what writes the output, and marks it."""
    if not args.out.suffix:
        return FolderWriter(args.out, args.alpha, partial(marker.sealed, title=args.out.name))
    is_matroska = args.out.suffix.lower() == ".webm"
    return MovieWriter(
        args.out, fps, (size_px, size_px), alpha=args.alpha, sound=sound,
        tags=marker.tags() if is_matroska else None,
        finish=None if is_matroska else partial(marker.seal, title=args.out.name),
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Let the avatar follow the video, and write it."""
    check_paths(args)
    with lease_device(args.gpu) as device:
        import torch

        from selfieavatar.avatar import Avatar
        from selfieavatar.live.clip_driver import check_follower, follow
        from selfieavatar.marking.marker import Marker

        torch.set_num_threads(max(args.threads, 1))
        avatar = Avatar.load(args.avatar, device, args.settings.precision)
        check_follower(avatar)
        marker = Marker(avatar, marking_of(args))
        log.info("avatar of %s, consent: %s", marker.facts.subject or "nobody named", marker.facts.consent)
        source = open_source(args.driver)
        found = track_driver(source)
        began = time.perf_counter()
        followed = follow(avatar, found, args.settings, args.is_person)
        fitted = time.perf_counter()
        sound = Sound(args.driver)
        times = shown_times(source, found.times_s, sound)
        with writer_of(args, marker, source.fps, avatar.size_px, sound) as movie:
            images = painted(avatar, followed, args.settings.batch_size)
            for image, time_s in zip(progress(images, total=len(times), desc="paint"), times.tolist(), strict=True):
                movie.put(marker.paint(image), time_s)
    lost, held = int(np.isnan(found.points[:, 0, 0]).sum()), int((~followed.seen).sum())
    log.info("%s: %d frames, %d of them without a face; %d hold the last motion, shorter gaps are bridged; fit %.1f s, "
             "painting %.1f s", args.out, len(times), lost, held, fitted - began,
             time.perf_counter() - fitted)  # fmt: skip
    for warning in followed.carried.warnings():
        log.warning("%s", warning.partition(":")[0])


if __name__ == "__main__":
    main(build_parser(), run)
