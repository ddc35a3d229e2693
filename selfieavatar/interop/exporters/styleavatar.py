"""Export StyleAvatar's training data (Wang et al., SIGGRAPH 2023): image/, back/, render/, uv/, as its code reads them.

The networks have fixed sizes. `render` and `uv` are 256 px and show the rendered window, here the whole frame; `image`
and `back` are 1536 px and show one and a half times that window, for the sliding crop of 1024 px, so here the frame's
border is repeated around it. `back` is the person's matte and WHITE ON THE PERSON, in spite of its name: the reader
takes 1 - (back > 1/2) for the background.
"""

from __future__ import annotations

import numpy as np

from selfieavatar.io.images import encode_png, image_name
from selfieavatar.rendering.face_mesh import FaceImages
from selfieavatar.video.window import cut_window

RENDER_PX = 256
IMAGE_PX = 1536
MARGIN = 0.25  # of the frame's side, around it in `image` and `back`


def with_margin(image: np.ndarray) -> np.ndarray:
    """Pad an image (S, S) or (S, S, 3) uint8 by MARGIN, its border repeated, and resample it to IMAGE_PX."""
    side = image.shape[0]
    return cut_window(image, (-MARGIN * side, -MARGIN * side, (1 + 2 * MARGIN) * side), IMAGE_PX)


def eight_bit_uv(uv: np.ndarray) -> np.ndarray:
    """Quantise I_UV (S, S, 3) uint16 to uint8; blue 255 on the face, and all 0 off it.

    Off-face coordinates of torso and hair are left out: StyleAvatar has none. Its reader samples a texture of 128
    texels at 2 value / 255 - 1, u to the right and v down as ours: rounding moves a point by a quarter texel at most.
    """
    rounded = ((uv.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.where(uv[..., 2:] > 0, rounded, np.uint8(0))


def frame_files(
    number: int, split: str, face: FaceImages, filmed: tuple[np.ndarray, np.ndarray] | None
) -> dict[str, bytes]:
    """Encode the files of a frame, by their paths: `render` and `uv`, all that its test program reads, and the truth.

    Args:
        number: the running number.
        split: name of the folder.
        face: rendered at RENDER_PX.
        filmed: frame (S, S, 3) and alpha (S, S), uint8, 255 on the person; None for a driver's frames.
    """
    images = {"render": face.image, "uv": eight_bit_uv(face.uv)}
    if filmed is not None:
        images |= dict(zip(("image", "back"), map(with_margin, filmed), strict=True))
    return {f"{split}/{folder}/{image_name(number)}": encode_png(shown) for folder, shown in images.items()}
