"""Read avatar.pt as the plain dict that it is; nothing in the file is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfieavatar.errors import UserError

FORMAT = 3


def read_avatar(path: Path) -> dict[str, Any]:
    """Read the content of an avatar.pt, on the CPU.

    Raises:
        UserError: missing, damaged, not an avatar, or of another format.
    """
    import torch

    if not path.is_file():
        raise UserError(f"the avatar {path} is missing; train it first (snakemake {path})")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # depending on the damage, torch raises a dozen different ones
        raise UserError(
            f"{path} is not a readable avatar: it is damaged, or another kind of file; train it again or fetch it again"
        ) from error
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(f"{path} is not an avatar of this project; give an avatar.pt that the train stage wrote")
    if type(content["format"]) is not int or content["format"] != FORMAT:
        raise UserError(f"{path} has format {content['format']}, this version reads format {FORMAT}; train it again")
    return content
