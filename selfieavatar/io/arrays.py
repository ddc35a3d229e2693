"""Reading of .npz files that somebody may have damaged or meddled with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError


def read_identity(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an identity.npz; nothing in it is unpickled.

    Raises:
        UserError: the file is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"the identity {path} is missing; run the workflow again to make it")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # depending on where the file is damaged, NumPy raises a dozen different ones
        raise UserError(f"{path} is not a readable identity ({error}); delete it and run the workflow again") from error
