"""Read published morphable models behind the interface of selfieavatar.morphable.model.

`facemesh` is learnt from the subject's clips; the others are published, and `load_model` reads their files.
"""

from collections.abc import Callable
from pathlib import Path

from selfieavatar.morphable.published import bfm, faceverse, flame, ict
from selfieavatar.morphable.published.published_model import PublishedModel

LOADERS: dict[str, Callable[..., PublishedModel]] = {
    module.NAME: module.load for module in (ict, flame, faceverse, bfm)
}


def load_model(name: str, path: Path | str, landmarks: str | None = None) -> PublishedModel:
    """Load a published model with an identity space.

    Args:
        name: one of `LOADERS`. path: its file or folder (docs/models.md).
        landmarks: the detector's set (morphable.landmark_sets) that `landmark_vertices` shall number; default: the
            set that the model has, MediaPipe's where it has several.

    Raises:
        UserError: missing or unusable files, or a set that has no places on this model.
        KeyError: no such model.
    """
    if name not in LOADERS:
        raise KeyError(f"unknown model {name!r}; known: {', '.join(LOADERS)}")
    return LOADERS[name](Path(path), *([landmarks] if landmarks else []))
