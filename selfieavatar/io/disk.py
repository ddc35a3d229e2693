"""Check that what is about to be written fits on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from selfieavatar.errors import UserError

SPARE = 1.1  # times what is needed
# Bytes that a frame's images take together: frames/, alpha/, render/, uv/ as PNG, generously (docs/batches.md has
# what they took: 3 a pixel at 128 px, less above), and the last block of each file.
PIXEL_BYTES, FILE_BYTES, FILES = 3, 4096, 4


def image_bytes(count: int, size_px: int) -> int:
    """Estimate the bytes of the images of a clip of `count` frames, those of all stages together."""
    return count * (PIXEL_BYTES * size_px**2 + FILES * FILE_BYTES)


def refuse_images(out: Path, count: int, size_px: int) -> None:
    """Check that the disk of `out` has room for `image_bytes`.

    Raises:
        UserError: says how much is needed, how much is free, and what to do.
    """
    refuse_full_disk(
        out.parent,
        image_bytes(count, size_px),
        f"that is for the images of {count} frames, those of later stages, too: free some space, let images go "
        "after their last use (storage.keep_pictures: false), choose another folder of results (--config results=...), "
        "or a shorter range (end_frame in the sheet)",
    )


def refuse_full_disk(out: Path, needed: float, advice: str) -> None:
    """Check that the disk of `out`, which may be missing yet, has room for the bytes `needed` and a tenth more.

    Raises:
        UserError: says how much is needed, how much is free, and the `advice`.
    """
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if SPARE * needed > free:
        raise UserError(
            f"{out} would take about {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free there; {advice}"
        )
