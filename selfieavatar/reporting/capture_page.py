"""Render capture.html: the result first, then what to record again, the checks, images and clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfieavatar.reporting.page_templates import Image, render

# Key of a clip in capture.json, heading and digits of its column.
CLIP_COLUMNS = (
    ("frames", "frames", 0), ("seconds", "s", 1), ("face_source_px", "face, px of the video", 0),
    ("blurred", "blurred, %", 0), ("exposure", "white or black, %", 1), ("left_out", "left out, %", 0),
    ("lost", "lost, %", 0), ("doubtful", "doubtful, %", 0), ("cut", "cut, %", 0), ("frame_rate", "frames/s", 0),
    ("camera", "camera, %", 1),
)  # fmt: skip


def capture_page(
    report: Mapping[str, Any], maps: Sequence[Image], thumbnails: Sequence[Image], curves: Sequence[Image]
) -> str:
    """Render the page.

    Args:
        report: content of capture.json.
        maps: of head and sharpness.
        thumbnails: frames.
        curves: one for each clip.
    """
    images = {"maps": maps, "thumbnails": thumbnails, "curves": curves}
    title = f"Footage of {report['subject']}"
    return render("capture.html.j2", title=title, columns=CLIP_COLUMNS, **images, **report)
