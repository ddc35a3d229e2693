"""Tell a rule when a folder that it reads has changed.

Snakemake knows a folder by the time at which an entry last came or went: a mask that is painted over leaves that as it
is, and a desktop's `.DS_Store` moves it. So folders are ancient inputs, and a param of the rule holds a digest of the
files that are read of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from snakemake.io import ancient, local

from selfieavatar.io.images import list_images

_DESKTOP = {"thumbs.db", "desktop.ini"}


def as_input(path: str) -> str:
    """Mark what people bring as an input of this machine, never of a storage; the time of a folder means nothing."""
    return local(ancient(path) if Path(path).is_dir() else path)


def images_digest(*inputs: str | Iterable[str]) -> str:
    """Digest the images in those of a rule's inputs that are folders, to be a param; empty where none is."""
    return _digest(inputs, list_images)


def files_digest(*inputs: str | Iterable[str]) -> str:
    """Digest all files, but for hidden ones, in those of a rule's inputs that are folders; empty where none is."""
    return _digest(inputs, _files)


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    return sorted(path for path in found if path.name.lower() not in _DESKTOP)


def _digest(inputs: Iterable[str | Iterable[str]], files: Callable[[Path], list[Path]]) -> str:
    paths = [path for given in inputs for path in ([given] if isinstance(given, str) else given)]
    folders = [path for path in dict.fromkeys(paths) if Path(path).is_dir()]
    states = b"".join(state_of(path, files) for path in folders)
    return hashlib.blake2b(states, digest_size=8).hexdigest() if folders else ""


@cache  # the jobs of a run see the same state, and clips of one subject ask for one another's
def state_of(folder: str, files: Callable[[Path], list[Path]]) -> bytes:
    """Digest names, sizes and times of modification: to read 10,000 images before each run would take minutes."""
    digest = hashlib.blake2b()
    for path in files(Path(folder)):
        state = path.stat() if path.exists() else path.lstat()  # the stage says that a link leads nowhere
        # Whole seconds: archives and copies keep no more.
        digest.update(f"{path.name}\0{state.st_size}\0{int(state.st_mtime)}\0".encode(errors="surrogateescape"))
    return digest.digest()
