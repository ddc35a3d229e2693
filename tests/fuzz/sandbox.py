"""Run a reader in a child process with bounds on memory and time, and watch what it touches."""

import contextlib
import faulthandler
import gc
import logging
import os
import pickle
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from selfieavatar.errors import UserError

MEMORY = 4 << 30  # of data, beyond what the parent holds already
SECONDS = 60
# What a reader has no business to do. The reader's own folder is told apart from others by the hook.
EXECUTES = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.startfile", "ctypes.dlopen")
CONNECTS = ("socket.connect", "socket.bind", "urllib.Request", "ftplib.connect", "http.client.connect")
WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")
KEPT_CODE = {".numba_cache", "__pycache__"}  # what Python and numba keep of compiled code
LONGEST = 6000  # characters: a sheet names many rows at once


@dataclass
class Outcome:
    """How a reader ended: ok, refused, or what is wrong with it.

    Attributes:
        kind: "read", "refused", "error", "hang", "memory", "crash", "escape".
        said: the sentence, or the end of the traceback.
    """

    kind: str
    said: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def good(self) -> bool:
        """Whether it ended as it should."""
        return self.kind in ("read", "refused")


def run(read: Callable[[Path], object], path: Path, seconds: float = SECONDS) -> Outcome:
    """Read `path` in a child process, which may write into the folder of `path` alone."""
    sender, receiver = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(sender)
        _in_child(read, path, receiver)
    os.close(receiver)
    try:
        with os.fdopen(sender, "rb") as pipe:
            said = _until(pipe, began + seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
    took, peak = time.monotonic() - began, usage.ru_maxrss * 1024
    if said is None:
        return Outcome("hang", f"longer than {seconds:.0f} s", took, peak)
    if not said:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return Outcome("crash", f"signal {number}", took, peak)
    kind, text = pickle.loads(said)  # ours: the child's pipe
    return Outcome(kind, text, took, peak)


def _until(pipe, end: float) -> bytes | None:
    """Read all of a pipe; None where that takes too long."""
    import select

    said = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(pipe.fileno(), 1 << 16)
        if not chunk:
            return said
        said += chunk


def _in_child(read: Callable[[Path], object], path: Path, receiver: int) -> None:
    os.setpgrp()
    faulthandler.disable()
    gc.disable()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    held = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.chdir(path.parent)
    try:
        outcome = _judged(read, path)
    except BaseException as error:
        outcome = "error", repr(error)
    os.write(receiver, pickle.dumps(outcome)[:60_000])
    os._exit(0)


def _judged(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    escaped: list[str] = []
    own = str(path.parent.resolve())
    environment = sys.prefix, os.path.realpath(sys.prefix)  # .venv may be a link

    def watch(event: str, args: tuple) -> None:
        # Libraries of the environment may be opened late, and SciPy may read in a process of its own.
        foreign = event not in ("ctypes.dlopen", "subprocess.Popen") or not str(args[0]).startswith(environment)
        if (event in EXECUTES and foreign) or event in CONNECTS:
            escaped.append(f"{event} {args!r}"[:300])
        elif event == "open":
            name, mode, flags = args
            if isinstance(name, (str, bytes)) and (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                _outside(os.fsdecode(name), "open")
        elif event in WRITES and isinstance(args[0], (str, bytes)):
            _outside(os.fsdecode(args[0]), event)

    def _outside(name: str, event: str) -> None:
        place = os.path.realpath(name)
        if not place.startswith((own + os.sep, "/dev/null", "/dev/shm")) and not KEPT_CODE & set(Path(place).parts):
            escaped.append(f"{event} {place}"[:300])

    sys.addaudithook(watch)
    try:
        read(path)
        kind, said = "read", ""
    except UserError as error:
        kind, said = _sentence(str(error))
    except SystemExit as error:
        kind, said = ("read", "") if not error.code else ("refused", f"status {error.code}")
    except MemoryError:
        kind, said = "memory", traceback.format_exc()[-1500:]
    except BaseException:
        kind, said = "error", traceback.format_exc()[-1500:]
    return ("escape", "; ".join(escaped[:5])) if escaped else (kind, said)


def _sentence(text: str) -> tuple[str, str]:
    """Judge what a user is told: no traceback, no control characters, of a length that is read."""
    if not text.strip() or len(text) > LONGEST or "Traceback" in text:
        return "error", f"no sentence for people: {text[:300]!r} ({len(text)} characters)"
    if any(ord(letter) < 32 and letter not in "\n\t" or letter == "\x1b" for letter in text):
        return "error", f"control characters in {text[:300]!r}"
    return "refused", text[:500]
