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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from selfieavatar.errors import UserError

log = logging.getLogger(__name__)

_ELSEWHERE = "remove it, or set TMPDIR to a folder of your own"


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


def _own_folder(folder: Path, locks: ExitStack) -> int:
    """Open the folder of the locks, made where it is missing.

    Its name can be guessed and anybody may write beside it, so that nothing is believed but the open folder itself.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    inside = _opened(folder, os.O_RDONLY | os.O_DIRECTORY, locks, folder)
    found = os.fstat(inside)
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UserError(f"{folder}, which keeps the locks of GPUs, is open to others; {_ELSEWHERE}")
    return inside


def _opened(name: Path | str, flags: int, locks: ExitStack, folder: Path, inside: int | None = None) -> int:
    """Open a file or folder that is no link, until `locks` are closed."""
    try:
        opened = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=inside)
    except OSError as error:
        raise UserError(f"the locks of GPUs cannot be kept in {folder} ({error.strerror}); {_ELSEWHERE}") from error
    locks.callback(os.close, opened)
    return opened


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
    # Slurm gives each of its jobs GPUs of its own, and may number them from 0 for each.
    job = f"job{os.environ['SLURM_JOB_ID']}-" if "SLURM_JOB_ID" in os.environ else ""
    with ExitStack() as locks:
        inside = _own_folder(folder, locks)
        leased: list[str] = []
        for name in gpus:
            lock = _opened(
                f"{job}{name.replace('/', '_')}"[:200] + ".lock", os.O_RDWR | os.O_CREAT, locks, folder, inside
            )
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
