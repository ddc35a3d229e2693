"""Write the commands of the workflow: those of its rules, and the one that makes a file."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from selfieavatar.io.files import expand
from selfieavatar.settings.cli import ENDS_WITH
from selfieavatar.settings.config import PATHS, ROOT


def shell_prefix(own_python: bool) -> str:
    """Write what goes before every rule's command: stages run as modules of this project, from whichever folder.

    Threads that wait must sleep: spinning ones would slow down the other jobs of the machine several times. glibc gives
    images back to the kernel and fetches them anew for every frame, a sixth of the renderer's time, unless told to keep
    up to 256 MB. The prefix takes the place of Snakemake's own, so it has to make the pipe into `tee` fail when the
    stage fails. It names the processes with which the stage ends: this one and the shell.

    Args:
        own_python: the Python that runs Snakemake comes first; false where Snakemake deploys an environment.
    """
    path = f" PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH" if own_python else ""
    return (
        f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(ROOT))}${{{{PYTHONPATH:+:$PYTHONPATH}}}}{path}"
        f' {ENDS_WITH}="{os.getpid()} $$"'
        " OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=268435456; "
    )


def logged(command: str) -> str:
    """Let a rule's command speak to the terminal and to the rule's log, until it has ended.

    Ctrl-C, and the SIGTERM by which a cluster announces the end of a job's time, reach `tee`, too: it must not go
    before the stage, which saves and says so.
    """
    return f"{command} 2>&1 | (trap '' HUP INT TERM; exec tee {{log:q}})"


def sheet_path(given: str) -> Path:
    """Find the sheet given by --config, as seen from the working directory, or the one of this project."""
    return ROOT / given if given == PATHS["subjects"] else expand(given)


def snakemake_command(target: Path, subjects: Path, results: Path) -> str:
    """Write what makes a file of the results, to be typed in the folder where this runs; CLONE is this project's."""
    words = ["snakemake", "--cores", "all", str(target)]
    if Path.cwd() != ROOT:
        words += ["--snakefile", "CLONE/Snakefile"]
    settings = [f"subjects={subjects}"] if subjects.resolve() != sheet_path(PATHS["subjects"]).resolve() else []
    settings += [f"results={results}"] if str(results) != PATHS["results"] else []
    return shlex.join(words + (["--config", *settings] if settings else []))
