"""Make the project's Python environment: find a Python, create .venv, install requirements.lock, and say what is wrong.

    python3 tools/setup.py            # what `make setup`, `make demo` and `make test` call first

Standard library only, and readable by Python 3.8, so that an old Python can still say that it is too old. A stamp with
the hash of the lock is written last: an environment whose installation was interrupted never counts as ready, and a
changed lock installs again. Every failure is one sentence on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import collections
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 12)  # Snakemake 9.27 asks for 3.11; MediaPipe 0.10.21 has no wheels after 3.12
NAMES = ("python3.12", "python3.11", "python3", "python")
STAMP = "selfieavatar-lock.sha256"  # in the environment's folder, written last
MARK = "selfieavatar-installing"  # there while pip works: what is left behind by an interruption is not trusted
GIB = 2**30
NEED_VENV_GIB = 8.0  # the finished environment (7.4 GiB measured)
NEED_TEMP_GIB = 4.0  # pip's wheels while they wait to be unpacked, in a folder beside the environment
NEED_CACHE_GIB = 5.0  # below this, pip is told not to keep the wheels in its cache

# Prints "3 11 7 64 ok" or the name of what is missing; run in each candidate because the name alone proves nothing.
PROBE = """
import sys, struct
missing = "ok"
for name in ("venv", "ensurepip", "ssl", "sqlite3"):
    try:
        __import__(name)
    except ImportError:
        missing = name
        break
print(*sys.version_info[:3], struct.calcsize("P") * 8, missing)
"""

OFFLINE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|Name or service not known|Temporary failure in name resolution"
    r"|Network is unreachable|Connection refused|Connection reset|Failed to establish|getaddrinfo|ProxyError"
    r"|nodename nor servname|RemoteDisconnected|IncompleteRead|SSLError|CERTIFICATE_VERIFY_FAILED"
)


class SetupError(Exception):
    """One sentence for the user: what is wrong, and how to fix it."""


class Candidate(NamedTuple):
    """A Python on this machine: path, version, pointer size in bits, and `ok` or the module that it lacks."""

    path: str
    version: Tuple[int, int, int]
    bits: int
    missing: str

    @property
    def fits(self) -> bool:
        return OLDEST <= self.version[:2] <= NEWEST and self.bits == 64 and self.missing == "ok"

    def __str__(self) -> str:
        text = "{} ({}".format(self.path, ".".join(map(str, self.version)))
        if OLDEST <= self.version[:2] <= NEWEST:
            if self.bits != 64:
                text += ", 32-bit"
            elif self.missing != "ok":
                text += ", without its module " + self.missing
        return text + ")"


def probe(path: str) -> Optional[Candidate]:
    """Run one interpreter and read its version; None if it does not run (a pyenv shim without a version, a stub)."""
    try:
        done = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30)
        major, minor, micro, bits, missing = done.stdout.decode().split()
        return Candidate(path, (int(major), int(minor), int(micro)), int(bits), missing)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def candidates(search_path: str) -> Iterator[Candidate]:
    """Working Pythons of NAMES in every folder of `search_path`, the best name first."""
    seen = set()
    for name in NAMES:
        for folder in search_path.split(os.pathsep):
            path = os.path.join(folder or ".", name)
            if not os.access(path, os.X_OK) or os.path.isdir(path) or path in seen:
                continue
            seen.add(path)
            found = probe(path)
            if found:
                yield found


def find_python(search_path: str, wanted: Optional[str] = None) -> Candidate:
    """First Python that fits, or the user's `wanted` path or name. Raises SetupError naming what is there."""
    rejected: List[str] = []
    if wanted:
        found = probe(shutil.which(wanted, path=search_path) or wanted)
        if found and found.fits:
            return found
        rejected.append(str(found) if found else wanted + " (does not run)")
    else:
        for found in candidates(search_path):
            if found.fits:
                return found
            if str(found) not in rejected:
                rejected.append(str(found))
    listed = ", ".join(rejected) if rejected else "no working Python"
    raise SetupError(
        "SelfieAvatar needs a 64-bit Python 3.11 or 3.12 with venv and ssl, but found {}; install one of them "
        "(for example `apt install python3.11-venv`, `brew install python@3.12`, `pyenv install 3.11` or conda with "
        "environment.yaml) and run the same command again.".format(listed)
    )


def free_gib(folder: Path) -> float:
    """Free space in GiB where `folder` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(str(folder)).free / GIB


def check_disk(venv: Path, need_gib: float) -> None:
    """Raises SetupError unless `need_gib` GiB are free for the environment and for pip's wheels beside it."""
    free = free_gib(venv)
    if free < need_gib:
        raise SetupError(
            "Too little disk space for the environment: {} has {:.1f} GiB free and {:.0f} GiB are needed; free some, "
            "or move the repository to a larger disk.".format(venv.parent, free, need_gib)
        )


def lock_digest(lock: Path) -> str:
    """SHA-256 of the lock's text."""
    try:
        return hashlib.sha256(lock.read_bytes()).hexdigest()
    except OSError as error:
        raise SetupError("Cannot read {}: {}; restore it from git.".format(lock, error.strerror)) from None


def is_ready(venv: Path, digest: str) -> bool:
    """True if the environment's stamp holds this lock's digest, nothing interrupted it, and its Python runs."""
    stamp = venv / STAMP
    if (venv / MARK).exists() or not stamp.is_file() or stamp.read_text().strip() != digest:
        return False
    found = probe(str(venv / "bin" / "python"))
    return found is not None and OLDEST <= found.version[:2] <= NEWEST


class Progress:
    """What pip has said and written so far, told in one line every few seconds (rewritten in place on a terminal)."""

    def __init__(self, venv: Path, temp: Path, total: int, every_s: float = 5.0) -> None:
        self.temp, self.total = temp, total
        self.site = venv / "lib"
        self.every_s = every_s if not sys.stderr.isatty() else 1.0
        self.start = time.monotonic()
        self.collected, self.current, self.installing = 0, "", False
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._tell, daemon=True)

    def hear(self, line: str) -> None:
        """Take one line of pip's output."""
        if line.startswith("Collecting ") or line.startswith("Requirement already satisfied"):
            self.collected += 1
        if line.startswith("Collecting "):
            self.current = line.split()[1]
        if line.startswith("Installing collected"):
            self.installing = True

    def _state(self) -> str:
        seconds = int(time.monotonic() - self.start)
        clock = "[{:d}:{:02d}]".format(*divmod(seconds, 60))
        if self.installing:
            ready = sum(1 for _ in self.site.glob("python*/site-packages/*.dist-info/RECORD"))
            return "{} unpacking: {} of {} packages".format(clock, min(ready, self.total), self.total)
        wheels = [p for p in self.temp.rglob("*") if p.is_file()]
        size = 0
        for path in wheels:
            try:
                size += path.stat().st_size
            except OSError:  # pip has moved the file since it was listed
                continue
        return "{} fetching: {} of {} packages, {:.2f} GiB, now {}".format(
            clock, min(self.collected, self.total), self.total, size / GIB, self.current or "asking the index"
        )

    def _tell(self) -> None:
        while not self.done.wait(self.every_s):
            text = self._state()
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
            else:
                sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def __enter__(self) -> Progress:
        self.thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.done.set()
        self.thread.join()
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")


def pip_reason(lines: List[str], folder: Path) -> SetupError:
    """The one sentence for a failed pip, from its last lines of output."""
    text = "\n".join(lines)
    errors = [line[len("ERROR: ") :].strip() for line in lines if line.startswith("ERROR: ")]
    last = (errors or [line.strip() for line in lines if line.strip()] or ["pip said nothing"])[-1].rstrip(".")
    if "No space left on device" in text or "Errno 28" in text:
        return SetupError(
            "The disk became full while packages were installed ({}); free some space and run the same "
            "command again.".format(folder)
        )
    offline = [line for line in lines if OFFLINE.search(line)]
    if offline:
        cause = offline[-1].strip()
        quoted = re.search(r"(\[Errno -?\d+\][^')\"]*|Read timed out|timed out|CERTIFICATE_VERIFY_FAILED)", cause)
        return SetupError(
            "The package index could not be reached, is there no network? ({}); run the same command "
            "again when there is, what was fetched is kept.".format(quoted.group(1) if quoted else last)
        )
    if "(from versions: none)" in text and "require a different python" not in text:
        return SetupError(
            "The package index offered no version at all of a package, is there no network? ({}); run "
            "the same command again when there is.".format(last)
        )
    return SetupError("pip could not install the packages of requirements.lock: {}.".format(last))


def run_pip(venv: Path, lock: Path) -> None:
    """Install the lock into `venv`, telling the progress. Raises SetupError with the cause."""
    total = len(pinned(lock))
    temp = venv / "tmp"  # not the system's: /tmp is often a small memory disk
    temp.mkdir(exist_ok=True)
    env = dict(os.environ, TMPDIR=str(temp), PYTHONUNBUFFERED="1", LC_ALL="C")
    command = [
        str(venv / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--no-warn-script-location",
        "-r",
        str(lock),
    ]
    if free_gib(Path.home() / ".cache") < NEED_CACHE_GIB:
        command.append("--no-cache-dir")
    last: collections.deque = collections.deque(maxlen=60)
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env) as process:
            with Progress(venv, temp, total) as progress:
                for raw in process.stdout:  # type: ignore[union-attr]
                    line = raw.decode(errors="replace").rstrip()
                    last.append(line)
                    progress.hear(line)
        if process.returncode:
            if not progress.installing:  # pip only looked and fetched: the environment is as it was before
                (venv / MARK).unlink()
            raise pip_reason(list(last), venv.parent)
    finally:
        shutil.rmtree(str(temp), ignore_errors=True)


def pinned(lock: Path) -> Dict[str, str]:
    """Canonical name -> version of the lock's lines, those with a marker for other machines included."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def make_venv(python: Candidate, venv: Path) -> None:
    """Create the environment anew with `python`, marked as unfinished from the first moment. Raises SetupError."""
    if venv.exists():
        if any(venv.iterdir()) and not any((venv / name).exists() for name in (MARK, STAMP, "pyvenv.cfg")):
            raise SetupError(
                "{} exists and is not a Python environment; move it away and run the same command again.".format(venv)
            )
        shutil.rmtree(str(venv))
    venv.mkdir(parents=True)
    mark(venv)
    done = subprocess.run([python.path, "-m", "venv", str(venv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
        raise SetupError(
            "{} could not create {}: {}.".format(
                python.path, venv, lines[-1].rstrip(".") if lines else "no reason given"
            )
        )


def mark(venv: Path) -> None:
    """Say in the environment that an installation is at work; takes the stamp away."""
    (venv / MARK).write_text("An installation began here and did not end; the next `make` starts it again.\n")
    if (venv / STAMP).exists():
        (venv / STAMP).unlink()


def setup(venv: Path, lock: Path, wanted: Optional[str], need_gib: float, say=lambda text: None) -> bool:
    """Bring `venv` to the state of `lock`. Returns False if it was there already. Raises SetupError."""
    digest = lock_digest(lock)
    if is_ready(venv, digest):
        return False
    with open(str(lock)) as held:  # two `make` at once: the second waits, then finds the work done
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another set-up is at work in this folder; waiting for it.")
            fcntl.flock(held, fcntl.LOCK_EX)
        if is_ready(venv, digest):
            return False
        interrupted = (venv / MARK).exists()
        existing = None if interrupted else probe(str(venv / "bin" / "python"))
        fresh = not (existing and existing.fits)
        python = find_python(os.environ.get("PATH", os.defpath), wanted) if fresh else existing
        check_disk(venv, need_gib if fresh else min(need_gib, NEED_TEMP_GIB))
        say("Setting up {} with {} (about 3.3 GB to fetch, some minutes; once).".format(venv, python))
        try:
            if fresh:
                make_venv(python, venv)
            mark(venv)
            run_pip(venv, lock)
            (venv / (STAMP + ".part")).write_text(digest + "\n")
            os.replace(str(venv / (STAMP + ".part")), str(venv / STAMP))
            (venv / MARK).unlink()
        except OSError as error:
            raise SetupError("Cannot write the environment {}: {}.".format(venv, error.strerror or error)) from None
    return True


def main(argv: Optional[List[str]] = None) -> int:
    """Command line; returns the exit status: 0 ready, 2 a sentence was said, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock", help="versions to install")
    insisted = os.environ.get("PYTHON") or None
    parser.add_argument("--python", default=insisted, help="the Python to use, else the first that fits")
    need_gib = NEED_VENV_GIB + NEED_TEMP_GIB
    parser.add_argument("--need-gib", type=float, default=need_gib, help="free disk space asked for, GiB")
    args = parser.parse_args(argv)

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    start = time.monotonic()
    try:
        if setup(args.venv.resolve(), args.lock.resolve(), args.python, args.need_gib, say):
            say("The environment is ready after {:.0f} s.".format(time.monotonic() - start))
        return 0
    except SetupError as error:
        say("error: {}".format(error))
        return 2
    except KeyboardInterrupt:
        say("\nInterrupted; run the same command again to go on.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
