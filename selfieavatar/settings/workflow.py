"""What the workflow's rules share and Snakemake need not see."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from selfieavatar.io.files import expand
from selfieavatar.settings.config import PATHS


def shell_prefix(project: str) -> str:
    """What goes before every rule's command: stages run as modules of the folder `project`, from whichever folder.

    The Python that runs Snakemake comes first. Threads that wait must sleep: spinning ones would slow down the other
    jobs of the machine several times. glibc gives images back to the kernel and fetches them anew for every frame, a
    sixth of the renderer's time, unless told to keep up to 256 MB. The prefix takes the place of Snakemake's own, so it
    has to make the pipe into `tee` fail when the stage fails.
    """
    python_folder = shlex.quote(str(Path(sys.executable).parent))
    return (
        f"set -euo pipefail; export PYTHONPATH={shlex.quote(project)}${{{{PYTHONPATH:+:$PYTHONPATH}}}} "
        f"PATH={python_folder}:$PATH"
        " OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=268435456; "
    )


def sheet_path(given: str, project: str) -> Path:
    """The sheet given by --config, as seen from the working directory, or the one of this project."""
    return Path(project, PATHS["subjects"]) if given == PATHS["subjects"] else expand(given)


def snakemake_command(target: Path, subjects: Path, results: Path) -> str:
    """What makes a file of the results, to be typed as it stands in the folder where this runs."""
    project = Path(__file__).resolve().parents[2]
    words = ["snakemake", "--cores", "all", str(target)]
    if Path.cwd() != project:
        words += ["--snakefile", str(project / "Snakefile")]
    usual = sheet_path(PATHS["subjects"], str(project)).resolve()
    settings = [f"subjects={subjects}"] if subjects.resolve() != usual else []
    settings += [f"results={results}"] if str(results) != PATHS["results"] else []
    return shlex.join(words + (["--config", *settings] if settings else []))
