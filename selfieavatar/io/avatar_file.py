"""Read avatar.pt as the plain dict that it is; nothing in the file is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.pickles import load_torch

FORMAT = 3


def read_avatar(path: Path) -> dict[str, Any]:
    """Read the content of an avatar.pt, on the CPU: tensors, numbers, texts, and dicts and lists of these.

    Raises:
        UserError: missing, damaged, not an avatar, or of another format.
    """
    if not path.is_file():
        raise UserError(f"the avatar {path} is missing; train it first (snakemake {path})")
    try:
        content = load_torch(path)
    except UserError as error:
        raise UserError(
            f"{path} is not a readable avatar: it is damaged, or another kind of file ({_reason(error, path)}); "
            "train it again or fetch it again"
        ) from error
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(f"{path} is not an avatar of this project; give an avatar.pt that the train stage wrote")
    if type(content["format"]) is not int or content["format"] != FORMAT:
        raise UserError(
            f"{path} has format {str(content['format'])[:20]}, this version reads format {FORMAT}; train it again"
        )
    return _tensors(content)


def _reason(error: UserError, path: Path) -> str:
    return str(error).removeprefix(f"{path} ").partition(";")[0]


def _tensors(value: Any) -> Any:
    """Put tensors in the place of arrays, which share their memory."""
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    return type(value)(map(_tensors, value)) if isinstance(value, list | tuple) else value
