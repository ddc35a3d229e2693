"""Cut faces out of images as dlib's face recognition network wants them: "chips" of 150 px, upright."""

from __future__ import annotations

import torch
from torch import Tensor

from selfieavatar.detection.face_descriptor import CHIP_PX, CHIP_SCALE


def face_squares(face: Tensor) -> Tensor:
    """Find the square around each face as rows (K,5): image, x0, y0, x1, y1 in px; none for an image without a face.

    face: (B,1,H,W), above 0 on the face.
    """
    seen = face[:, 0] > 0
    known = seen.flatten(1).any(1).nonzero()[:, 0]
    ends = []
    for line in (seen[known].any(1), seen[known].any(2)):  # columns, rows
        place = torch.arange(line.shape[1], device=face.device)
        first = torch.where(line, place, line.shape[1]).amin(1)
        last = torch.where(line, place, -1).amax(1) + 1
        ends.append((first.float(), last.float()))
    (x0, x1), (y0, y1) = ends
    x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, CHIP_SCALE * torch.maximum(x1 - x0, y1 - y0) / 2
    return torch.stack([known.float(), x - half, y - half, x + half, y + half], 1)


def face_chips(image: Tensor, squares: Tensor) -> Tensor:
    """Cut out squares of `face_squares` and resample them to (K,3,150,150), black outside the image.

    Pixels are averaged where the square is shrunk, else interpolated; gradients reach the image (B,3,H,W).
    """
    from torchvision.ops import roi_align  # takes a second, which who needs the constants alone does without

    return roi_align(image, squares, CHIP_PX, sampling_ratio=-1, aligned=True)
