"""Lease the GPUs that a stage was granted. Snakemake counts GPUs but never picks one: a file lock does.

The lock belongs to the open file, so the kernel frees the GPU when the process ends in whatever way.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from selfieavatar.errors import UserError

log = logging.getLogger(__name__)


def visible_gpus() -> list[str]:
    """List identifiers of the NVIDIA GPUs that this process may use, without importing torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [gpu for gpu in allowed.split(",") if gpu.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return answer.stdout.split() if answer.returncode == 0 else []


@contextmanager
def lease_device(gpu: int, lock_folder: Path | None = None) -> Iterator[str]:
    """Hold as many GPUs as granted for the length of the block, or none.

    Call it before torch first looks for GPUs, which importing it does not do: it sets CUDA_VISIBLE_DEVICES.

    Args:
        gpu: GPUs that Snakemake granted; 0 means the CPU.

    Yields:
        "cuda:0", the first of them, or "cpu". A machine without a GPU gives "cpu", whatever was granted.

    Raises:
        UserError: there are GPUs, but fewer than granted, or other runs hold too many of them.
    """
    gpus = visible_gpus() if gpu > 0 else []
    if not gpus:
        if gpu > 0:
            log.info("no NVIDIA GPU on this machine: running on the CPU")
        yield "cpu"
        return
    if len(gpus) < gpu:
        raise UserError(f"{gpu} GPUs are asked for, but this machine has {len(gpus)}; lower gpu of the rule")
    folder = lock_folder or Path(tempfile.gettempdir()) / f"selfieavatar-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as locks:
        leased: list[str] = []
        for name in gpus:
            lock = locks.enter_context((folder / f"{name.replace('/', '_')}.lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            leased.append(name)
            if len(leased) == gpu:
                os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(leased)
                log.info("leased GPU %s", ", ".join(leased))
                yield "cuda:0"
                return
    free = "all" if not leased else f"all but {len(leased)} of the"
    raise UserError(
        f"{free} {len(gpus)} GPUs of this machine are in use by other runs; wait for them, "
        "or lower the number with --resources gpu=N"
    )
