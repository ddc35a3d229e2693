"""Face model and camera in the arrays of an identity.npz, which may be damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera
from selfieavatar.morphable.model import MorphableModel


def model_and_camera(arrays: Mapping[str, np.ndarray], path: Path) -> tuple[MorphableModel, Camera]:
    """The subject's face, and the camera of the images that it was learnt from.

    Raises:
        UserError: the arrays of the file `path` are not those of an identity.
    """
    try:
        x, y = np.asarray(arrays["principal"], float)
        camera = Camera(float(arrays["focal_px"]), (float(x), float(y)), int(arrays["size_px"]))
        return MorphableModel.from_arrays(arrays), camera
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a readable identity ({error}); delete it and run the workflow again") from error
