"""Which processor a stage runs on. Snakemake counts GPUs but never picks one: a file lock does.

The lock belongs to the open file, so the kernel frees the card when the process ends in whatever way.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.core.errors import UserError

log = logging.getLogger(__name__)


def visible_cards() -> list[str]:
    """Identifiers of the NVIDIA cards that this process may use, without importing torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [card for card in allowed.split(",") if card.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return answer.stdout.split() if answer.returncode == 0 else []


@contextmanager
def lease_device(gpu: int, lock_folder: Path | None = None) -> Iterator[str]:
    """Hold one card for the length of the block, or none.

    Call it before torch is imported: it sets CUDA_VISIBLE_DEVICES.

    Args:
        gpu: cards that Snakemake granted; 0 means the CPU.

    Yields:
        "cuda:0" or "cpu". A machine without a card gives "cpu", whatever was granted.

    Raises:
        UserError: there are cards, but other runs hold all of them.
    """
    cards = visible_cards() if gpu > 0 else []
    if not cards:
        if gpu > 0:
            log.info("no NVIDIA card on this machine: running on the CPU")
        yield "cpu"
        return
    folder = lock_folder or Path(tempfile.gettempdir()) / f"selfieavatar-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for card in cards:
        with (folder / f"{card.replace('/', '_')}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            os.environ["CUDA_VISIBLE_DEVICES"] = card
            log.info("leased card %s", card)
            yield "cuda:0"
            return
    raise UserError(
        f"all {len(cards)} cards of this machine are in use by other runs; wait for them, "
        "or lower the number with --resources gpu=N"
    )
