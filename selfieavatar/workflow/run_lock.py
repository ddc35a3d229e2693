"""Take away the locks of those Snakemake runs of a folder that were killed.

Snakemake's own locks are files, which stay when it is killed (`kill -9`, a power cut, the kernel for want of memory):
the next run would ask for `snakemake --unlock`. So each run leaves a note of who it is for as long as it lives. Where
all that have left one are surely gone, nobody holds the locks; where one is alive, the next run says who it is.
"""

from __future__ import annotations

import atexit
import json
import os
from functools import cache
from pathlib import Path

from snakemake.exceptions import LockException, WorkflowError
from snakemake.logging import logger

from selfieavatar.io.lease import facts_of_owner, read_owner
from selfieavatar.io.owner import is_gone, place, start_of

NOTES = "selfieavatar.runs"


@cache  # one note for this process, however often the Snakefile is read
def hold_run(folder: Path) -> Path | None:
    """Note that this run is alive; where all others that have left a note were killed, remove their locks.

    Args:
        folder: Snakemake's own, `.snakemake`; its locks are those of all runs of the working folder.

    Returns:
        The note; None where none can be written: Snakemake then asks for `--unlock`, as ever.
    """
    pid = os.getpid()
    note = folder / NOTES / f"{place()}-{pid}-{start_of(pid)}"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(facts_of_owner(), indent=1))
        others = [other for other in note.parent.iterdir() if other != note]
        gone = [other for other in others if _is_gone(other.name)]
        stale = sorted(folder.glob("locks/*.lock")) if others and gone == others else []
        for path in (*stale, *gone):
            path.unlink(missing_ok=True)
    except OSError:
        return None
    if stale:
        logger.info("An earlier run of this folder was killed; its lock is removed.")
    atexit.register(_remove, note, pid)
    LockException.__init__ = lambda self: WorkflowError.__init__(self, _who_holds_the_lock(note))
    return note


def _who_holds_the_lock(mine: Path) -> str:
    """Say it in place of Snakemake's advice to --unlock, which would let two runs make the same files."""
    living = [note for note in mine.parent.iterdir() if note != mine and not _is_gone(note.name)]
    owners = [
        f"{owner.name()}, since {owner.since} ({owner.command})" for note in living if (owner := read_owner(note))
    ]
    dead = f"if you know that no other run is at work there, remove the files in {mine.parents[1] / 'locks'}"
    if not owners:
        return f"{Path.cwd()} is locked, and nothing says by whom; {dead} and give the same command again"
    return (
        f"some of these files are being made from this folder by {'; or by '.join(owners)}: wait until that has ended "
        f"and give the same command again; {dead}"
    )


def _is_gone(name: str) -> bool:
    where, _, rest = name.partition("-")
    pid, _, start = rest.partition("-")
    return pid.isdecimal() and is_gone(where, int(pid), start)


def _remove(note: Path, pid: int) -> None:
    if os.getpid() == pid:  # not of a child that was forked
        note.unlink(missing_ok=True)
