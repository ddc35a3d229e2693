"""Lease outputs, so that of two runs only one makes them, on any host and on file systems without reliable locks.

The lease of `results/anna` is the file `results/.anna.lease`; it covers all that lies below. It is created by O_EXCL,
which is atomic on NFS, too; it names its owner, and its time of change is a heartbeat. How old that is tells the file
system's own clock, which all hosts share. Before each commit of an output a run checks that the lease is still its own:
one that was halted, and taken over meanwhile, ends instead of replacing finished work (docs/decisions/0023-leases.md).

A run is a Snakemake process with the stages that it starts, on whichever host, or a stage that was started by hand. Who
belongs to it knows it by an environment variable.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import platform
import secrets
import shlex
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, unquote

from selfieavatar.errors import UserError
from selfieavatar.io.owner import is_gone, place, start_of

log = logging.getLogger(__name__)

VARIABLE = "SELFIEAVATAR_RUN"
BEAT_S, STALE_S = 20.0, 300.0  # between two heartbeats; without one, an owner on another host counts as dead
UNKNOWN = "?"
_MOST_BYTES = 1 << 14  # of a lease that is read


@dataclass(frozen=True)
class Owner:
    """Whom a lease names, and the time of its last heartbeat by the clock of the file system, s."""

    token: str
    user: str = "somebody"
    host: str = UNKNOWN
    place: str = ""
    pid: int = 0
    start: str = ""
    since: str = UNKNOWN
    command: str = UNKNOWN
    beat_s: float = 0.0

    def is_dead(self, age_s: float) -> bool:
        """Tell whether a lease may be taken over: its process has ended here, or was not heard of from elsewhere."""
        return is_gone(self.place, self.pid, self.start) if self.place == place() else age_s > STALE_S

    def describe(self, age_s: float) -> str:
        """Write who it is, since when, and how long ago the last heartbeat was."""
        return f"{self.name()}, since {self.since}, last heard of {age_s:.0f} s ago ({self.command})"

    def name(self) -> str:
        """Write user, host and process."""
        return f"{self.user} on {self.host}, process {self.pid}"


@dataclass
class Run:
    """What all processes of a run know.

    Attributes:
        held: lease files; none may get lost.
        roots: folders of results, whose every folder needs a lease of this run: `root/.<name>.lease`.
    """

    token: str
    held: list[str] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)

    def publish(self) -> None:
        """Have the processes that are started from now on belong to this run."""
        os.environ[VARIABLE] = quote(json.dumps(asdict(self)))  # no character that a shell would take for its own

    def needed(self, path: Path) -> list[Path]:
        """List the leases without which this run must not touch `path`."""
        folders = [folder for root in self.roots if (folder := folder_of(Path(root), path))]
        return [Path(name) for name in self.held] + [lease_file(folder) for folder in folders]


def folder_of(root: Path, path: Path) -> Path | None:
    """Find the folder of a folder of results that a path lies in; None for what all subjects share.

    Both are absolute. No subject is called `logs`: the sheet refuses it.
    """
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    return root / parts[0] if len(parts) > 1 and parts[0] != "logs" else None


def current_run() -> Run | None:
    """Give the run that this process belongs to."""
    text = os.environ.get(VARIABLE)
    return Run(**json.loads(unquote(text))) if text else None


def new_run() -> Run:
    """Make a run that holds nothing yet."""
    return Run(secrets.token_hex(16))


def lease_file(path: Path) -> Path:
    """Name the lease of a file or folder."""
    return path.with_name(f".{path.name}.lease")


def refuse_lost(path: Path | str) -> None:
    """Check that this run may write or remove `path`; to be asked at the last moment before.

    Raises:
        UserError: another run has taken over the lease, or somebody else holds one.
    """
    path, run = Path(os.path.abspath(path)), current_run()
    token = run.token if run else ""
    for file in run.needed(path) if run else ():
        owner = read_owner(file)
        if owner is None or owner.token != token:
            by = f"taken over by {owner.user} on {owner.host}, process {owner.pid}" if owner else "removed"
            raise UserError(
                f"{path} is left alone, since the lease of this run, {file}, was {by}; give the same command again, "
                "which makes only what is missing"
            )
    refuse_others(path, token)


def refuse_others(path: Path, token: str = "") -> None:
    """Check that nobody else works on `path` or a folder above it.

    Raises:
        UserError: says who, since when, and what to do.
    """
    path = Path(os.path.abspath(path))
    for one in (path, *path.parents[:-1]):
        file = lease_file(one)
        if (owner := read_owner(file)) and owner.token != token:
            _refuse_living(one, owner, _age(file, owner))


def _refuse_below(path: Path, token: str) -> None:
    """Check that nobody works on what lies in a folder: a stage that was started by hand leases its outputs."""
    for pattern in (".*.lease", "*/.*.lease", "*/*/.*.lease"):
        for file in path.glob(pattern):
            if (owner := read_owner(file)) and owner.token != token:
                _refuse_living(file.with_name(file.name[1 : -len(".lease")]), owner, _age(file, owner))


def _refuse_living(path: Path, owner: Owner, age_s: float) -> None:
    if not owner.is_dead(age_s):
        raise UserError(
            f"{path} is being made by {owner.describe(age_s)}: wait until that has ended and give the same command "
            f"again; if you know that it is dead, first type: rm {shlex.quote(str(lease_file(path)))}"
        )


def facts_of_owner(token: str = "") -> dict[str, object]:
    """Collect what a lease says of this process; `read_owner` reads it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        user = str(os.getuid())
    facts: dict[str, object] = {"token": token, "user": user, "host": platform.node(), "place": place()}
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    command = shlex.join(sys.orig_argv)[:400]
    return facts | {"pid": os.getpid(), "start": start_of(os.getpid()), "since": since, "command": command}


class Holder:
    """Take leases for a run, keep their hearts beating on a thread, and release them."""

    def __init__(self, run: Run) -> None:
        self.run, self.files, self._pid = run, dict[Path, None](), os.getpid()
        self._folders: list[Path] = []  # made for a lease, the innermost first
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, paths: Iterable[Path]) -> None:
        """Take the leases of all paths, or of none. From a dead owner a lease is taken over.

        Raises:
            UserError: another run is at work on one of them.
        """
        taken = []
        try:
            for path in dict.fromkeys(Path(os.path.abspath(path)) for path in paths):
                file = lease_file(path)
                if file in self.files:
                    continue
                refuse_others(path, self.run.token)
                _refuse_below(path, self.run.token)
                self._create(path, file)
                taken.append(file)
                self.files[file] = None
                # Of two that lease a folder and a file in it at once, one sees the other.
                refuse_others(path, self.run.token)
        except BaseException:
            self._drop(taken)
            raise
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
            self._thread.start()

    def clear(self, folder: Path) -> None:
        """Remove the leases right below a folder whose owners have ended on this host, as of runs that were killed."""
        for file in folder.glob(".*.lease"):
            owner = read_owner(file)
            if owner and owner.place == place() and owner.is_dead(0):
                with suppress(OSError):  # somebody else's, in a folder that all may write
                    _bury(file, owner)

    def release(self) -> None:
        """Release all leases that are still this run's."""
        if os.getpid() == self._pid:
            self._end.set()
            self._drop(list(self.files))

    def _drop(self, files: list[Path]) -> None:
        for file in files:
            self.files.pop(file, None)
            if (owner := read_owner(file)) and owner.token == self.run.token:
                with suppress(OSError):
                    file.unlink()
        for folder in self._folders:
            with suppress(OSError):  # something lies in it
                folder.rmdir()

    def _create(self, path: Path, file: Path) -> None:
        self._folders = [folder for folder in file.parents if not folder.exists()] + self._folders
        file.parent.mkdir(parents=True, exist_ok=True)
        while not _write_new(file, json.dumps(facts_of_owner(self.run.token), indent=1)):
            owner = read_owner(file)
            if owner is None:
                continue  # released in between
            if owner.token == self.run.token:
                return
            age_s = _age(file, owner)
            _refuse_living(path, owner, age_s)
            log.warning("%s is taken over from %s, which is dead", path, owner.describe(age_s))
            _bury(file, owner)

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            for file in list(self.files):
                with suppress(OSError):  # a disk that is away for a moment; a lease that was taken over
                    if (owner := read_owner(file)) and owner.token == self.run.token:
                        os.utime(file)


@contextmanager
def leased(paths: Iterable[Path]) -> Iterator[None]:
    """Hold the leases of what a stage is about to write; of a stage that a run has started, check that run's.

    Raises:
        UserError: another run is at work there.
    """
    run = current_run()
    if run is not None:
        for path in paths:
            refuse_lost(path)
        yield
        return
    holder = Holder(new_run())
    try:
        holder.take(paths)
        holder.run.held = [str(file) for file in holder.files]
        holder.run.publish()
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        holder.release()


def _write_new(file: Path, text: str) -> bool:
    """Create a file by O_EXCL, which writes through no planted link; False where there is something already."""
    try:
        new = file.open("x", encoding="utf-8")
    except FileExistsError:
        return False
    try:
        with new:
            new.write(text)
    except OSError:  # a full disk
        file.unlink(missing_ok=True)
        raise
    return True


def read_owner(file: Path) -> Owner | None:
    """Read a lease; None where there is none. Of one that is not readable only its time is known."""
    try:  # opening, unlike `stat`, has NFS ask the server instead of its memory of some seconds ago
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # a planted link, or a lease that only its owner may read
        try:
            return Owner(UNKNOWN, beat_s=file.lstat().st_mtime)
        except OSError:  # no name that the file system takes, or a folder that is closed to this user
            return None
    try:
        status = os.fstat(handle)
        text = os.read(handle, _MOST_BYTES) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(handle)
    try:
        facts = json.loads(text)
        known = {name: _plain(facts[name]) for name in ("token", "user", "host", "place", "start", "since", "command")}
        return Owner(**known, pid=int(facts["pid"]), beat_s=status.st_mtime)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Owner(UNKNOWN, beat_s=status.st_mtime)


def _plain(value: object) -> str:
    """Make what somebody else wrote fit for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:400])


def _age(file: Path, owner: Owner) -> float:
    """Measure the seconds since the last heartbeat by the clock of the file system, on a file that is written there."""
    probe = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        with probe.open("x") as new:
            new.write("now")
        now_s = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # where nothing can be written, nothing is taken over either
        now_s = owner.beat_s
    return max(now_s - owner.beat_s, 0.0)


def _bury(file: Path, dead: Owner) -> None:
    """Remove a dead owner's lease; put back what another run has taken since it was read."""
    grave = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        os.rename(file, grave)  # of several runs, one gets it
    except FileNotFoundError:
        return
    moved = read_owner(grave)
    if moved is not None and moved.token not in (dead.token, UNKNOWN):
        # If a third one is quicker still, that owner sees at its next commit that it has lost the lease.
        _write_new(file, grave.read_text(encoding="utf-8"))
    with suppress(OSError):
        grave.unlink()
