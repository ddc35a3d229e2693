"""Read the images of a clip: frame n, its alpha, its render and its UV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.images import image_name, read_image
from selfieavatar.io.manifest import Manifest, read_manifest


class ClipStore:
    """One clip's folder of results.

    Images are stored as frames (S, S, 3) and alpha (S, S), uint8; render (S, S, 3), uint8; uv (S, S, 3), uint16, whose
    third channel is the mask of the face.

    Args:
        folders: where images of a kind (frames, alpha, render, uv) lie, if elsewhere than in the clip's `folder`.
    """

    def __init__(self, folder: Path, **folders: Path) -> None:
        self.folder, self._folders = folder, folders

    def path(self, kind: str, frame: int) -> Path:
        """Name the path of an image of a kind."""
        return self._folders.get(kind, self.folder / kind) / image_name(int(frame))

    def image(self, kind: str, frame: int) -> np.ndarray:
        """Read an image.

        Raises:
            UserError: it is missing or damaged.
        """
        return read_image(self.path(kind, frame))

    def images(self, kind: str, frames: Iterable[int]) -> np.ndarray:
        """Read images of one size as an array (N, ...)."""
        return np.stack([self.image(kind, frame) for frame in frames])

    def manifest(self, kind: str) -> Manifest:
        """Read the manifest that a stage has written of the clip.

        Raises:
            UserError: it is missing, damaged, or of another version.
        """
        return read_manifest(self.folder / f"{kind}.parquet", kind)

    def rows(self, kind: str, frames: np.ndarray) -> tuple[Manifest, np.ndarray]:
        """Read a manifest of the clip and find the rows (N,) of frames (N,) in it.

        Raises:
            UserError: as `manifest`, or it lacks one of the frames.
        """
        found = self.manifest(kind)
        rows = np.searchsorted(found["frame"], frames)
        if (rows >= len(found)).any() or not np.array_equal(found["frame"][rows], frames):
            raise UserError(f"{self.folder / kind}.parquet lacks frames that are asked for; run the workflow again")
        return found, rows
