"""Two runs on one folder of results, each from a working folder of its own: Snakemake's own lock does not see that."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from selfieavatar.io.lease import Holder, lease_file, new_run
from tests.workflow.conftest import HEADER, ROOT, SERVER

# Two clips of a subject, one after the other, by stages that take next to no time.
SNAKEFILE = (
    f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
"""
    + """
from pathlib import Path
from selfieavatar.workflow.run_lease import RunLease
RunLease(workflow, Path(config["results"]))
rule all:
    input: expand("{results}/anna/clips/{clip}/frames", results=config["results"], clip=["one", "two"])
rule clip:
    output: directory("{results}/anna/clips/{clip}/frames")
    shell: "python -c {STAGE:q} {output:q}"
"""
)
STAGE = """import sys, time; from pathlib import Path; from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_dir; from selfieavatar.io.lease import leased
out = Path(sys.argv[1])
try:
    with leased([out]), atomic_dir(out) as folder:
        (folder / "begun").touch()
        while Path("wait").exists(): time.sleep(0.02)
        if Path("fail").exists(): raise UserError("failed")
except UserError as error:
    sys.exit(f"error: {error}")
"""


class Working:
    """A working folder with the Snakefile."""

    def __init__(self, folder: Path, results: Path) -> None:
        self.folder, self.results = folder, results
        folder.mkdir()
        (folder / "Snakefile").write_text(f"STAGE = {STAGE!r}\n" + SNAKEFILE)
        self.command = ["--cores", "1", "--keep-going", "--config", f"results={results}"]
        self.env = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(self, *options: str) -> tuple[int, str]:
        done = SERVER.run([*options, *self.command], self.folder, self.env)
        return done.returncode, done.stdout + done.stderr

    def start(self) -> subprocess.Popen:
        """Start a run that waits in the middle of a clip."""
        (self.folder / "wait").touch()
        command, pipe = [sys.executable, "-m", "snakemake", *self.command], subprocess.PIPE
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdout=pipe, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        await_path(self.results, "anna/clips/*/.frames.*.part/begun", process)
        return process


def await_path(folder: Path, pattern: str, process: subprocess.Popen, most_s: float = 120.0) -> Path:
    until = time.monotonic() + most_s
    while time.monotonic() < until and process.poll() is None:
        if found := next(folder.glob(pattern), None):
            return found
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"no {pattern}: {process.communicate()[0]}")


@pytest.fixture
def two(tmp_path):
    return [Working(tmp_path / name, tmp_path / "results") for name in ("first", "second")]


def made(results: Path) -> dict[str, int]:
    """Inodes of what lies in the folder of results, but for leases and what is not finished."""
    found = {str(path.relative_to(results)): path.stat().st_ino for path in results.rglob("*")}
    return {name: inode for name, inode in found.items() if "/." not in name and name[0] != "."}


@pytest.mark.slow
def test_a_run_that_was_taken_over_leaves_the_finished_work_alone(two):
    """Its halted stage does not replace it, nor does Snakemake remove it, for that has failed or for the next job."""
    first, second = two
    process = first.start()
    os.killpg(process.pid, signal.SIGSTOP)
    status, said = second.run()
    assert status == 1 and f"{first.results}/anna is being made by" in said and f"process {process.pid}" in said
    lease_file(first.results / "anna").unlink()
    status, said = second.run()
    found = made(first.results)
    assert status == 0 and sum("frames/begun" in name for name in found) == 2, said
    (first.folder / "wait").unlink()
    os.killpg(process.pid, signal.SIGCONT)
    said = process.communicate()[0]
    assert process.returncode == 1 and said.count("the lease of this run") == 2, "the stage's sentence and Snakemake's"
    assert made(first.results) == found and not list(first.results.rglob("*.part"))


def test_a_failed_job_still_takes_its_own_files_along(two):
    first, _ = two
    (first.folder / "fail").touch()
    status, _ = first.run()
    assert status == 1 and not list(first.results.rglob("frames")) and not list(first.results.rglob("*.part"))
    (first.folder / "fail").unlink()
    assert first.run()[0] == 0, "the lease of a run that has ended does not hinder"


@pytest.mark.parametrize("option", ["--no-hooks", "--delete-all-output"])
def test_nothing_is_removed_where_another_run_is_at_work(two, option):
    first, second = two
    (first.results / "anna/clips/one/frames").mkdir(parents=True)
    (first.results / "anna/clips/one/frames/old").touch()
    holder = Holder(new_run())
    holder.take([first.results / "anna"])
    found = made(first.results)
    status, said = second.run(option, *(["--forceall"] if option == "--no-hooks" else []))
    holder.release()
    assert status == 1 and "is being made by" in said and "Traceback" not in said
    assert made(first.results) == found


def test_a_dry_run_needs_no_lease(two):
    holder = Holder(new_run())
    holder.take([two[0].results / "anna"])
    assert two[1].run("--dry-run")[0] == 0
    holder.release()


@pytest.mark.slow
def test_two_runs_that_decode_the_same_clip(fresh_project, tmp_path):
    """As seen: one was halted in the middle of decode, the other started, and both went on."""
    (tmp_path / "sheet.tsv").write_text(
        HEADER + f"anna\ttalk\ttrain\t{fresh_project.work / 'talk.mp4'}\t0\t60\tdemo\tsynthetic\tsmoke\n"
    )
    target, results = tmp_path / "results/anna/clips/talk/decode.parquet", tmp_path / "results"
    command = ["--snakefile", str(ROOT / "Snakefile"), "--cores", "1", str(target), "--config"]
    command += [f"subjects={tmp_path / 'sheet.tsv'}", f"results={results}"]
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *command], cwd=tmp_path / "first", stdout=pipe, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    await_path(results, "anna/clips/talk/.frames.*.part/000002.png", process)
    os.killpg(process.pid, signal.SIGSTOP)
    done = SERVER.run(command, tmp_path / "second", dict(os.environ))
    assert done.returncode == 1 and "anna is being made by" in done.stdout + done.stderr
    os.killpg(process.pid, signal.SIGCONT)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert len(list(target.parent.glob("frames/*.png"))) == pq.read_metadata(target).num_rows == 60
    assert not list(results.glob(".*")) and not list(target.parent.glob(".*"))
