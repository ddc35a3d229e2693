"""Know whether a run of this folder is alive, and take away the locks of those that were killed.

Snakemake's own locks are files, which stay when it is killed (`kill -9`, a power cut, the kernel for want of memory):
the next run would ask for `snakemake --unlock`. The kernel's lock on one file vanishes with the process that holds it.
"""

from __future__ import annotations

import fcntl
from functools import cache
from pathlib import Path
from typing import IO

from snakemake.logging import logger

NAME = "selfieavatar.lock"


@cache  # the file stays open, and the lock held, until this process ends
def hold_run(folder: Path) -> IO[bytes] | None:
    """Note that this run is alive; where no other one is, remove the locks of runs that were killed.

    Args:
        folder: Snakemake's own, `.snakemake`; its locks are those of all runs of the working folder.

    Returns:
        The open file that holds the lock; None where none can be had, on a disk without them or read-only: Snakemake
        then asks for `--unlock`, as ever.
    """
    try:
        folder.mkdir(exist_ok=True)
        file = (folder / NAME).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale = sorted(folder.glob("locks/*.lock"))
            for path in stale:
                path.unlink(missing_ok=True)
            if stale:
                logger.info("An earlier run of this folder was killed; its lock is removed.")
        except BlockingIOError:
            pass  # another run of this folder is alive: what is locked stays so
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        return None
    return file
