"""One small run of the whole workflow, 64 px, shared by the tests of this folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from selfieavatar.settings.config import load_preset
from tests.workflow.snakemake_server import SnakemakeServer

SERVER = SnakemakeServer()
ROOT = Path(__file__).resolve().parents[2]
CODE = ("Snakefile", "environment.yaml", "workflow", "selfieavatar", "stages", "tools", "config", "profiles")
SHEET = """subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset
smoke\ttalk\ttrain\ttalk.mp4\t\t\tdemo\tsynthetic\tsmoke
smoke\tother\ttest\tother.mp4\t\t\tdemo\tsynthetic\tsmoke
guest\ttalk\tdrive\tdemo:2\t0\t20\tdemo\tsynthetic\tsmoke
"""
# A variant that a user might add: a baseline of few steps, to see that all stages take it.
OWN_VARIANT = """train: {images: 8, minutes: 0, net_generator: unet, weight_mrf: 0, weight_cos: 0, weight_gan: 0}
evaluate: {network_metrics: false}
"""
VARIANT = "results/smoke/variants/own/figures.html"
# "rule   count" of Snakemake's table of jobs.
JOB = re.compile(r"^(\w+)\s+(\d+)$", re.MULTILINE)


HEADER = SHEET.partition("\n")[0] + "\n"
ANNA = "anna\ttalk\ttrain\tanna.mp4\t\t\tselfie\tself\tsmoke\n"


def jobs(said: str) -> dict[str, int]:
    """Snakemake's table of jobs: rule -> count."""
    table = said.partition("Job stats:")[2].partition("\n\n")[0]
    return {rule: int(count) for rule, count in JOB.findall(table) if rule != "total"}


@dataclass
class Run:
    """Snakemake in a folder with a sheet of one clip; a run gives its status and all that it said."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "anna.mp4").touch()
        (self.folder / "sheet.tsv").write_text(HEADER + ANNA)

    def __call__(
        self, *arguments: str, snakefile: Path = ROOT / "Snakefile", config: str = "subjects=sheet.tsv", **env: str
    ) -> tuple[int, str]:
        command = ["-s", str(snakefile), "--cores", "1", *arguments, "--config", config]
        done = SERVER.run(command, self.folder, os.environ | env)
        said = done.stdout + done.stderr
        assert "Traceback (most recent call last)" not in said
        return done.returncode, said


@pytest.fixture(scope="session", autouse=True)
def server():
    """Snakemake in memory, for as long as the tests of this folder run."""
    yield
    SERVER.close()


@pytest.fixture
def snakemake(tmp_path) -> Run:
    return Run(tmp_path)


def kernels_of(folder: Path) -> Path:
    """Where numba keeps what it has compiled of the modules in a folder (its `get_suitable_cache_subpath`)."""
    digest = hashlib.sha1(str(folder).encode()).hexdigest()
    return Path(os.environ["NUMBA_CACHE_DIR"], f"{folder.name}_{digest}")


@dataclass
class Project:
    """A copy of the project's code, and a working folder elsewhere with the sheet and the results."""

    code: Path
    work: Path

    def __post_init__(self) -> None:
        """Share the kernels that numba has compiled: it keeps them by folder, and a copy would compile them anew."""
        modules = (self.code / "selfieavatar").rglob("*.py")
        for folder in {path.parent for path in modules if "njit" in path.read_text()}:
            mine, shared = (kernels_of(place) for place in (folder, ROOT / folder.relative_to(self.code)))
            shared.mkdir(parents=True, exist_ok=True)
            if not mine.is_symlink():  # of an earlier copy in the same place
                mine.symlink_to(shared)

    def snakemake(self, *arguments: str, sheet: str = "sheet.tsv", check: bool = True) -> subprocess.CompletedProcess:
        """Run Snakemake in the working folder."""
        command = ["--snakefile", str(self.code / "Snakefile"), "--cores", "2"]
        command += [*arguments, "--config", f"subjects={sheet}"]
        done = SERVER.run(command, self.work, dict(os.environ))
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
        return done

    def pending(self, *arguments: str, sheet: str = "sheet.tsv") -> dict[str, int]:
        """Jobs that a run would start now: rule -> count."""
        said = self.snakemake("--dry-run", *arguments, sheet=sheet)
        found = jobs(said.stdout + said.stderr)
        return {rule: count for rule, count in found.items() if rule not in ("all", "variants")}


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory) -> Project:
    """The code and two short videos of the demo actor; nothing has run yet."""
    base = tmp_path_factory.mktemp("project")
    code, work = base / "the code", base / "work folder"
    code.mkdir()
    work.mkdir()
    for name in CODE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, code / name)
    preset = code / "config/presets/smoke.yaml"  # a quarter of its images: that it runs is tested, not how good it gets
    text = preset.read_text()
    assert "\n  images: 480\n" in text and "\n  maps_until: 200\n" in text
    preset.write_text(text.replace("  images: 480\n", "  images: 120\n").replace("maps_until: 200", "maps_until: 50"))
    project = Project(code, work)
    video = project.work / "video.mp4"
    settings = json.dumps(load_preset("smoke")["demo"])
    command = [sys.executable, "-m", "stages.demo", "--seed", "1", "--settings", settings]
    subprocess.run([*command, "--out", str(video), "--truth", str(video.with_suffix(".npz"))], cwd=ROOT, check=True)
    video.rename(project.work / "talk.mp4")
    shutil.copy(project.work / "talk.mp4", project.work / "other.mp4")
    text = SHEET.replace("talk.mp4\t\t", "talk.mp4\t0\t70").replace("other.mp4\t\t", "other.mp4\t70\t100")
    (project.work / "sheet.tsv").write_text(text)
    return project


@pytest.fixture(scope="session")
def made_project(fresh_project) -> Project:
    """The project after a whole run."""
    fresh_project.snakemake()
    return fresh_project


@pytest.fixture(scope="session")
def varied_project(made_project, tmp_path_factory) -> Project:
    """A copy of the project after its run in which a variant was made, too: one that lies there is in the table."""
    base = tmp_path_factory.mktemp("varied")
    code, work = (shutil.copytree(folder, base / folder.name) for folder in (made_project.code, made_project.work))
    (code / "config/variants/own.yaml").write_text(OWN_VARIANT)
    project = Project(code, work)
    project.snakemake(VARIANT, "results/table.md")
    return project
