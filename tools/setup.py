"""Make the project's Python environment: find a Python, create .venv, install requirements.lock, and say what is wrong.

    python3 tools/setup.py            # what `make setup`, `make demo` and `make test` call first

Standard library only, and readable by Python 3.8, so that an old Python can still say that it is too old. pip brings uv
into the new environment, uv does the work. A stamp with the hash of the lock is written last: an interrupted
installation never counts as ready, and a changed lock installs again. Every failure is one sentence and exit status 2.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 12)  # Snakemake 9.27 asks for 3.11; MediaPipe 0.10.21 has no wheels after 3.12
NAMES = ("python3.12", "python3.11", "python3", "python")
STAMP = "selfieavatar-lock.sha256"  # in the environment: hash of the lock it was made of
UNFINISHED = "unfinished"  # the stamp while an installation is at work: what an interruption leaves is not trusted
GIB = 2**30
NEED_GIB = 9.0  # the finished environment (7.6 GiB measured) and what is being unpacked

# Prints "3 11 7 64 ok", or instead of "ok" the missing module, or the shared library that wheels lack.
PROBE = """
import struct, sys
missing = "ok"
try:
    for name in ("venv", "ensurepip", "ssl", "sqlite3", "ctypes"):
        __import__(name)
    for name in ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1") if sys.platform == "linux" else ():
        sys.modules["ctypes"].CDLL(name)
except (ImportError, OSError):
    missing = name
print(*sys.version_info[:3], struct.calcsize("P") * 8, missing)
"""
# Debian's package of a library; a missing module comes with `pythonX.Y-venv`.
DEBIAN = {"libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1", "libz.so.1": "zlib1g"}

OFFLINE = re.compile(
    r"Name or service not known|Temporary failure in name resolution|Network is unreachable|No route to host"
    r"|Connection refused|Connection reset|[Tt]imed out|dns error|nodename nor servname|ProxyError|RemoteDisconnected"
    r"|IncompleteRead|SSLError|CERTIFICATE_VERIFY_FAILED|invalid peer certificate|client error \(Connect\)"
)


class SetupError(Exception):
    """One sentence for the user: what is wrong, and how to fix it."""


class Candidate(NamedTuple):
    """A Python on this machine: path, version, pointer size in bits, and `ok` or what it lacks."""

    path: str
    version: tuple[int, int, int]
    bits: int
    missing: str

    @property
    def complete(self) -> bool:
        """Whether it is of 64 bits and has all modules that are needed."""
        return self.bits == 64 and self.missing == "ok"

    @property
    def right_version(self) -> bool:
        """Whether its version is one that the project supports."""
        return OLDEST <= self.version[:2] <= NEWEST

    def __str__(self) -> str:
        lacks = ", 32-bit" if self.bits != 64 else "" if self.missing == "ok" else ", without " + self.missing
        return "{} ({}{})".format(self.path, ".".join(map(str, self.version)), lacks)


def probe(path: str) -> Candidate | None:
    """Run one interpreter and read its version; None if it does not run (a pyenv shim without a version, a stub)."""
    try:
        done = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30)
        major, minor, micro, bits, missing = done.stdout.decode().split()
        return Candidate(path, (int(major), int(minor), int(micro)), int(bits), missing)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def find_python(search_path: str, lock: Path, wanted: str | None = None) -> str:
    """Find the first Python that fits, else have uv fetch one. Raises SetupError naming what is there.

    With `wanted`, a path or a name, no other Python is tried.
    """
    paths = [os.path.join(folder or ".", name) for name in NAMES for folder in search_path.split(os.pathsep)]
    if wanted:
        paths = [shutil.which(wanted, path=search_path) or wanted]
    seen: list[Candidate] = []
    for path in dict.fromkeys(paths):
        python = probe(path) if os.access(path, os.X_OK) and not os.path.isdir(path) else None
        if python and python.complete and python.right_version:
            return path
        seen += [python] if python else []
    helpers = [python.path for python in seen if python.complete and python.version >= (3, 8)]
    fetched = fetch_python(helpers[0], lock) if helpers and not wanted else None
    if fetched:
        return fetched
    packages = {
        DEBIAN.get(python.missing, "python{}.{}-venv".format(*python.version))
        for python in seen
        if python.missing != "ok"
    }
    raise SetupError(
        "SelfieAvatar needs a 64-bit Python 3.11 or 3.12 with venv and ssl, but found {}; install one of them "
        "(for example `apt-get install {}`, `brew install python@3.12`, `pyenv install 3.11` or conda with "
        "environment.yaml) and run the same command again.".format(
            ", ".join(dict.fromkeys(map(str, seen))) or (wanted + " (does not run)" if wanted else "no working Python"),
            " ".join(sorted(packages)) or "python3.11-venv",
        )
    )


def fetch_python(helper: str, lock: Path) -> str | None:
    """Have uv fetch a Python 3.11, uv being brought by pip of the Python at `helper`; None where that cannot be had."""
    sys.stderr.write("Found no Python 3.11 or 3.12 that fits; trying to fetch one.\n")
    with tempfile.TemporaryDirectory() as folder:
        try:
            uv = install_uv(helper, Path(folder), lock)
            run([uv, "python", "install", "3.11"])
            python = probe(run([uv, "python", "find", "--managed-python", "3.11"]).split("\n")[-1])
        except SetupError:
            return None
    return python.path if python and python.complete and python.right_version else None


def run(command: list[str]) -> str:
    """Run a command and return what it said, without the last line's end. Raises SetupError with the cause."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, LC_ALL="C"))
    said = done.stdout.decode(errors="replace").rstrip()
    if done.returncode:
        raise reason(said)
    return said


def install_uv(python: str | None, venv: Path, lock: Path) -> str:
    """Create `venv` if `python` is given, have pip install the lock's uv there, and return uv's path."""
    if python:
        run([python, "-m", "venv", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    run(pip + ["uv=={}".format(pinned(lock)["uv"])])
    return str(venv / "bin" / "uv")


def pip_settings(python: str) -> tuple[list[str], dict[str, str]]:
    """List the options and environment variables that tell uv what pip was told in its files and by PIP_ variables.

    uv reads none of them; what uv has been told itself stays. pip weighs all indexes alike and joins what they have of
    one version, uv takes the files of the first index that has it: the main index comes first, therefore.
    """
    pip = [python, "-m", "pip"]
    listed = run(pip + ["config", "list"])
    told: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):
        for key, value in re.findall("^" + section + r"([\w-]+)=(.*)$", listed, flags=re.MULTILINE):
            told[key] = " ".join(str(ast.literal_eval(value)).split())
    main, extra = told.get("index-url"), told.get("extra-index-url")
    if extra and not main:  # pip names its own in its help
        default = re.search(r"\(default\s+(http[^\s)]+)\)", run(pip + ["install", "--help"]))
        main = default.group(1) if default else None
    variables = {
        "UV_DEFAULT_INDEX": main,
        "UV_INDEX": " ".join(filter(None, (main, extra))) if extra else None,
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": told.get("find-links", "").replace(" ", ","),
        "UV_INSECURE_HOST": told.get("trusted-host"),
        "UV_HTTP_TIMEOUT": told.get("timeout", told.get("default-timeout")),
        "UV_HTTP_RETRIES": told.get("retries"),
        "SSL_CERT_FILE": told.get("cert"),
        "SSL_CLIENT_CERT": told.get("client-cert"),
        "HTTPS_PROXY": told.get("proxy"),
        "HTTP_PROXY": told.get("proxy"),
    }
    no_index = told.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return ["--no-index"] * no_index, {**{name: value for name, value in variables.items() if value}, **os.environ}


def progress(said: str, seconds: float, venv: Path, total: int) -> str:
    """Say in one line how far uv is, from what it has said and, at the end, from what is in the environment."""
    clock = "[{:d}:{:02d}]".format(*divmod(int(seconds), 60))
    if "\nPrepared " in said:
        ready = sum(1 for _ in venv.glob("lib/python*/site-packages/*.dist-info/RECORD"))
        return "{} installing: {} of {} packages".format(clock, min(ready, total), total)
    large = {  # uv tells of the large ones only
        name: float(size) / {"K": 2**20, "M": 2**10, "G": 1}[unit]
        for name, size, unit in re.findall(r"^Downloading (\S+) \(([\d.]+)([KMG])iB\)", said, flags=re.MULTILINE)
    }
    here = re.findall(r"^ Downloaded (\S+)", said, flags=re.MULTILINE)
    now = [name for name in large if name not in here]
    gib = sum(large.get(name, 0.0) for name in here)
    more = " and {} more".format(len(now) - 3) if len(now) > 3 else ""
    return "{} fetching: {:.2f} GiB are here, now {}{}".format(clock, gib, ", ".join(now[:3]) or "small ones", more)


def reason(said: str) -> SetupError:
    """Turn what a failed pip or uv said into one sentence."""
    errors = re.findall(r"^ *(?:ERROR|error|cause|Caused by): (.*?)\.?$", said, flags=re.MULTILINE)
    cause = ": ".join(errors[:2]) or said.strip().split("\n")[-1].rstrip(".") or "no reason given"
    if re.search(r"No space left on device|os error 28", said):
        return SetupError("The disk became full while packages were installed; free some space and run the same again.")
    offline = OFFLINE.findall(said)
    if offline or "(from versions: none)" in said:
        return SetupError(
            "The package index could not be reached, is there no network? ({}); run the same command again when there "
            "is, what was fetched is kept.".format(offline[-1] if offline else cause)
        )
    return SetupError("The packages of requirements.lock could not be installed: {}.".format(cause))


def run_uv(venv: Path, lock: Path) -> None:
    """Bring the environment to exactly the lock's packages, telling the progress. Raises SetupError with the cause."""
    options, env = pip_settings(str(venv / "bin" / "python"))
    cache = Path(env.get("UV_CACHE_DIR") or env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    own_cache = None if device(cache) == device(venv) else venv.parent / (venv.name + "-cache")
    if own_cache:  # uv links its cache's files into the environment: free of cost, but only within one disk
        env["UV_CACHE_DIR"] = str(own_cache)
    command = [str(venv / "bin" / "uv"), "pip", "sync", "--color", "never", *options, str(lock)]
    env["VIRTUAL_ENV"] = str(venv)
    terminal = sys.stderr.isatty()
    start = told = time.monotonic()
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=str(venv)) as process:
        pipe = process.stdout.fileno() if process.stdout else 0
        while True:
            if select.select([pipe], [], [], 1.0)[0]:
                heard = os.read(pipe, 2**16)
                if not heard:
                    break
                said += heard.decode(errors="replace")
            if time.monotonic() - told > (0.5 if terminal else 5.0):
                told = time.monotonic()
                line = progress(said, told - start, venv, len(pinned(lock)))
                width = shutil.get_terminal_size().columns - 1
                sys.stderr.write("\r\x1b[K" + line[:width] if terminal else line + "\n")
                sys.stderr.flush()
    sys.stderr.write("\r\x1b[K" if terminal else "")
    if process.returncode:
        raise reason(said)
    if own_cache:
        shutil.rmtree(str(own_cache), ignore_errors=True)


def pinned(lock: Path) -> dict[str, str]:
    """Map canonical names to versions of the lock's lines, those with a marker for other machines included."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock.read_text(), flags=re.MULTILINE))


def device(path: Path) -> int:
    """Identify the file system where `path` is, or will be."""
    return next(folder for folder in (path, *path.parents) if folder.exists()).stat().st_dev


def check_disk(venv: Path, need_gib: float) -> None:
    """Check that `need_gib` GiB are free where the environment is to be; SetupError otherwise."""
    free = shutil.disk_usage(str(next(folder for folder in venv.parents if folder.exists()))).free / GIB
    if free < need_gib:
        raise SetupError(
            "Too little disk space for the environment: {} has {:.1f} GiB free and {:.0f} GiB are needed; free some, "
            "or move the repository to a larger disk.".format(venv.parent, free, need_gib)
        )


def lock_digest(lock: Path) -> str:
    """Hash the lock's text by SHA-256."""
    try:
        return hashlib.sha256(lock.read_bytes()).hexdigest()
    except OSError as error:
        raise SetupError("Cannot read {}: {}; restore it from git.".format(lock, error.strerror)) from None


def stamp_of(venv: Path) -> str:
    """Read the hash of the lock that the environment was made of; UNFINISHED where it does not run."""
    stamp = (venv / STAMP).read_text().strip() if (venv / STAMP).is_file() else UNFINISHED
    python = probe(str(venv / "bin" / "python")) if stamp != UNFINISHED else None
    return stamp if python and python.complete and python.right_version else UNFINISHED


def install(venv: Path, lock: Path, python: str | None) -> None:
    """Install the lock, in an environment created anew if `python` is given. Raises SetupError."""
    if python and venv.exists():
        if any(venv.iterdir()) and not any((venv / name).exists() for name in (STAMP, "pyvenv.cfg")):
            raise SetupError(
                "{} exists and is not a Python environment; move it away and run the same command again.".format(venv)
            )
        shutil.rmtree(str(venv))
    venv.mkdir(parents=True, exist_ok=True)
    (venv / STAMP).write_text(UNFINISHED + "\n")
    install_uv(python, venv, lock)
    run_uv(venv, lock)


def setup(venv: Path, lock: Path, wanted: str | None, need_gib: float, say=lambda text: None) -> bool:
    """Bring `venv` to the state of `lock`. Returns False if it was there already. Raises SetupError."""
    digest = lock_digest(lock)
    if stamp_of(venv) == digest:
        return False
    with open(str(lock)) as held:  # two `make` at once: the second waits, then finds the work done
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another set-up is at work in this folder; waiting for it.")
            fcntl.flock(held, fcntl.LOCK_EX)
        stamp = stamp_of(venv)
        if stamp == digest:
            return False
        check_disk(venv, need_gib)
        fresh = stamp == UNFINISHED
        python = find_python(os.environ.get("PATH", os.defpath), lock, wanted) if fresh else None
        say("Setting up {} with {} (3.4 GB to fetch, some minutes; once).".format(venv, python or "its own Python"))
        try:
            install(venv, lock, python)
            (venv / (STAMP + ".part")).write_text(digest + "\n")
            os.replace(str(venv / (STAMP + ".part")), str(venv / STAMP))
        except OSError as error:
            raise SetupError("Cannot write the environment {}: {}.".format(venv, error.strerror or error)) from None
    return True


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0 ready, 2 a sentence was said, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock", help="versions to install")
    insisted = os.environ.get("PYTHON") or None
    parser.add_argument("--python", default=insisted, help="the Python to use, else the first that fits")
    parser.add_argument("--need-gib", type=float, default=NEED_GIB, help="free disk space asked for, GiB")
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
