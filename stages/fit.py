"""Fit pose, expression, gaze and light of one clip with the subject's model, smooth and without lag."""

from __future__ import annotations

import argparse
import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.fitting import personal_model
from selfieavatar.fitting.clip_fit import ClipFit, fit_clip, joined, reprojection_error
from selfieavatar.fitting.clip_images import ClipImages, torso_beside
from selfieavatar.fitting.imported_coefficients import Placement, imported_clip, place, read_clip
from selfieavatar.fitting.landmark_measures import inter_ocular_distance
from selfieavatar.fitting.lighting import albedo_at, lights_over_time, photometric_mode, skin_readings
from selfieavatar.fitting.registration import PASSES, register
from selfieavatar.fitting.smoothing import BRIDGED, LOST, OK, takes
from selfieavatar.footage.holdout import CUT_FACTS, parts
from selfieavatar.geometry.camera import Camera, transform
from selfieavatar.identity import Identity
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.files import expand
from selfieavatar.io.manifest import Manifest, read_manifest, write_manifest
from selfieavatar.morphable.landmark_sets import landmark_set, landmark_weights
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.published import load_model
from selfieavatar.rendering.shading import default_light
from selfieavatar.rendering.texture import MOST_FRAMES
from selfieavatar.settings.cli import main, stage_parser
from selfieavatar.settings.device import lease_device

log = logging.getLogger("fit")


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "fit")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz of the subject")
    parser.add_argument("--landmarks", required=True, type=Path, help="landmarks.parquet of the clip")
    parser.add_argument("--decode", required=True, type=Path, help="decode.parquet of the clip")
    parser.add_argument("--frames", required=True, type=Path, help="folder frames/ of the clip")
    parser.add_argument("--alpha", required=True, type=Path, help="folder alpha/ of the clip")
    parser.add_argument("--coefficients", nargs="*", type=Path, default=[], help="file of fitted coefficients, if any")
    parser.add_argument("--out", required=True, type=Path, help="fit.parquet to write")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted to this job; 0 means the CPU")
    return parser


def registered_fit(
    args: argparse.Namespace, model: MorphableModel, camera: Camera, reference: np.ndarray | None, clip: ClipFit,
    points: np.ndarray, images: ClipImages,
) -> ClipFit:  # fmt: skip
    """Fit the clip anew to landmarks (N, L, 2) that follow the skin; frames that did not show this face stay so.

    Its error is still the distance from the detector's landmarks.
    """
    if reference is None:
        raise UserError(f"{args.identity} has no `reference` for fit.registration; run the workflow again")
    points = np.where((clip.quality == OK)[:, None, None], points, np.nan)
    for _ in range(PASSES):
        surface = transform(model.vertices(clip.expression), clip.rotation, clip.translation)
        try:
            with images.cores:
                moved = register(model, camera, reference, surface, points, images.small, args.threads)
        except ValueError as error:
            raise UserError(f"{args.frames} and {args.alpha} do not go together: {error}") from error
        clip = fit_clip(model, camera, moved, images.time_s, args.settings)
    pose = np.concatenate([clip.rotation, clip.translation], axis=1)
    distance = reprojection_error(model, camera, points, inter_ocular_distance(points), pose, clip.expression)
    return replace(clip, error=np.where(clip.quality == OK, distance, np.nan))


def report_torso(shift: np.ndarray) -> None:
    """Log in how many frames the torso was found, by its shift (N, 2)."""
    count, found = len(shift), int(np.isfinite(shift).all(1).sum())
    log.log(logging.INFO if 2 * found >= count else logging.WARNING, "torso found in %d of %d frames%s", found, count,
            "" if 2 * found >= count else "; the avatar's shoulders will not follow this clip")  # fmt: skip


def clip_lights(
    model: MorphableModel, camera: Camera, texture: np.ndarray, clip: ClipFit, images: ClipImages
) -> np.ndarray:
    """Estimate the light (N, 9, 3) float32 of each frame, slowly varying within a take; NaN where the fit is lost."""
    take = np.full(len(clip.quality), -1)
    for number, run_of_frames in enumerate(takes(clip.quality, clip.cuts)):
        take[run_of_frames] = number
    seen = np.flatnonzero(clip.quality == OK)
    chosen = seen[np.unique(np.linspace(0, len(seen) - 1, min(MOST_FRAMES, len(seen))).round().astype(int))]
    points = transform(model.vertices(clip.expression[chosen]), clip.rotation[chosen], clip.translation[chosen])
    readings, places = skin_readings(model, camera, points, *images.read(chosen))
    time_s = images.time_s
    lights = lights_over_time(readings, albedo_at(texture, places), (time_s[chosen], take[chosen]), (time_s, take))
    lights[take < 0] = np.nan
    return lights


def photometric_fit(
    args: argparse.Namespace, model: MorphableModel, camera: Camera, texture: np.ndarray, clip: ClipFit,
    points: np.ndarray, images: ClipImages, set_name: str,
) -> tuple[ClipFit, np.ndarray]:  # fmt: skip
    """Refine the clip on the images in mode `full`; also its light (N, 9, 3), the fixed light in mode `off`."""
    with lease_device(args.gpu) as device:
        mode = photometric_mode(args.settings.photometric, device)
        if mode == "off":
            lights = np.repeat(default_light()[None], len(points), axis=0)
            lights[clip.quality == LOST] = np.nan
            return clip, lights
        lights = clip_lights(model, camera, texture, clip, images)
        if mode == "full":
            from selfieavatar.fitting.photometric_refinement import (  # torch comes only with this mode
                Scene,
                refine_clip,
            )
            from selfieavatar.rendering.raster import backend_for

            scene = Scene(backend_for(device), model, camera, landmark_weights(set_name))
            clip = refine_clip(scene, clip, points, texture, lights, images.read, set_name)
            log.info("landmark error after the photometric refinement: %.2f %%", 100 * np.nanmedian(clip.error))
            lights = clip_lights(model, camera, texture, clip, images)
    return clip, lights


def imported(
    args: argparse.Namespace, model: MorphableModel, camera: Camera, points: np.ndarray, decode: Manifest,
    set_name: str,
) -> list[ClipFit]:  # fmt: skip
    """Read the parts of the clip as its file of coefficients says."""
    published = load_model(args.settings.model, expand(args.settings.model_path), set_name)
    track, rows, crop = read_clip(args.coefficients[0], args.settings, decode)
    placed = place(published, model, camera, track, crop)
    log.info(
        "%s: %d of %d frames; the subject's camera sees them %.3f px (at most %.3f px) from where the file's does",
        args.coefficients[0], len(rows), len(decode), np.median(placed.residual), placed.residual.max(),
    )  # fmt: skip
    clips = []
    for part in parts(decode):
        mine = (rows >= part.start) & (rows < part.stop)
        here = Placement(**{name: values[mine] for name, values in vars(placed).items()})
        known = rows[mine] - part.start, points[part], decode["time_s"][part]
        clips.append(imported_clip(model, camera, here, *known, args.settings, set_name))
    return clips


def face_fit(
    args: argparse.Namespace, identity: Identity, clip: ClipFit | None, points: np.ndarray, images: ClipImages,
    set_name: str,
) -> tuple[ClipFit, np.ndarray]:  # fmt: skip
    """Fit what no file of coefficients says, and refine it on the images; also its light (N, 9, 3)."""
    model, camera = identity.model, identity.camera.scaled(images.size_px)
    if clip is None:
        clip = fit_clip(model, camera, points, images.time_s, args.settings, set_name)
    if not clip.fitted.any():
        return clip, np.full((len(points), 9, 3), np.nan)
    if args.settings.registration and args.settings.model == personal_model.NAME:
        clip = registered_fit(args, model, camera, identity.registration_reference, clip, points, images)
    return photometric_fit(args, model, camera, identity.texture, clip, points, images, set_name)


@dataclass
class PartFit:
    """The fit of a clip, or of a part of it, with light (N, 9, 3) and the shift of the torso (N, 2).

    The shift is NaN where the subject's images, or the clip's, do not show the torso.
    """

    clip: ClipFit
    light: np.ndarray
    torso: np.ndarray

    @classmethod
    def of(
        cls, args: argparse.Namespace, identity: Identity, clip: ClipFit | None, points: np.ndarray, images: ClipImages,
        set_name: str,
    ) -> PartFit:  # fmt: skip
        """Fit and refine the face, or refine the fit `clip`, while the torso is followed."""
        if identity.torso is None:
            clip, light = face_fit(args, identity, clip, points, images, set_name)
            return cls(clip, light, np.full((len(points), 2), np.nan))
        with torso_beside(identity.torso, images) as torso:
            with images.cores if args.threads < 2 else nullcontext():  # on one core the torso comes afterwards
                clip, light = face_fit(args, identity, clip, points, images, set_name)
            shift = torso.result()
        report_torso(shift)
        return cls(clip, light, shift)


def run(args: argparse.Namespace) -> None:
    """Fit the clip, what is held out by itself, and write the manifest."""
    cv2.setNumThreads(1)  # frames are registered side by side instead
    identity = Identity.load(args.identity)
    model = identity.model
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
    camera = identity.camera.scaled(size)
    points = landmarks["points_px"].reshape(len(landmarks), kind.count, 2)
    frame, time_s, rows = decode["frame"], decode["time_s"], parts(decode)
    clips: list[ClipFit] | list[None] = [None] * len(rows)
    if args.coefficients:
        clips = imported(args, model, camera, points, decode, kind.name)
    store = ClipStore(args.frames.parent, frames=args.frames, alpha=args.alpha)
    fits = [
        PartFit.of(args, identity, clip, points[part], ClipImages(store, size, frame[part], time_s[part]), kind.name)
        for clip, part in zip(clips, rows, strict=True)
    ]
    clip = joined([fit.clip for fit in fits])
    _report(clip, str(args.landmarks))
    light, torso = (np.concatenate([getattr(fit, name) for fit in fits]) for name in ("light", "torso"))
    columns = {
        "frame": landmarks["frame"], "fitted": clip.fitted, "rotation": clip.rotation, "translation": clip.translation,
        "expression": clip.expression, "gaze": clip.gaze, "light": light.reshape(-1, 27),
        "torso": torso.astype(np.float32),
        "landmark_error": clip.error.astype(np.float32), "quality": clip.quality.astype(str),
    }  # fmt: skip
    metadata = {
        "model": model.name, "focal_px": camera.focal_px, "size_px": size, "principal": list(camera.principal),
        "expression_count": model.expression_count,
    } | {name: decode.metadata.get(name, len(decode)) for name in CUT_FACTS}  # fmt: skip
    write_manifest(args.out, "fit", columns, metadata)


def _report(clip, name: str) -> None:
    known = clip.error[np.isfinite(clip.error)]
    lost, bridged = int((clip.quality == LOST).sum()), int((clip.quality == BRIDGED).sum())
    if not clip.fitted.any():
        raise UserError(
            f"the subject's model fits none of the {len(clip.fitted)} frames of {name}; check that the clip shows "
            f"the same person, or raise `fit.max_error`"
        )
    log.log(
        logging.WARNING if lost else logging.INFO,
        "%s: median landmark error %.2f %% of the eye distance; %d of %d frames fitted, %d bridged, %d lost, %d cuts",
        name, 100 * np.median(known) if len(known) else np.nan, int(clip.fitted.sum()), len(clip.fitted), bridged, lost,
        int(clip.cuts.sum()),
    )  # fmt: skip


if __name__ == "__main__":
    main(build_parser(), run)
