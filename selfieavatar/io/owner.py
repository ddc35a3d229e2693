"""Tell who a process is, and whether the one that a file names is surely gone."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


@cache
def place() -> str:
    """Name by eight hexadecimal digits where process ids have their meaning: host, boot, and container if any.

    Two machines may have the same name, and two containers the same host.
    """
    boot = _read("/proc/sys/kernel/random/boot_id")
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        space = ""
    return hashlib.blake2b("\n".join((platform.node(), boot, space)).encode(), digest_size=4).hexdigest()


def start_of(pid: int) -> str:
    """Read when a process started, in ticks since boot; empty where it has ended or the system does not say."""
    state, *fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split() or [""]
    return fields[18] if len(fields) > 18 and state not in "ZX" else ""


def is_gone(where: str, pid: int, start: str = "") -> bool:
    """Tell whether the process has surely ended: it was of this place, and its id is free or another's by now.

    start: its `start_of`, if known; without, a process that has taken over the id counts as the one that is meant.
    """
    if where != place() or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # of another user, who may hide it from /proc
        return False
    now = start_of(pid)
    return bool(start_of(os.getpid())) and (not now or (bool(start) and now != start))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
