"""Run Snakemake many times without importing it each time: a process that has it in memory, and forks for each call.

Importing Snakemake and what it imports takes longer than a dry run itself. A call in a fork is `python -m snakemake`
but for that: it has its own folder, environment and memory, and imports this project's code anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Of what a dry run imports, all that is not this project's.
PRELOAD = (
    "snakemake.cli", "snakemake.report", "snakemake_executor_plugin_slurm", "pandas", "numpy", "yaml", "pydantic",
)  # fmt: skip


class SnakemakeServer:
    """Give `run`, which takes the place of `subprocess.run([python, "-m", "snakemake", ...])`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, arguments: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run Snakemake with arguments in a folder, and wait; stdout and stderr as texts."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin and self._process.stdout
        with tempfile.TemporaryDirectory() as said:
            out, err = Path(said, "out"), Path(said, "err")
            call = {"arguments": arguments, "folder": str(folder), "env": env, "out": str(out), "err": str(err)}
            self._process.stdin.write(json.dumps(call) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


def _call(arguments: list[str], folder: str, env: dict[str, str], out: str, err: str) -> None:
    """Be `python -m snakemake` in a forked process."""
    import runpy

    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:], sys.path[0] = arguments, folder
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


def _serve() -> None:
    """Fork for each line of JSON from stdin, and answer with the exit status."""
    import importlib
    import traceback

    for name in PRELOAD:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = 1
            try:
                _call(**json.loads(line))
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
