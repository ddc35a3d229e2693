"""Summarize the tracking of a clip from its manifests, in measures and in advice for the person who films."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from selfieavatar.fitting.landmark_measures import BLINK_SHARE, usual_opening
from selfieavatar.footage.left_out import counts_of, reasons_of
from selfieavatar.geometry.camera import rotation_matrix
from selfieavatar.io.manifest import Columns

# A median reprojection error above this share of the inter-ocular distance can be seen in the overlay.
LARGE_ERROR = 0.025
OPEN_SHARE = 0.75  # of the usual opening: a blink goes below BLINK_SHARE and comes back above this


def head_angles(rotation: np.ndarray) -> np.ndarray:
    """Convert axis-angle (N, 3) to yaw, pitch, roll (N, 3) in degrees: where the nose points, and the tilt."""
    matrix = rotation_matrix(np.asarray(rotation, float))
    nose = -matrix[..., :, 2]
    yaw = np.arctan2(nose[:, 0], -nose[:, 2])
    pitch = np.arcsin(np.clip(nose[:, 1], -1, 1))
    roll = np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], 1))


def count_blinks(opening: np.ndarray) -> int:
    """Count how often the mean opening of both lids (N,) falls below half of the usual and comes back."""
    level = opening[np.isfinite(opening)]
    if not len(level):
        return 0
    level = level / max(usual_opening(level), 1e-9)
    # 1 closed, 0 open, in between as before: one blink is one run of closed frames.
    state = np.where(level < BLINK_SHARE, 1, np.where(level > OPEN_SHARE, 0, -1))
    known = state[state >= 0]
    return int((np.diff(np.concatenate([[0], known])) == 1).sum())


def summary(decode: Columns, facts: Mapping[str, Any], fit: Columns, lids: np.ndarray | None) -> dict[str, Any]:
    """Measure one clip: counts, error in %, range of the head's angles in degrees (5th to 95th percentile).

    Frames that decode leaves out count as `left_out`, a number for each reason, and as nothing else.

    Args:
        decode: columns of its manifest.
        facts: those of decode.
        fit: columns of its manifest.
        lids: mean opening (N,), None where not known.
    """
    quality, error = fit["quality"], fit["landmark_error"]
    angles = head_angles(fit["rotation"][quality != "lost"])
    low, high = np.percentile(angles, [5, 95], axis=0) if len(angles) else np.zeros((2, 3))
    known = error[np.isfinite(error)]
    reason = reasons_of(facts, len(quality))
    kept = reason == ""
    return {
        "frames": len(quality),
        "seconds": float(decode["time_s"][-1] - decode["time_s"][0]) if len(quality) else 0.0,
        "without_face": int((~decode["face"] & kept).sum()),
        "repeated": int(decode["duplicate"].sum()),
        "bridged": int(((quality == "bridged") & kept).sum()),
        "lost": int(((quality == "lost") & kept).sum()),
        "left_out": counts_of(reason),
        "error_median": float(np.median(known)) if len(known) else None,
        "error_95": float(np.percentile(known, 95)) if len(known) else None,
        "yaw": [float(low[0]), float(high[0])],
        "pitch": [float(low[1]), float(high[1])],
        "blinks": None if lids is None else count_blinks(lids),
        "static_camera": bool(facts["static_camera"]),
        "faces_per_frame_max": int(facts["faces_per_frame_max"]),
        "person_chosen": bool(facts.get("person_chosen")) or not kept.all(),
    }


def advice(measures: Mapping[str, Any]) -> list[str]:
    """Say what to look at or to film otherwise; none where all is well."""
    said = []
    frames = max(measures["frames"], 1)
    if measures["lost"]:
        share = 100 * measures["lost"] / frames
        said.append(
            f"{measures['lost']} frames ({share:.0f} %) have no fit and are left out: the face is missing, hidden or "
            "turned too far there."
        )
    if measures["left_out"]:
        share = 100 * sum(measures["left_out"].values()) / frames
        shown = ", ".join(f"{count} that show {reason}" for reason, count in measures["left_out"].items())
        said.append(
            f"{share:.0f} % of the frames are left out: {shown}. Cut the clip there, or record one person alone."
        )
    if measures["error_median"] is not None and measures["error_median"] > LARGE_ERROR:
        said.append(
            f"The model lies {100 * measures['error_median']:.1f} % of the eye distance beside the landmarks: look at "
            "overlay.mp4; all clips must show the same person."
        )
    if not measures["static_camera"]:
        said.append("The camera or the background moves: the avatar paints one background, which will be blurred.")
    if measures["faces_per_frame_max"] > 1:
        who = "largest and most central one"
        if measures["person_chosen"]:
            who = "person seen most, told by face recognition,"
        said.append(f"More than one face is in view: the {who} is followed.")
    if measures["repeated"] > 0.3 * frames:
        said.append("Many frames repeat the one before: the recording was slower than the file says.")
    if measures["yaw"][1] - measures["yaw"][0] < 10:
        said.append("The head hardly turns: the avatar will only look well from where it was filmed.")
    return said
