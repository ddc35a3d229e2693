"""Measure the frames of a recording, for `selfieavatar.footage.checks` to grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfieavatar.footage import signals
from selfieavatar.footage.checks import Measured, number
from selfieavatar.footage.tracking_quality import LARGE_ERROR, count_blinks
from selfieavatar.settings.capture_section import Capture

NAN = float("nan")
CELL_DEG, CELL_S = 10.0, 0.1  # a direction of the head counts as seen when it was held for so long
NO_FRAME = "no frame of it could be measured"
NO_LIDS = "told only with MediaPipe's landmarks (landmarks.detector)"
NO_VERTICES = "the face model has no vertices for these landmarks"
# Columns of a table of frames, all (N,). `clip` is the clip's number; `left_out` says why decode leaves a frame out, ""
# where it does not; `fitted` and `bridged` are bool; `face_px` is the face's height in px of the frame; angles are in
# degrees, yaw + to the right of the image and pitch + down; `lids`, `mouth_open`, `mouth_width`, `brows` over the
# inter-ocular distance; the others are of `FaceImage`.
COLUMNS = (
    "clip", "time_s", "seconds", "left_out", "fitted", "bridged", "duplicate", "error", "face_px", "cut", "yaw",
    "pitch", "roll", "gaze_yaw", "gaze_pitch", "lids", "mouth_open", "mouth_width", "brows", "softness", "brightness",
    "left", "right", "clipped", "teeth",
)  # fmt: skip


@dataclass(frozen=True)
class Footage:
    """Facts about a clip.

    source_scale: source px per px of the frame. static: decode saw the background stay.
    shifts: how far the background moved from the clip's first image in some others, as a share of the image's side;
    infinite where it went out of sight, NaN where a flat wall gives nothing to follow.
    """

    source_scale: float
    fps: float
    static: bool
    faces: int
    shifts: np.ndarray


def measure(table: Mapping[str, np.ndarray], clips: Sequence[Footage], settings: Capture) -> dict[str, Measured]:
    """Measure for all checks the frames of one or more clips, in the checks' units.

    table: columns COLUMNS. settings: of the section `capture`; `softness`, `advised_yaw` and `advised_pitch` are used.
    """
    return footage(table, clips, settings) | head(table, settings) | face(table)


def blurred(table: Mapping[str, np.ndarray], settings: Capture) -> np.ndarray:
    """Find frames whose face is softer than the setting `softness`: (N,) bool."""
    return 100 * table["softness"] > settings.softness


def footage(table: Mapping[str, np.ndarray], clips: Sequence[Footage], settings: Capture) -> dict[str, Measured]:
    """Measure whether the frames can be trained on."""
    fitted, soft, kept = table["fitted"], blurred(table, settings), table["left_out"] == ""
    usable = fitted & ~table["bridged"] & ~soft
    seconds = float(table["seconds"][usable].sum())
    doubtful = fitted & (table["error"] > LARGE_ERROR)
    scale = np.array([clip.source_scale for clip in clips])
    tall = np.isfinite(table["face_px"])
    frame_px = _median(table["face_px"])
    source_px = _median(table["face_px"][tall] * scale[table["clip"][tall]])
    fresh = ~table["duplicate"]
    rate = float(fresh.sum() / max(float(table["seconds"].sum()), 1e-9))
    return {
        "minutes": Measured(seconds / 60, {"frames": int(usable.sum()), "seconds": seconds}),
        "face_scale": _known(source_px / frame_px, {"source_px": source_px, "trained_px": frame_px}),
        "blurred": _known(100 * _share(soft, np.isfinite(table["softness"])), {
            "median_percent_of_face": 100 * _median(table["softness"])}),
        "exposure": _known(100 * _mean(table["clipped"])),
        "cut": _known(100 * _share(table["cut"], tall)),
        "lost": _known(100 * _share(~fitted | doubtful, kept), {
            "frames": int(kept.sum()), "without_fit": int((kept & ~fitted).sum()),
            "far_from_landmarks": int((kept & doubtful).sum())}),
        "frame_rate": Measured(rate, {"in_the_file": max(c.fps for c in clips), "repeated": int((~fresh).sum())}),
        "faces": Measured(float(max(clip.faces for clip in clips))),
        "camera": camera(clips),
    } | light(table)  # fmt: skip


def light(table: Mapping[str, np.ndarray]) -> dict[str, Measured]:
    """Measure steadiness and evenness of the light on the face."""
    frontal = table["fitted"] & signals.near_front(table["yaw"], table["pitch"])
    usual = {name: table[name][frontal] for name in ("brightness", "time_s", "clip", "left", "right")}
    uneven = signals.unevenness(usual["left"], usual["right"])
    fresh = ~table["duplicate"]
    return {
        "light_drift": _known(100 * signals.drift(usual["brightness"], usual["time_s"], usual["clip"])),
        "light_flicker": _known(100 * signals.flicker(table["brightness"][fresh], table["clip"][fresh])),
        "light_sides": _known(100 * abs(uneven), {"brighter_at_right": 100 * uneven}),
    }


def camera(clips: Sequence[Footage]) -> Measured:
    """Measure the movement of the background of the worst clip, % of the image's side."""
    worst, note = NAN, "a plain wall gives nothing to follow: a camera that moves before it cannot be told"
    for clip in clips:
        shifts = clip.shifts[~np.isnan(clip.shifts)]
        if len(shifts):
            moved = 100 * float(np.percentile(shifts, 80, method="lower"))
            worst, note = float(np.fmax(worst, moved)), ""
        elif not clip.static:
            worst, note = float("inf"), "the background changes, or nobody's background is in view"
    if np.isinf(worst) and not note:
        note = "the background went out of sight: further than can be measured"
    if np.isnan(worst) and all(clip.static for clip in clips):
        return Measured(0.0, note=note)
    return Measured(worst, note=note)


def head(table: Mapping[str, np.ndarray], settings: Capture) -> dict[str, Measured]:
    """Measure how far the head was turned, and which directions were seen."""
    chosen = {name: table[name][table["fitted"]] for name in ("yaw", "pitch", "roll", "seconds")}
    seconds = chosen["seconds"]
    left, right = signals.reached(chosen["yaw"], seconds)
    up, down = signals.reached(chosen["pitch"] - _median(chosen["pitch"]), seconds)
    one, other = signals.reached(chosen["roll"] - _median(chosen["roll"]), seconds)
    return {
        "yaw": _known(_lesser(left, right), {"left": max(-left, 0.0), "right": max(right, 0.0)}),
        "pitch": _known(_lesser(up, down), {"up": max(-up, 0.0), "down": max(down, 0.0)}),
        "roll": _known(_lesser(one, other), {"one_side": max(-one, 0.0), "other_side": max(other, 0.0)}),
        "poses": _known(100 * poses(table, settings)[1]),
    }


def poses(
    table: Mapping[str, np.ndarray], settings: Capture
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]:
    """Bin the directions of the head.

    Pitch counts from the usual pose, since the camera rarely stands at the height of the eyes.

    Returns:
        (seconds (A, D), edges of yaw, edges of pitch, advised (A, D)), and the share of the advised cells seen.
    """
    reach = settings.advised_yaw, settings.advised_pitch
    yaw_edges, pitch_edges, advised = signals.advised_poses(*reach, CELL_DEG)
    fitted = table["fitted"]
    pitch = table["pitch"][fitted] - _median(table["pitch"][fitted])
    seen = signals.map_of(table["yaw"][fitted], pitch, table["seconds"][fitted], (yaw_edges, pitch_edges))
    return (seen, yaw_edges, pitch_edges, advised), float((seen[advised] >= CELL_S - 1e-9).mean())


def face(table: Mapping[str, np.ndarray]) -> dict[str, Measured]:
    """Measure what mouth, eyes and brows did."""
    fitted, seconds = table["fitted"], table["seconds"]

    def ends(name: str) -> tuple[float, float]:
        return signals.reached(table[name][fitted], seconds[fitted])

    closed, wide = ends("mouth_open")
    brows, yaw, pitch = (np.subtract(*ends(name)[::-1]) for name in ("brows", "gaze_yaw", "gaze_pitch"))
    shapes = signals.lip_shapes(table["mouth_width"][fitted], table["mouth_open"][fitted], seconds[fitted])
    shaped = np.isfinite(table["mouth_open"]).any()
    has_lids = np.isfinite(table["lids"]).any()
    blinks = sum(count_blinks(table["lids"][table["clip"] == k]) for k in np.unique(table["clip"]))
    shut = float(seconds[signals.eyes_closed(table["lids"])].sum())
    return {
        "mouth_open": _known(100 * wide, note=NO_VERTICES),
        "mouth_closed": _known(100 * closed, note=NO_VERTICES),
        "lip_shapes": _known(float(shapes) if shaped else NAN, note=NO_VERTICES),
        "teeth": _known(float(seconds[table["teeth"] > 0].sum()) if np.isfinite(table["teeth"]).any() else NAN),
        "blinks": _known(float(blinks) if has_lids else NAN, note=NO_LIDS),
        "closed": _known(shut if has_lids else NAN, note=NO_LIDS),
        "gaze_yaw": _known(float(yaw), note=NO_LIDS),
        "gaze_pitch": _known(float(pitch), note=NO_LIDS),
        "brows": _known(100 * float(brows), note=NO_VERTICES),
    }


def clip_measures(table: Mapping[str, np.ndarray], clip: Footage, settings: Capture) -> dict[str, Any]:
    """Measure one clip, whatever it is for, without grades; None where a measure is not known.

    lost: % of all its frames, as on the page about the tracking; doubtful ones and those left out are apart.
    """
    found = footage(table, [clip], settings)
    wanted = ("minutes", "blurred", "exposure", "cut", "frame_rate", "camera")
    frames, tracked = len(table["time_s"]), found["lost"].details
    return {
        "frames": frames, "seconds": number(float(table["seconds"].sum())),
        "lost": number(100 * tracked["without_fit"] / frames),
        "doubtful": number(100 * tracked["far_from_landmarks"] / frames),
        "left_out": number(100 * (1 - tracked["frames"] / frames)),
        "face_source_px": number(found["face_scale"].details["source_px"]),
    } | {name: number(found[name].value) for name in wanted}  # fmt: skip


def _known(value: float, details: Mapping[str, float] | None = None, note: str = NO_FRAME) -> Measured:
    """Make a measure that keeps the reason only where the value is not known."""
    return Measured(float(value), details or {}, note if np.isnan(value) else "")


def _lesser(low: float, high: float) -> float:
    """Return the lesser reach to either side of 0; NaN where unknown."""
    return float(np.maximum(np.minimum(-low, high), 0.0))


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else NAN


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _share(holds: np.ndarray, known: np.ndarray) -> float:
    return float(holds[known].mean()) if known.any() else NAN
