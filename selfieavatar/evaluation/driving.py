"""Drive an avatar by frames of a clip of its own person: by the face alone, as any driver's, or as it was tracked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from selfieavatar.evaluation.frames import Images

if TYPE_CHECKING:
    from torch import Tensor

    from selfieavatar.avatar import Avatar

COEFFICIENTS = ("rotation", "translation", "expression", "gaze")


def driver_only(avatar: Avatar, images: Images, clip: str, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw I_R and I_UV (N,S,S,3) float32 in [0,1] from what the face in these frames (N,) tells.

    Pose, expression and gaze are those of the clip's fit; the light is the avatar's mean light, and the torso lies
    where the pose of the head tells. Nothing else of the frames is looked at.
    """
    fit = images.clip(clip).manifest("fit")
    rows = np.searchsorted(fit["frame"], frames)
    render, uv = avatar.pose(*(np.nan_to_num(fit[name][rows]).astype(float) for name in COEFFICIENTS))
    return _array(render), _array(uv)


def _array(images: Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).contiguous().numpy()
