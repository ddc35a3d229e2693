"""Keep what shows or describes a person to the account that made it.

Files get 0600 and folders 0700, whatever the shell's umask is. Who shares results with a group says so by
SELFIEAVATAR_UMASK: 027 lets the group read, 007 lets it write, too.
"""

from __future__ import annotations

import errno
import logging
import os
from functools import cache
from pathlib import Path

from selfieavatar.errors import UserError

log = logging.getLogger(__name__)

UMASK = "SELFIEAVATAR_UMASK"
_KEPT = 0o7000  # the setgid bit of a group's folder, which chmod would clear


def share_mask() -> int:
    """Read the permissions that are taken from files: 0o077 unless SELFIEAVATAR_UMASK says otherwise.

    Raises:
        UserError: it is no umask, or would keep the owner out.
    """
    text = os.environ.get(UMASK) or "077"
    mask = int(text, 8) if len(text) <= 4 and set(text) <= set("01234567") else -1
    if not 0 <= mask <= 0o077:
        raise UserError(f"{UMASK} is '{text}'; give a umask of 000 to 077 in octal, such as 027")
    return mask


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing; one that is there keeps its permissions."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        _restrict(folder, 0o777 & ~share_mask())


def restrict(path: Path) -> None:
    """Give a file, or a folder with all that lies in it, the permissions of outputs."""
    mask = share_mask()
    if not path.is_dir():
        _restrict(path, 0o666 & ~mask)
        return
    for folder, _, files in os.walk(path):  # does not follow links
        _restrict(Path(folder), 0o777 & ~mask)
        for name in files:
            _restrict(Path(folder, name), 0o666 & ~mask)


def _restrict(path: Path, mode: int) -> None:
    if path.is_symlink():
        return
    found = path.stat().st_mode & 0o7777
    wanted = mode | (found & _KEPT)
    if found != wanted:  # the owner alone may change it, even to what it is
        try:
            path.chmod(wanted)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise
            _warn_once(path)


@cache
def _warn_of(disk: int) -> None:
    log.warning("the disk of the results keeps no permissions of its own: who may read it may read them")


def _warn_once(path: Path) -> None:
    _warn_of(path.stat().st_dev)
