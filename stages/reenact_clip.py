"""Reenact a tracked clip: the avatar of one person follows a clip of another (cross-reenactment).

In: avatar.pt, the driver's identity.npz, and decode.parquet, fit.parquet and frames/ of the clip that drives; nothing
is trained. Out: a video of driver | avatar, and a table of the coefficients used, with the distances (AED, APD) of
what a tracker sees in the avatar's own images from what was asked, how much of what the driver does was asked, and,
with --samples, the similarity of the avatar's face to its person in the frames trained on. A driver who is the avatar's
own person needs no retargeting: that is self-reenactment.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfieavatar.detection.landmarks import MediaPipeDetector
from selfieavatar.errors import UserError
from selfieavatar.evaluation.frames import COEFFICIENTS, Images
from selfieavatar.evaluation.metrics_file import as_json
from selfieavatar.evaluation.regions import mean_or_none
from selfieavatar.evaluation.retrack import Tracker, expression_distance, fit_points, pose_distance_deg
from selfieavatar.geometry.camera import Camera
from selfieavatar.identity import Identity
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.manifest import Manifest, frame_rate, read_manifest, write_manifest
from selfieavatar.marking.marker import Marker
from selfieavatar.morphable.landmark_sets import MEDIAPIPE
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.reporting.tiles import tile_region, tiles_in_a_row
from selfieavatar.retargeting.retarget import Carried, Motion, Retarget
from selfieavatar.settings.cli import main, marking_arguments, marking_of, progress, stage_parser
from selfieavatar.settings.device import lease_device
from selfieavatar.settings.sections import Reenact
from selfieavatar.video.writer import VideoWriter

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.evaluation.identity_similarity import FaceFeatures

log = logging.getLogger(__name__)

DISTANCES = ("aed", "apd_deg")
PERSON_FRAMES = 32  # at most, of those trained on, that tell what the person looks like


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "reenact_clip", "reenact")
    parser.add_argument("--avatar", required=True, type=Path, help="avatar.pt of the person who is shown")
    parser.add_argument("--driver", required=True, help="name of the driver, for caption and table")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz of the driver")
    parser.add_argument("--decode", required=True, type=Path, help="decode.parquet of the clip that drives")
    parser.add_argument("--fit", required=True, type=Path, help="fit.parquet of the clip that drives")
    parser.add_argument("--frames", required=True, type=Path, help="folder frames/ of the clip that drives")
    parser.add_argument("--samples", nargs="?", type=Path, help="samples.parquet of the avatar's person")
    parser.add_argument("--clips-dir", type=Path, help="folder of the clips that --samples names")
    parser.add_argument("--out-video", required=True, type=Path, help="video of driver | avatar to write")
    parser.add_argument("--manifest", required=True, type=Path, help="table of coefficients and distances to write")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted; 0 runs on the CPU")
    marking_arguments(parser)
    return parser


@dataclass
class Driver:
    """Driving clip: model and camera of its person, and the rows (M,) of its manifest that can be followed."""

    model: MorphableModel
    camera: Camera
    fit: Manifest
    rows: np.ndarray
    motion: Motion
    fps: float


def read_driver(args: argparse.Namespace) -> Driver:
    """Read and check the driver.

    Raises:
        UserError: files of different runs, or no frame with a face.
    """
    identity = Identity.load(args.identity)
    model, camera = identity.model, identity.camera
    fit, decode = read_manifest(args.fit, "fit"), read_manifest(args.decode, "decode")
    if not np.array_equal(fit["frame"], decode["frame"]) or fit["expression"].shape[1:] != (model.expression_count,):
        raise UserError(f"{args.fit}, {args.decode} and {args.identity} come from different runs; run the fit again")
    usable = fit["fitted"] & (fit["quality"] != "lost")
    for name in COEFFICIENTS[:3]:
        usable &= np.isfinite(fit[name]).all(axis=1)
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise UserError(f"no frame of {args.fit} shows a face that the avatar could follow; choose another clip")
    # Where a set of landmarks has no irises, the eyes look ahead.
    motion = Motion(*(np.nan_to_num(fit[name][rows]).astype(float) for name in COEFFICIENTS))
    return Driver(model, camera.scaled(int(fit.metadata["size_px"])), fit, rows, motion, frame_rate(decode))


class Likeness:
    """Comparison of painted faces with the person (L,), both as features of the network `features`."""

    def __init__(self, features: FaceFeatures, person: np.ndarray) -> None:
        self._features, self._person, self.similarity = features, person, np.zeros(0)

    def add(self, images: np.ndarray, faces: np.ndarray) -> None:
        """Add painted images (N,S,S,3) float in [0,1], with masks (N,S,S) bool of their faces."""
        self.similarity = np.append(self.similarity, self._features(images, faces) @ self._person)


def likeness_of(args: argparse.Namespace, device: str) -> tuple[Likeness | None, str]:
    """Make the comparison of painted faces with the person of the training frames, or None and the reason."""
    from selfieavatar.evaluation.identity_similarity import FaceFeatures, mean_face

    try:
        features = FaceFeatures(device)
    except UserError as error:
        return None, f"identity_similarity: {error}"
    if args.samples is None:
        return None, "identity_similarity: --samples does not say what the person looks like"
    samples, images = read_manifest(args.samples, "samples"), Images(args.clips_dir, args.threads)
    rows = np.flatnonzero(samples["used"] & (samples["split"] == "train"))
    rows = rows[np.unique(np.linspace(0, max(len(rows) - 1, 0), PERSON_FRAMES).round().astype(int))[: len(rows)]]
    found = [np.zeros((0, features.length))]
    for clip, frame in zip(samples["clip"][rows].tolist(), samples["frame"][rows].tolist(), strict=True):
        one = [(clip, frame)]  # clips may differ in depth
        found.append(features(images.read(one, "frames"), images.read(one, "uv")[..., 2] > 0))
    return Likeness(features, mean_face(np.concatenate(found))), ""


def video(
    args: argparse.Namespace, avatar: Avatar, driver: Driver, asked: Motion, tracker: Tracker | None,
    likeness: Likeness | None,
) -> None:  # fmt: skip
    """Paint every frame that can be followed, write the video, and show the images to what measures them.

    Light is the avatar's mean light, and its torso where the head's pose tells: the driver's face alone drives.
    """
    side, frames = args.settings.video_tile_px, driver.fit["frame"]
    side = max(side, avatar.size_px)
    names = (f"driver {args.driver}", f"avatar {avatar.subject}")
    place = np.full(len(frames), -1)
    place[driver.rows] = np.arange(len(driver.rows))
    black = np.zeros((avatar.size_px, avatar.size_px, 3), np.uint8)
    height, width = tiles_in_a_row([black, black], names, "", side).shape[:2]
    painted: dict[int, np.ndarray] = {}
    clip = ClipStore(args.frames.parent, frames=args.frames)
    marker, place_px = Marker(avatar, marking_of(args)), tile_region(1, side)
    seal = partial(marker.seal, region=place_px, title=args.out_video.name)
    with VideoWriter(args.out_video, driver.fps, (width, height), args.settings.video_crf, finish=seal) as video:
        for row in progress(range(len(frames)), desc="reenact"):
            at = place[row]
            if at >= 0 and at not in painted:
                part = np.arange(at, min(at + args.settings.batch_size, len(driver.rows)))
                render, uv = avatar.pose(*(getattr(asked, name)[part] for name in COEFFICIENTS))
                image, _ = avatar.paint(render, uv)
                images = image.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
                painted = dict(zip(part.tolist(), images, strict=True))
                if tracker is not None:
                    tracker.add(images)
                if likeness is not None:
                    likeness.add(images / np.float32(255), uv[:, 2].numpy() > 0)
            number = int(frames[row])
            caption = f"{number}" if at >= 0 else f"{number}: no face to follow"
            shown = [clip.image("frames", number), painted[at] if at >= 0 else black]
            tiles = tiles_in_a_row(shown, names, caption, side)
            if at >= 0:
                marker.paint_part(tiles, place_px)  # after what is measured was taken
            video.put(tiles)


def distances(avatar: Avatar, asked: Motion, tracker: Tracker) -> dict[str, np.ndarray]:
    """Compute aed and apd_deg (M,) of the painted frames; NaN where the tracker finds no face in the image."""
    model = avatar.model
    found = fit_points(model, avatar.camera, tracker.points, tracker.detector.set_name)
    return {
        "aed": expression_distance(found.expression, asked.expression, model.expression_scale),
        "apd_deg": pose_distance_deg(found.rotation, asked.rotation),
    }


def write_table(
    args: argparse.Namespace, avatar: Avatar, driver: Driver, asked: Motion, measured: dict[str, np.ndarray],
    carried: Carried, notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Write the manifest, a row for each frame of the clip, NaN where nothing was followed; returns its facts."""
    frames = driver.fit["frame"]
    driven = np.zeros(len(frames), bool)
    driven[driver.rows] = True
    columns: dict[str, np.ndarray] = {"frame": frames, "driven": driven}
    for name, values in ({name: getattr(asked, name) for name in COEFFICIENTS} | measured).items():
        whole = np.full((len(frames), *np.shape(values)[1:]), np.nan, np.float32)
        whole[driver.rows] = values
        columns[name] = whole
    facts = {
        "subject": avatar.subject, "driver": args.driver, "size_px": avatar.size_px, "pose": args.settings.pose,
        "frames": len(frames), "driven": len(driver.rows),
        "expression_carried": carried.expression, "clamped": carried.clamped,
        "found": int(np.isfinite(measured["aed"]).sum()),
        "aed": mean_or_none(measured["aed"]), "apd_deg": mean_or_none(measured["apd_deg"]),
        "identity_similarity": mean_or_none(measured["identity_similarity"]), "notes": notes,
    }  # fmt: skip
    facts = as_json(facts)
    write_manifest(args.manifest, "reenact", columns, facts)
    return facts


def in_words(facts: dict[str, Any]) -> str:
    """Put frames and metrics into one line; what is null is left out, and `notes` say why."""
    told = {"aed": "AED {:.3f}", "apd_deg": "APD {:.2f} degrees", "identity_similarity": "identity {:.3f}"}
    known = [words.format(facts[name]) for name, words in told.items() if facts[name] is not None]
    asked = "{:.0f} % of the expression asked, limited in {:.0f} % of the frames"
    asked = asked.format(100 * facts["expression_carried"], 100 * facts["clamped"])
    return ", ".join([f"{facts['driven']} of {facts['frames']} frames", asked, *known])


def run(args: argparse.Namespace) -> None:
    """Let the avatar follow the clip; write the video and the table."""
    settings: Reenact = args.settings
    driver = read_driver(args)
    measured = dict.fromkeys((*DISTANCES, "identity_similarity"), np.full(len(driver.rows), np.nan))
    with lease_device(args.gpu) as device:
        import torch

        from selfieavatar.avatar import Avatar

        torch.set_num_threads(max(args.threads, 1))
        avatar = Avatar.load(args.avatar, device, settings.precision)
        chosen = {name: getattr(settings, name) for name in ("pose", "gain", "overshoot", "pose_overshoot")}
        carry = avatar.retarget(driver.model, driver.camera, driver.motion, **chosen)
        asked = carry(driver.motion)
        carried = carry.carried(driver.motion) if isinstance(carry, Retarget) else Carried()
        likeness, why = likeness_of(args, device)
        tracker, notes = None, [why] if why else []
        if not settings.retrack_px:
            notes.append("aed, apd_deg: left out by reenact.retrack_px: 0")
        elif avatar.landmark_set.name != MEDIAPIPE:
            notes.append(f"aed, apd_deg: images are tracked again by MediaPipe, not by {avatar.landmark_set.name}")
        else:
            tracker = Tracker(MediaPipeDetector(), settings.retrack_px)
        try:
            video(args, avatar, driver, asked, tracker, likeness)
        finally:
            if tracker is not None:
                tracker.detector.close()
        measured |= {} if tracker is None else distances(avatar, asked, tracker)
        measured |= {} if likeness is None else {"identity_similarity": likeness.similarity}
        tools = dict.fromkeys(DISTANCES, tracker) | {"identity_similarity": likeness}
        empty = [name for name, tool in tools.items() if tool is not None and mean_or_none(measured[name]) is None]
        notes += [f"{name}: no face was found in the images to compare" for name in empty]
        facts = write_table(args, avatar, driver, asked, measured, carried, carried.warnings() + notes)
    log.info("%s followed by %s: %s", args.driver, avatar.subject, in_words(facts))
    for warning in carried.warnings():
        log.warning("%s", warning)
    for note in notes:
        log.info("%s", note)


if __name__ == "__main__":
    main(build_parser(), run)
