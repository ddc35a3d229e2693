"""Describe an export for those who use it without this project."""

from __future__ import annotations

from typing import Any

from selfieavatar.runtime.exported_file import INPUTS, OUTPUTS

_MEANING = {
    "render": "I_R, the shaded face, RGB; black off the face",
    "uv": "I_UV: channel 0 is u, 1 is v, 2 is 1 on the face; off the face 0, and u, v are 0 or coordinates of hair "
    "(v / 2) or torso ((1 + v) / 2). Sampled nearest: do not smooth or compress it",
    "image": "the person before the background of the recording, RGB",
    "alpha": "1 on the person, 0 on the background",
}
CONVENTIONS = [
    "images are RGB, channels first, rows from top to bottom; values are linear in the encoded (sRGB) numbers",
    "the centre of the first pixel is (0.5, 0.5); x to the right, y down, z away from the camera",
    "u to the right and v down in the texture; v = 0 is its first row",
    "pose: camera point = R X + t, R of an axis-angle vector in radians, t in cm; gaze: yaw and pitch of the subject's "
    "left and right eye in radians; pinhole camera of identity.npz, scaled to size_px",
    "another background B: alpha image + (1 - alpha) B",
]


def described(names: dict[str, int], size_px: int) -> list[dict[str, Any]]:
    """Describe the inputs or outputs of the graph, by name and number of channels."""
    shape = ("B", size_px, size_px)
    return [
        {"name": name, "type": "float32", "shape": [shape[0], channels, *shape[1:]], "range": [0, 1],
         "meaning": _MEANING[name]}
        for name, channels in names.items()
    ]  # fmt: skip


def contract(size_px: int) -> dict[str, Any]:
    """Return inputs, outputs and conventions for the description."""
    inputs, outputs = described(INPUTS, size_px), described(OUTPUTS, size_px)
    return {"inputs": inputs, "outputs": outputs, "conventions": CONVENTIONS}
