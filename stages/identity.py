"""Learn the subject's identity: morphable model, camera, texture and light, from all train clips together."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.fitting import personal_model
from selfieavatar.fitting.clip_fit import reprojection_error, solver_settings
from selfieavatar.fitting.head_sphere import learn_head_sphere
from selfieavatar.fitting.identity_fit import fit_identity
from selfieavatar.fitting.imported_coefficients import common_camera, padded, place, read_clip
from selfieavatar.fitting.landmark_measures import inter_ocular_distance
from selfieavatar.fitting.landmark_solver import FitResult
from selfieavatar.fitting.lighting import learn_appearance, photometric_mode
from selfieavatar.fitting.registration import learn as learn_registered
from selfieavatar.fitting.registration import shrink
from selfieavatar.fitting.torso import learn_torso
from selfieavatar.footage.holdout import kept_frames
from selfieavatar.geometry.camera import Camera, transform
from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.identity import Identity
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.files import expand
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, landmark_set, landmark_weights
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.published import load_model
from selfieavatar.rendering.texture import MOST_FRAMES
from selfieavatar.settings.cli import main, stage_parser
from selfieavatar.settings.device import lease_device
from selfieavatar.settings.sections import Fit

log = logging.getLogger("identity")

IDENTITY_FRAMES = 100  # diverse frames that tell who it is
REGISTERED_FRAMES = 300  # of those that facemesh is learnt from
FOCAL_SPREAD = 0.3  # of the log focal length around `focal_ratio`


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage; the lists name the train clips in the same order."""
    parser = stage_parser(__doc__, "identity", section="fit")
    parser.add_argument("--decode", required=True, nargs="+", type=Path, help="decode.parquet of each train clip")
    parser.add_argument("--landmarks", required=True, nargs="+", type=Path, help="landmarks.parquet of each train clip")
    parser.add_argument("--frames", required=True, nargs="+", type=Path, help="folder frames/ of each train clip")
    parser.add_argument("--alpha", required=True, nargs="+", type=Path, help="folder alpha/ of each train clip")
    parser.add_argument(
        "--coefficients", nargs="*", type=Path, default=[], help="file of fitted coefficients of each train clip"
    )
    parser.add_argument("--out", required=True, type=Path, help="identity.npz to write")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted to this job; 0 means the CPU")
    return parser


def gather(
    landmarks: list[Manifest], names: list[Path], kept: list[np.ndarray], wanted: str | None = MEDIAPIPE
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Collect all kept frames with a face.

    Returns points (N, L, 2) and depths (N, L), their clip and frame numbers, and the size of the frames. `wanted` is
    the landmark set that they must have, None the set of the first clip.
    """
    wanted = wanted or landmarks[0].metadata["landmark_set"]
    sizes = {int(manifest.metadata["size_px"]) for manifest in landmarks}
    if len(sizes) > 1:
        raise UserError(
            f"the train clips were decoded at different sizes ({sorted(sizes)} px); use one `decode.size_px` for all"
        )
    for manifest, name in zip(landmarks, names, strict=True):
        if manifest.metadata["landmark_set"] != wanted:
            reason = "the model facemesh wants" if wanted == MEDIAPIPE else "other train clips hold"
            raise UserError(f"{name} holds {manifest.metadata['landmark_set']} points, but {reason} {wanted}; "
                            f"set one `landmarks.detector` for all clips (facemesh: mediapipe)")  # fmt: skip
    if not any(keep.any() for keep in kept):
        raise UserError(
            f"the train clips ({', '.join(map(str, names))}) are too short: `samples.holdout` and `samples.gap_s` "
            "leave no frame to learn from; give longer clips, a clip of role test, or lower both"
        )
    if any(len(manifest) != len(keep) for manifest, keep in zip(landmarks, kept, strict=True)):
        raise UserError(
            f"of {', '.join(map(str, names))}, one lists other frames than its decode.parquet; run the workflow again"
        )
    found = [manifest["found"] & keep for manifest, keep in zip(landmarks, kept, strict=True)]
    shape = (-1, landmark_set(wanted).count, 2)
    points = [m["points_px"][f].reshape(shape) for m, f in zip(landmarks, found, strict=True)]
    depth = [m["depth"][f] for m, f in zip(landmarks, found, strict=True)]
    frames = np.concatenate([m["frame"][f] for m, f in zip(landmarks, found, strict=True)])
    clip = np.repeat(np.arange(len(landmarks)), [int(f.sum()) for f in found])
    if not len(frames):
        raise UserError(f"no face in any train clip ({', '.join(map(str, names))}); give clips that show the face")
    return np.concatenate(points), np.concatenate(depth), clip, frames, sizes.pop()


def published_person(
    settings: Fit, points: np.ndarray, camera: Camera, set_name: str
) -> tuple[MorphableModel, Camera, FitResult, np.ndarray]:
    """Fit a published model to the subject: model, camera, and the fit of the frames it was made from, with numbers."""
    model = load_model(settings.model, expand(settings.model_path), set_name)
    used = personal_model.diverse_frames(points.reshape(len(points), -1), IDENTITY_FRAMES)
    weights, spread = landmark_weights(set_name), FOCAL_SPREAD if settings.focal == "estimate" else 0.0
    eye_distance = inter_ocular_distance(points[used], set_name)
    found = fit_identity(model, camera, points[used], weights, eye_distance, solver_settings(settings), spread)
    log.info("%s: identity from %d frames, focal length %.2f times the side of the crop",
             settings.model, len(used), found.camera.focal_px / camera.size_px)  # fmt: skip
    return found.model, found.camera, found.fit, used


def imported_person(
    args: argparse.Namespace, decode: list[Manifest], points: np.ndarray, clip: np.ndarray, frames: np.ndarray,
    set_name: str,
) -> tuple[MorphableModel, Camera, FitResult, np.ndarray]:  # fmt: skip
    """Take person and camera from the clips' files of coefficients; returns as `published_person`."""
    settings: Fit = args.settings
    published = load_model(settings.model, expand(settings.model_path), set_name)
    read = [read_clip(path, settings, own) for path, own in zip(args.coefficients, decode, strict=True)]
    count = published.identity_count
    model = published.with_identity(np.mean([padded(track.identity, count) for track, _, _ in read], axis=0))
    size = read[0][2].size_px
    camera = common_camera([crop.camera(track) for track, _, crop in read], size)
    chosen, fits, share = [], [], -(-IDENTITY_FRAMES // len(read))
    for number, (track, rows, crop) in enumerate(read):
        at = np.flatnonzero((clip == number) & np.isin(frames, rows))
        if not len(at):
            continue
        at = at[np.unique(np.linspace(0, len(at) - 1, min(share, len(at))).round().astype(int))]
        placed = place(published, model, camera, track.take(np.searchsorted(rows, frames[at])), crop)
        pose = np.concatenate([placed.rotation, placed.translation], 1)
        eye_distance = inter_ocular_distance(points[at], set_name)
        error = reprojection_error(model, camera, points[at], eye_distance, pose, placed.expression)
        chosen.append(at)
        fits.append((placed.rotation, placed.translation, placed.expression, error))
    if not any((error <= settings.max_error).any() for *_, error in fits):
        raise UserError(
            f"the coefficients in {', '.join(map(str, args.coefficients))} do not lie on the faces in the images: "
            "all landmark errors are above `fit.max_error`; check that each file lies beside its own clip"
        )
    log.info("%s: identity and camera of %d files of coefficients, focal length %.2f times the side of the crop",
             settings.model, len(read), camera.focal_px / size)  # fmt: skip
    rotation, translation, expression, error = (np.concatenate(values) for values in zip(*fits, strict=True))
    fit = FitResult(rotation, translation, expression, error)
    return model, camera, fit, np.concatenate(chosen)


def images_of(
    args: argparse.Namespace, clip: np.ndarray, frames: np.ndarray, chosen: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read frame (S, S, 3) and matte (S, S), uint8, of each of the chosen rows."""
    stores = [ClipStore(f.parent, frames=f, alpha=a) for f, a in zip(args.frames, args.alpha, strict=True)]
    for i in chosen:
        yield stores[clip[i]].image("frames", frames[i]), stores[clip[i]].image("alpha", frames[i])


def learn_texture(
    args: argparse.Namespace,
    model: MorphableModel,
    camera: Camera,
    fit: FitResult,
    observations: tuple[np.ndarray, ...],
    set_name: str,
) -> dict[str, np.ndarray]:
    """Learn texture (T, T, 3) uint8, its weight (T, T) float32 and the mean light (9, 3) from fitted frames.

    observations: of each frame the landmarks (n, L, 2) of the set `set_name`, the clip's number (n,), image and matte.
    """
    points, clip, images, mattes = observations
    owner = np.unique(clip, return_inverse=True)[1]
    surface = transform(model.vertices(fit.expression), fit.rotation, fit.translation)
    with lease_device(args.gpu) as device:
        mode = photometric_mode(args.settings.photometric, device)
        try:
            appearance = learn_appearance(
                model, camera, surface, images, mattes, owner, args.settings.texture_px, light=mode != "off"
            )
        except ValueError as error:
            raise UserError(
                f"the mattes hide the face in every train frame ({error}); look at the folder {args.alpha[0]}"
            ) from error
        if mode == "full":
            from selfieavatar.fitting.photometric_refinement import refine_appearance  # torch comes only with this mode
            from selfieavatar.rendering.raster import backend_for

            backend = backend_for(device)
            appearance |= refine_appearance(backend, model, camera, fit, observations, owner, appearance, set_name)
    log.info("texture of %d frames; photometric fit: %s", len(points), mode)
    return {name: appearance[name] for name in ("texture", "texture_weight", "light")}


def run(args: argparse.Namespace) -> None:
    """Learn and write identity.npz."""
    cv2.setNumThreads(1)  # frames are registered side by side instead
    lists = (args.decode, args.landmarks, args.frames, args.alpha, *([args.coefficients] if args.coefficients else []))
    if len({len(entries) for entries in lists}) != 1:
        raise UserError(
            "--decode, --landmarks, --frames, --alpha and --coefficients must name the same clips; they name "
            f"{[len(e) for e in lists]}"
        )
    settings: Fit = args.settings
    landmarks = [read_manifest(path, "landmarks") for path in args.landmarks]
    decode = [read_manifest(path, "decode") for path in args.decode]
    kept = kept_frames(decode)
    personal, set_name = settings.model == personal_model.NAME, landmarks[0].metadata["landmark_set"]
    points, depth, clip, frames, size = gather(landmarks, args.landmarks, kept, MEDIAPIPE if personal else None)
    camera = Camera.default(size, settings.focal_ratio)
    reference = None
    if personal:
        solver = solver_settings(settings)
        model, fit, used = personal_model.learn(points, depth, camera, settings.components, settings=solver)
        if settings.registration:
            part = np.unique(np.linspace(0, len(used) - 1, min(REGISTERED_FRAMES, len(used))).round().astype(int))
            rows = fit.rotation, fit.translation, fit.expression, fit.error
            used, fit = used[part], FitResult(*(values[part] for values in rows))
            shown = [(shrink(image), shrink(matte)) for image, matte in images_of(args, clip, frames, used)]
            model, fit, reference = learn_registered(
                model, camera, fit, points[used], shown, solver, args.threads, settings.max_error
            )
    elif args.coefficients:
        model, camera, fit, used = imported_person(args, decode, points, clip, frames, set_name)
    else:
        model, camera, fit, used = published_person(settings, points, camera, set_name)
    good = np.flatnonzero(np.isfinite(fit.error) & (fit.error <= settings.max_error))
    if not len(good):
        raise UserError("the face could not be fitted in any train frame; check that all clips show the same person")
    pose_range = PoseRange.of(fit.rotation[good], fit.translation[good])
    good = good[np.unique(np.linspace(0, len(good) - 1, min(MOST_FRAMES, len(good))).round().astype(int))]
    images, mattes = map(np.stack, zip(*images_of(args, clip, frames, used[good]), strict=True))
    part = FitResult(fit.rotation[good], fit.translation[good], fit.expression[good], fit.error[good])
    observations = points[used[good]], clip[used[good]], images, mattes
    appearance = learn_texture(args, model, camera, part, observations, set_name)
    sphere, torso = None, None
    if settings.hair:
        sphere = learn_head_sphere(model.template, camera, part.rotation, part.translation, mattes)
    if settings.torso:
        torso = learn_torso(images, mattes, observations[0] / size, landmark_set(set_name))
    Identity(
        model, camera, appearance["texture"], appearance["texture_weight"], appearance["light"], pose_range=pose_range,
        head_sphere=sphere, torso=torso, registration_reference=reference,
    ).save(args.out)  # fmt: skip
    log.info(
        "%s: %d expressions from %d frames; clips: %d", args.out, model.expression_count, len(used), len(landmarks)
    )


if __name__ == "__main__":
    main(build_parser(), run)
