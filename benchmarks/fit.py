"""Accuracy, calmness and speed of the landmark fit: the demo actor against its truth, and real clips.

    python benchmarks/fit.py --work FOLDER [--videos FOLDER] [--clips anchor turning] [--speed anchor]

Frames and landmarks are made once in the work folder by the project's own stages at 512 px. The model `facemesh` is
learnt from the frames that RANGES does not name, without texture, and measured on those that it names (default: the
last fifth). Errors are over the distance of the outer eye corners in the image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar.fitting import personal_model, registration  # noqa: E402
from selfieavatar.fitting.clip_fit import ClipFit, fit_clip, solver_settings  # noqa: E402
from selfieavatar.fitting.landmark_measures import inter_ocular_distance, lid_opening  # noqa: E402
from selfieavatar.fitting.landmark_solver import fit_landmarks  # noqa: E402
from selfieavatar.fitting.online import OnlineFit  # noqa: E402
from selfieavatar.fitting.registration import shrink  # noqa: E402
from selfieavatar.geometry.camera import Camera, transform  # noqa: E402
from selfieavatar.io.images import image_name, read_image  # noqa: E402
from selfieavatar.io.manifest import read_manifest, write_manifest  # noqa: E402
from selfieavatar.morphable.landmark_sets import landmark_weights  # noqa: E402
from selfieavatar.morphable.model import MorphableModel  # noqa: E402
from selfieavatar.settings.sections import Fit  # noqa: E402

SIZE = 512
VIDEOS = {
    "anchor": "anchor.mp4", "turning": "turning.mp4", "selfie": "selfie.mp4", "glasses": "glasses.mp4",
    "acting": "acting.mp4", "full_body": "full_body_moving_camera.mp4", "face_then_none": "face_then_none.mov",
    "none_then_face": "none_then_face.mov",
}  # fmt: skip
RANGES = {
    "anchor": [(1429, 1779)], "turning": [(60, 80), (130, 150), (205, 225), (265, 285), (335, 355)],
    "selfie": [(282, 352)], "glasses": [(470, 587)], "demo": [(600, 800)],
}  # fmt: skip
LIPS, LIDS = (13, 14), ((386, 374), (159, 145))


@dataclass
class Clip:
    """Landmarks (N, 478, 2) px and depth of a clip, its times, and which frames are for testing."""

    name: str
    folder: Path
    points: np.ndarray
    depth: np.ndarray
    time_s: np.ndarray
    found: np.ndarray
    test: np.ndarray


def stage(name: str, *words: str | Path) -> float:
    """Runs a stage as a process; CPU seconds of it and its children."""
    process = subprocess.Popen([sys.executable, "-m", f"stages.{name}", *map(str, words)], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"stage {name} failed")
    return usage.ru_utime + usage.ru_stime


def prepare(name: str, source: Path, folder: Path) -> Clip:
    """Makes the landmarks of a clip unless they are there, and reads them."""
    decode, landmarks = folder / "decode.parquet", folder / "landmarks.parquet"
    if not landmarks.exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = ["--source", source, "--start", "0", "--out-frames", folder / "frames", "--manifest", decode]
        stage("decode", "--settings", json.dumps({"size_px": SIZE}), *words)
        stage("landmarks", "--source", source, "--start", "0", "--decode", decode, "--manifest", landmarks)
    found, times = read_manifest(landmarks, "landmarks"), read_manifest(decode, "decode")["time_s"]
    test = np.zeros(len(found), bool)
    for start, end in RANGES.get(name, [(int(0.8 * len(found)), len(found))]):
        test[start:end] = True
    points = found["points_px"].reshape(len(found), -1, 2)
    return Clip(name, folder, points, found["depth"], times, found["found"], test)


def learn(clip: Clip, settings: Fit) -> tuple[MorphableModel, Camera]:
    """The personal model of the train frames."""
    camera, train = Camera.default(SIZE, settings.focal_ratio), clip.found & ~clip.test
    model, _, _ = personal_model.learn(
        clip.points[train], clip.depth[train], camera, settings.components, settings=solver_settings(settings)
    )
    return model, camera


def shown(clip: Clip) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Grey image and matte of each frame; everything counts as person, since mattes are not made here."""
    for number in range(len(clip.points)):
        grey = shrink(read_image(clip.folder / "frames" / image_name(number)))
        yield grey, np.full_like(grey, 255)


def register_clip(clip: Clip, settings: Fit) -> tuple[MorphableModel, Camera, ClipFit, list[str]]:
    """The same with registration: model, camera, the clip's fit, and what it did to the skin of the test frames."""
    train, solver = np.flatnonzero(clip.found & ~clip.test), solver_settings(settings)
    camera = Camera.default(SIZE, settings.focal_ratio)
    model, fit, used = personal_model.learn(clip.points[train], clip.depth[train], camera, settings.components,
                                      settings=solver)  # fmt: skip
    images = list(shown(clip))
    chosen = [images[i] for i in train[used]]
    before = skin(model, camera, fit_clip(model, camera, clip.points, clip.time_s, settings), images, clip, chosen)
    began = time.process_time()
    model, fit, reference = registration.learn(model, camera, fit, clip.points[train[used]], chosen, solver)
    seconds, found = time.process_time() - began, fit_clip(model, camera, clip.points, clip.time_s, settings)
    began = time.process_time()
    for _ in range(registration.PASSES):
        surface = transform(model.vertices(found.expression), found.rotation, found.translation)
        points = registration.register(model, camera, reference, surface, clip.points, images.__getitem__)
        found = fit_clip(model, camera, points, clip.time_s, settings)
    each = 1000 * (time.process_time() - began) / len(clip.points)
    after = skin(model, camera, found, images, clip, chosen)
    row = [clip.name, *(f"{v:.3f}" for pair in zip(before, after, strict=True) for v in pair)]
    return model, camera, found, [*row, f"{seconds:.1f} for {len(used)}", f"{each:.1f}"]


def skin(model, camera, fit: ClipFit, images: list, clip: Clip, chosen: list) -> tuple[float, float]:
    """How sharp the mean skin of the train frames is (mean gradient, contrast a texel), and how far that of the test
    frames is from it (root mean square, contrast)."""
    reader = registration.Registration(model, camera, len(chosen[0][0]))
    surface = transform(model.vertices(fit.expression), fit.rotation, fit.translation)
    frames = {}
    for name, rows in (("train", ~clip.test), ("test", clip.test)):
        rows = np.flatnonzero(rows & (fit.quality == "ok"))
        frames[name] = [reader.read(surface[i], *images[i]) for i in rows[:: max(1, len(rows) // 150)]]
    weight = sum(f.weight for f in frames["train"])
    mean = sum(f.contrast * f.weight for f in frames["train"]) / np.maximum(weight, 1e-6)
    slope = np.hypot(cv2.Sobel(mean, cv2.CV_64F, 1, 0, scale=1 / 8), cv2.Sobel(mean, cv2.CV_64F, 0, 1, scale=1 / 8))
    inside = cv2.erode((weight > 0.2 * weight.max()).astype(np.uint8), np.ones((5, 5))) > 0
    square = sum(((f.contrast - mean) ** 2 * f.weight).sum() for f in frames["test"])
    return slope[inside].mean(), np.sqrt(square / max(sum(f.weight.sum() for f in frames["test"]), 1e-6))


def reproject(model: MorphableModel, camera: Camera, fit) -> np.ndarray:
    """(N, 478, 2) px of the fitted model; the irises stay at 0."""
    points = camera.project(transform(model.vertices(fit.expression), fit.rotation, fit.translation))
    return np.concatenate([points, np.zeros((len(points), 10, 2))], 1)


def lag_frames(before: np.ndarray, after: np.ndarray, most: int = 5) -> float:
    """How many frames `after` (N,) trails `before`, by the cross-correlation of their speeds, to a fraction."""
    a, b = (np.diff(v) - np.diff(v).mean() for v in (before, after))
    c = np.array([np.sum(a[most:-most] * b[most + k : len(b) - most + k]) for k in range(-most, most + 1)])
    k = int(np.clip(c.argmax(), 1, 2 * most - 1))
    return k - most + (c[k - 1] - c[k + 1]) / (2 * (c[k - 1] - 2 * c[k] + c[k + 1]))


def blinks_kept(raw: np.ndarray, smooth: np.ndarray, good: np.ndarray, reach: int = 8) -> list[float]:
    """Share of the depth of each blink that is kept; a blink is a minimum of the opening a third under both sides."""
    kept = []
    for i in range(reach, len(raw) - reach):
        around = slice(i - reach, i + reach + 1)
        if not good[around].all() or raw[i] > raw[around].min():
            continue
        rest = [min(np.percentile(v[i - reach : i], 75), np.percentile(v[i + 1 : i + reach + 1], 75))
                for v in (raw, smooth)]  # fmt: skip
        if rest[0] - raw[i] > 0.3 * np.median(raw[good]):
            kept.append((rest[1] - smooth[i - 1 : i + 2].min()) / (rest[0] - raw[i]))
    return kept


def jitter_ratio(points: np.ndarray, fitted: np.ndarray, good: np.ndarray, eye_distance: np.ndarray) -> float:
    """Median over the stillest fifth of the frames: second differences of the mesh over those of the detector."""
    calm = uniform_filter1d(np.nan_to_num(points), 5, axis=0)
    middle = np.arange(4, len(points) - 4)
    middle = middle[[good[i - 4 : i + 5].all() for i in middle]]
    moved = np.percentile(np.linalg.norm(calm[middle + 2] - calm[middle - 2], axis=2), 90, axis=1)
    moved = moved / eye_distance[middle]
    still = middle[np.argsort(moved)[: max(1, len(middle) // 5)]]
    bend = [np.sqrt(((v[still + 1] - 2 * v[still] + v[still - 1]) ** 2).mean((1, 2))) for v in (points, fitted)]
    return float(np.median(bend[1]) / np.median(bend[0]))


def measure(
    clip: Clip, model: MorphableModel, camera: Camera, settings: Fit, smooth: ClipFit | None = None
) -> list[str]:  # fmt: skip
    """One row of the table of clips: of the landmark fit, or of the given one."""
    smooth = smooth or fit_clip(model, camera, clip.points, clip.time_s, settings)
    eye_distance = inter_ocular_distance(clip.points)
    solver = solver_settings(settings)
    raw = fit_landmarks(model, camera, clip.points, landmark_weights(), eye_distance, ~smooth.cuts, solver)
    good, eyes = smooth.quality == "ok", np.linalg.norm(clip.points[:, 33] - clip.points[:, 263], axis=1)
    errors, shown = [], {}
    for name, fit in (("raw", raw), ("smooth", smooth)):
        shown[name] = reproject(model, camera, fit)
        distance = np.linalg.norm(shown[name] - clip.points, axis=2)[:, :468] / eyes[:, None]
        shown_well = distance[good & clip.test].mean(1)
        errors.append(f"{100 * np.median(shown_well):.2f}" if len(shown_well) else "none")
    whole = good.copy()
    whole[:-1] &= ~smooth.cuts
    whole[1:] &= ~smooth.cuts
    run = max(np.split(np.arange(len(whole)), np.flatnonzero(~whole)), key=len)[1:]
    lags = []
    for value in (lambda p: np.linalg.norm(p[run, 13] - p[run, 14], axis=1),
                  lambda p: p[run, 4, 0] - 0.5 * (p[run, 33, 0] + p[run, 263, 0])):  # fmt: skip
        lags.append(lag_frames(value(clip.points), value(shown["smooth"])))
    jitter = [jitter_ratio(clip.points[:, :468], shown[k][:, :468], whole, eye_distance) for k in ("raw", "smooth")]
    opening = [lid_opening(p).mean(1) for p in (clip.points, shown["smooth"])]
    kept = blinks_kept(*opening, whole)
    blink = f"{100 * np.mean(kept):.0f} % of {len(kept)}" if kept else "none"
    lost = int((smooth.quality == "lost").sum())
    return [
        clip.name, f"{(~clip.test & clip.found).sum()} / {(good & clip.test).sum()}", str(lost), *errors,
        f"{jitter[0]:.2f}", f"{jitter[1]:.2f}", f"{lags[0]:+.2f}", f"{lags[1]:+.2f}", blink,
    ]  # fmt: skip


def looks(gaze_rad: np.ndarray) -> np.ndarray:
    """(N, 2, 3) directions of (N, 4) angles."""
    yaw, pitch = gaze_rad[:, ::2], gaze_rad[:, 1::2]
    return np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], -1)


def against_truth(clip: Clip, fit: ClipFit, model: MorphableModel, camera: Camera, truth) -> list[tuple[str, str]]:
    """Rows of the table of the demo actor.

    What differs by definition is measured on the train frames and taken out: one rotation between the two heads' axes,
    and where on the face each point is (its median offset in the image).
    """
    test, train = fit.fitted & clip.test, fit.fitted & ~clip.test
    crop = read_manifest(clip.folder / "decode.parquet", "decode").metadata["crop_px"]
    zoom = SIZE / crop[2]
    true, found = Rotation.from_rotvec(truth["rotation"]), Rotation.from_rotvec(fit.rotation)
    between = true.inv() * found
    constant = between[train].mean()
    turned = np.degrees((between * constant.inv()).magnitude())[test]
    number, places = truth["point_index"], (truth["points_px"] - crop[:2]) * zoom
    mesh = number < 468
    eyes = np.linalg.norm(clip.points[:, 33] - clip.points[:, 263], axis=1)[:, None, None]
    rows = [("rotation, degrees", f"{np.median(turned):.2f}"),
            ("the constant rotation, degrees", f"{np.degrees(constant.magnitude()):.1f}")]  # fmt: skip
    for name, points in (("true points, fit", reproject(model, camera, fit)), ("true points, detector", clip.points)):
        offset = ((points[:, number] - places) / eyes)[:, mesh]
        free = offset - np.median(offset[train], axis=0)
        medians = [100 * np.median(np.linalg.norm(o[test], axis=2)) for o in (offset, free)]
        rows.append((f"{name}, % (constant offsets taken out)", f"{medians[0]:.2f} ({medians[1]:.2f})"))
    rows.append(("rotation of OpenCV's PnP: detected points, true head and camera, degrees",
                 f"{pnp_error(clip, truth, crop, zoom):.2f}"))  # fmt: skip
    iris = ((clip.points[:, number] - places) / eyes)[:, ~mesh]
    iris -= np.median(iris[train], axis=0)
    rows.append(("iris centres, detector, % (constant offsets taken out)",
                 f"{100 * np.median(np.linalg.norm(iris[test], axis=2)):.2f}"))  # fmt: skip
    look = [looks(truth["gaze"]), np.einsum("ij,nej->nei", constant.as_matrix(), looks(fit.gaze))]
    away = np.degrees(np.arccos(np.clip((look[0] * look[1]).sum(2), -1, 1)))
    rows.append(("gaze in the head, degrees", f"{np.median(away[test]):.2f}"))
    shape = model.vertices(fit.expression)
    pairs = [("left lids", LIDS[0], truth["lids_cm"][:, 0], truth["lids_px"][:, 0]),
             ("right lids", LIDS[1], truth["lids_cm"][:, 1], truth["lids_px"][:, 1]),
             ("lips", LIPS, truth["lips_cm"], truth["lips_px"])]  # fmt: skip
    for name, (up, low), true_cm, true_px in pairs:
        fitted = np.linalg.norm(shape[:, up] - shape[:, low], axis=1)
        seen = np.linalg.norm(clip.points[:, up] - clip.points[:, low], axis=1)
        both = [np.corrcoef(a[test], b[test])[0, 1] for a, b in ((fitted, true_cm), (seen, true_px))]
        rows.append((f"{name}: correlation of the opening, fit (detector)", f"{both[0]:.3f} ({both[1]:.3f})"))
    return rows


def pnp_error(clip: Clip, truth, crop: list[float], zoom: float) -> float:
    """Median degrees, after one constant rotation: what the detector's points tell somebody who knows all else."""
    names, number = [str(name) for name in truth["point_names"]], truth["point_index"]
    stiff = [i for i, name in enumerate(names) if name.startswith(("left_eye", "right_eye", "nose", "fore", "oval"))]
    centre = (truth["principal"] - np.asarray(crop[:2])) * zoom
    focal = float(truth["focal_px"]) * zoom
    matrix = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    found = [
        cv2.solvePnP(head[stiff].astype(float), points[number[stiff]].astype(float), matrix, None)[1].ravel()
        for head, points in zip(truth["points_head"], clip.points, strict=True)
    ]
    between = Rotation.from_rotvec(truth["rotation"]).inv() * Rotation.from_rotvec(found)
    return float(np.median(np.degrees((between * between[~clip.test].mean().inv()).magnitude())[clip.test]))


def speed(clip: Clip, model: MorphableModel, camera: Camera, counts: tuple[int, ...]) -> list[list[str]]:
    """CPU and wall seconds of the process `stages.fit` on the landmarks of the first frames of a clip."""
    identity = clip.folder / "speed.npz"
    np.savez(identity, **model.to_arrays(), texture=np.zeros((8, 8, 3), np.uint8), focal_px=np.float32(camera.focal_px),
             principal=np.array(camera.principal, np.float32), size_px=np.int32(SIZE))  # fmt: skip
    rows = []
    for count in counts:
        words: list[str | Path] = ["--identity", identity, "--out", clip.folder / "speed_fit.parquet"]
        alone = json.dumps({"photometric": "off", "registration": False})
        words += ["--frames", clip.folder, "--alpha", clip.folder, "--settings", alone]
        for name in ("decode", "landmarks"):
            whole = read_manifest(clip.folder / f"{name}.parquet", name)
            part = {column: whole[column][:count] for column in whole.table.column_names}
            write_manifest(clip.folder / f"speed_{name}.parquet", name, part, whole.metadata)
            words += [f"--{name}", clip.folder / f"speed_{name}.parquet"]
        began = time.monotonic()
        cpu = stage("fit", *words)
        rows.append([str(count), f"{cpu:.2f}", f"{time.monotonic() - began:.2f}", f"{1000 * cpu / count:.2f}"])
    return rows


def online_ms(clip: Clip, model: MorphableModel, camera: Camera) -> tuple[float, float]:
    """Median and 95th percentile of the CPU milliseconds of a frame."""
    fit, used = OnlineFit(model, camera), []
    for points, time_s in zip(clip.points, clip.time_s, strict=True):
        began = time.process_time()
        fit.update(points, float(time_s))
        used.append(1000 * (time.process_time() - began))
    return float(np.median(used)), float(np.percentile(used, 95))


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n\n"


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for landmarks, kept for the next run")
    parser.add_argument("--videos", type=Path, help="folder with the real clips (default: the demo actor alone)")
    parser.add_argument("--clips", nargs="*", default=list(VIDEOS), choices=list(VIDEOS), help="which of them")
    parser.add_argument("--speed", default="demo", help="clip to time (default: demo)")
    args = parser.parse_args()
    settings, out = Fit(), sys.stdout
    demo = args.work / "demo"
    if not (demo / "x.npz").exists():
        demo.mkdir(parents=True, exist_ok=True)
        stage("demo", "--seed", "1", "--out", demo / "x.mp4", "--truth", demo / "x.npz")
    sources = {"demo": demo / "x.mp4"} | {c: args.videos / VIDEOS[c] for c in args.clips if args.videos}
    head = ["clip", "frames to learn / test", "lost", "error before, %", "after, %", "jitter before", "after",
            "lag of mouth, frames", "of yaw", "blinks kept"]  # fmt: skip
    rows, registered, skins = [], [], []
    for name, source in sources.items():
        clip = prepare(name, source, args.work / source.stem if name != "demo" else demo)
        model, camera = learn(clip, settings)
        rows.append(measure(clip, model, camera, settings))
        better, camera, found, row = register_clip(clip, settings)
        skins.append(row)
        registered.append(measure(clip, better, camera, settings, found))
        if name == "demo":
            fit = fit_clip(model, camera, clip.points, clip.time_s, settings)
            truth = np.load(demo / "x.npz", allow_pickle=False)
            both = [against_truth(clip, *of, camera, truth) for of in ((fit, model), (found, better))]
            lines = [[*one, other[1]] for one, other in zip(*both, strict=True)]
            out.write(table(["demo actor, test frames, median", "landmarks", "registered"], lines))
        if name == args.speed:
            total = len(clip.points)
            timed = speed(clip, model, camera, (total // 4, total // 2, total))
            out.write(table(["frames", "CPU s", "wall s", "CPU ms a frame"], timed))
            out.write("Live: {:.1f} ms a frame, 95th percentile {:.1f} ms.\n\n".format(*online_ms(clip, model, camera)))
    out.write(table(head, rows) + "Registered:\n\n" + table(head, registered))
    skin_head = ["clip", "sharpness before", "after", "test frames off before", "after", "learning, CPU s",
                 "a frame, CPU ms"]  # fmt: skip
    out.write(table(skin_head, skins))


if __name__ == "__main__":
    main()
