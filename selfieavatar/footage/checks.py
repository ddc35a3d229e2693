"""Grade a recording by checks: each a measure, a grade, and advice in plain words for the person who films."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfieavatar.settings.capture_section import Capture

GOOD, THIN, MISSING = "good", "thin", "missing"
FOOTAGE, CONTENT = "footage", "content"


@dataclass(frozen=True)
class Check:
    """One question to the recording.

    group: FOOTAGE spoils all frames and asks for another recording, CONTENT can be added by one more clip.
    advice: said where the grade is thin or missing; {value}, {good} and the details of the measure are filled in.
    told: how the measure is taken, and what it does not see.
    """

    name: str
    group: str
    title: str
    unit: str
    digits: int
    advice: str
    told: str


@dataclass(frozen=True)
class Measured:
    """A measure with what else was seen; value NaN and the reason in `note` where it cannot be told."""

    value: float
    details: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


CHECKS = (
    Check("minutes", FOOTAGE, "usable time", "min", 1,
          "Record longer: {seconds:.0f} seconds can be used, {good:g} minutes are advised.",
          "frames with a fitted face that are neither bridged nor blurred"),
    Check("face_scale", FOOTAGE, "face size", "source px per trained px", 2,
          "Come closer to the camera or record at a higher resolution: the face is {source_px:.0f} px tall in the "
          "video, but is trained at {trained_px:.0f} px.",
          "median height of the face (hairline to chin) in the video over that in the training images"),
    Check("blurred", FOOTAGE, "sharpness", "% of frames blurred", 0,
          "Move more slowly, with more light, and check the focus: the face is blurred in {value:.0f} % of the frames.",
          "softness of the sharpest edges of the face, at the size trained at, above a share of its height"),
    Check("exposure", FOOTAGE, "exposure", "% of the face white or black", 1,
          "Change the light or the exposure: {value:.1f} % of the face's pixels are black, or have a colour at its "
          "brightest.",
          "pixels of the face with a channel of at least 250, or a luma of at most 8, of 255; mean over frames"),
    Check("light_drift", FOOTAGE, "steady light", "% change", 0,
          "Keep the light steady and lock the exposure: the face's brightness wanders by {value:.0f} %.",
          "range of the face's brightness from second to second (5th to 95th percentile), with the head held as usual"),
    Check("light_flicker", FOOTAGE, "light without flicker", "% flicker", 1,
          "The light flickers by {value:.1f} % from frame to frame: use daylight or another lamp.",
          "deviation of the face's brightness from frame to frame"),
    Check("light_sides", FOOTAGE, "even light", "% between the sides", 0,
          "Turn towards the light: one side of the face is {value:.0f} % brighter than the other.",
          "difference of the brightness of both sides of the face, with the head held as usual"),
    Check("camera", FOOTAGE, "steady camera", "% of the image moved", 1,
          "Fix the camera: the background moves, and the avatar paints one background, which would be blurred.",
          "how far the corners of the background are from where they were in the first image, in 4 of 5 images"),
    Check("cut", FOOTAGE, "whole face in the image", "% of frames cut", 0,
          "Keep the whole face in the image: it is cut by the border in {value:.0f} % of the frames.",
          "frames with a landmark outside the video's image or the crop"),
    Check("lost", FOOTAGE, "face always tracked", "% of frames lost or doubtful", 0,
          "Keep the face in view, without hands or hair before it: of the {frames:.0f} frames that are judged, "
          "{without_fit:.0f} are lost and {far_from_landmarks:.0f} doubtful.",
          "lost: without a face or a fit, as on tracking.html, which counts all frames of each clip; doubtful: where "
          "the model lies far from the landmarks; frames that show somebody else or another place count apart; a hand "
          "that does not confuse the tracker is not seen"),
    Check("frame_rate", FOOTAGE, "frame rate", "frames/s", 0,
          "Record at 25 to 60 frames per second: only {value:.0f} different images come in a second; more light "
          "helps, since phones slow down in the dark.",
          "frames per second less those that repeat the one before"),
    Check("faces", FOOTAGE, "one face alone", "faces at most", 0,
          "Film one person alone: up to {value:.0f} faces are in view.",
          "most faces seen at once that are at least a third as tall"),
    Check("yaw", CONTENT, "head turned to both sides", "degrees", 0,
          "Turn your head slowly to both sides, {good:.0f} degrees at least: so far {left:.0f} to the left of the "
          "image and {right:.0f} to the right.",
          "the lesser side; held for 0.2 s in all, from facing the camera"),
    Check("pitch", CONTENT, "head raised and lowered", "degrees", 0,
          "Raise your chin and lower it, {good:.0f} degrees at least each: so far {up:.0f} up and {down:.0f} down.",
          "the lesser of both; held for 0.2 s in all, from the usual pose"),
    Check("roll", CONTENT, "head tilted", "degrees", 0,
          "Tilt your head towards each shoulder, {good:.0f} degrees at least: so far {value:.0f}.",
          "the lesser side; held for 0.2 s in all, from the usual pose"),
    Check("poses", CONTENT, "directions of the head", "% of those advised", 0,
          "Move your head in slow circles: {value:.0f} % of the advised directions were seen.",
          "cells of yaw and pitch within the advised ellipse that were seen for 0.1 s"),
    Check("mouth_open", CONTENT, "mouth opened wide", "% of the eye distance", 0,
          "Open your mouth wide, twice.",
          "distance of the inner lips, reached for 0.2 s in all"),
    Check("mouth_closed", CONTENT, "mouth closed", "% of the eye distance", 0,
          "Keep your lips closed for a few seconds.",
          "distance of the inner lips when closed, for 0.2 s in all"),
    Check("lip_shapes", CONTENT, "lip shapes", "shapes", 0,
          "Read a text aloud and move your lips well; say a, e, i, o, u, smile, pout: {value:.0f} shapes were seen, "
          "{good:.0f} are advised.",
          "cells of width and opening of the inner lips, 5 % of the eye distance each, seen for 0.1 s"),
    Check("teeth", CONTENT, "teeth seen", "s", 1,
          "Smile with your teeth showing for a few seconds: they were seen for {value:.1f} s.",
          "pixels between the inner lips that are bright and grey; told by colour alone"),
    Check("blinks", CONTENT, "blinks", "blinks", 0,
          "Blink a few times as you talk: seen so far: {value:.0f}.",
          "the lids close to less than half of their usual opening and open again"),
    Check("closed", CONTENT, "eyes closed", "s", 1,
          "Close your eyes for two seconds.",
          "time with the lids open less than half as far as usual"),
    Check("gaze_yaw", CONTENT, "eyes left and right", "degrees", 0,
          "Hold your head still and look left and right: the eyes moved over {value:.0f} degrees.",
          "range of the gaze against the head, each end held for 0.2 s in all"),
    Check("gaze_pitch", CONTENT, "eyes up and down", "degrees", 0,
          "Hold your head still and look up and down: the eyes moved over {value:.0f} degrees.",
          "range of the gaze against the head, each end held for 0.2 s in all"),
    Check("brows", CONTENT, "brows moved", "% of the eye distance", 0,
          "Raise your brows, then frown.",
          "range of the brows' height above the eye corners, each end held for 0.2 s in all"),
)  # fmt: skip


def grade(value: float, good: float, thin: float) -> str | None:
    """Grade good, thin or missing; larger is better where good > thin, smaller where good < thin. None for NaN."""
    if math.isnan(value):
        return None
    sign = 1 if good >= thin else -1
    return GOOD if sign * value >= sign * good else THIN if sign * value >= sign * thin else MISSING


def number(value: float) -> float | None:
    """Round to four digits after the point; None for NaN and infinity."""
    return round(value, 4) if math.isfinite(value) else None


def judge(measured: Mapping[str, Measured], limits: Capture) -> list[dict[str, Any]]:
    """Grade all checks, in order.

    Returns:
        For each check: name, group, title, value (None where unknown), unit, good and thin (the limits), verdict (the
        grade), advice (None where good), note, told.

    Raises:
        KeyError: a check has no measurement. That is a defect, not bad input.
    """
    found = []
    for check in CHECKS:
        one, (good, thin) = measured[check.name], getattr(limits, check.name)
        said = grade(one.value, good, thin)
        advice = None
        if said in (THIN, MISSING):
            advice = check.advice.format(value=one.value, good=good, **one.details)
        found.append({
            "name": check.name, "group": check.group, "title": check.title, "unit": check.unit,
            "value": number(one.value), "digits": check.digits, "good": good, "thin": thin,
            "figures": {name: number(value) for name, value in one.details.items()}, "verdict": said,
            "advice": advice, "note": one.note or None, "told": check.told,
        })  # fmt: skip
    return found


def overall(checks: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Join all checks that could be told into a grade and one sentence."""

    def titles(group: str, said: str) -> str:
        return ", ".join(c["title"] for c in checks if c["group"] == group and c["verdict"] == said)

    unknown = [c["title"] for c in checks if c["verdict"] is None]
    rest = f" Not told: {', '.join(unknown)}." if unknown else ""
    spoilt, absent = titles(FOOTAGE, MISSING), titles(CONTENT, MISSING)
    if spoilt:
        also = f" The avatar would also lack: {absent}." if absent else ""
        return MISSING, f"Record again before you train. Missing: {spoilt}.{also}{rest}"
    if absent:
        return MISSING, f"Add a recording before you train; the avatar cannot learn what is not shown: {absent}.{rest}"
    thin = [c["title"] for c in checks if c["verdict"] == THIN]
    if thin:
        return THIN, f"This recording can be trained on; thin: {', '.join(thin)}.{rest}"
    return GOOD, f"This recording suffices: nothing need be recorded again.{rest}"


def record_again(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the advice, ready to read aloud: what is missing before what is thin, the footage before what it shows."""
    order = [(said, group) for said in (MISSING, THIN) for group in (FOOTAGE, CONTENT)]
    return [c["advice"] for said, group in order for c in checks if (c["verdict"], c["group"]) == (said, group)]
