"""After a run was killed the same command suffices: its lock does not stand in the way, unless another run is alive."""

import getpass
import os
import signal
import subprocess
import sys

from selfieavatar.settings.cli import ENDS_WITH
from selfieavatar.settings.provenance import ROOT
from selfieavatar.workflow.command import shell_prefix
from selfieavatar.workflow.run_lock import NOTES

HOLD = """
import sys
from pathlib import Path
from selfieavatar.workflow.run_lock import hold_run
assert hold_run(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def run_in(folder):
    """Another process that holds the lock of a run, as Snakemake does, until it is killed or its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_the_lock_of_a_killed_run_is_removed_and_that_of_a_living_one_stays(tmp_path):
    lock = tmp_path / "locks/0.output.lock"
    with run_in(tmp_path) as first:
        lock.parent.mkdir()
        lock.touch()
        run_in(tmp_path).communicate()
        assert lock.exists(), "the first run is alive"
        first.send_signal(signal.SIGKILL)
        first.wait()
        run_in(tmp_path).communicate()
    assert not lock.exists()


def test_a_lock_of_which_nothing_is_known_stays(tmp_path):
    """That of another Snakefile, of an older version, or of another host."""
    lock = tmp_path / "locks/0.output.lock"
    lock.parent.mkdir()
    lock.touch()
    run_in(tmp_path).communicate()
    assert lock.exists()
    (tmp_path / NOTES).mkdir(exist_ok=True)
    (tmp_path / NOTES / "01234567-77-5").touch()  # of another host
    run_in(tmp_path).communicate()
    assert lock.exists()


def test_snakemake_goes_on_after_a_run_that_was_killed(snakemake, tmp_path):
    """The lock is one of Snakemake's own files, as it lies there after SIGKILL."""
    theirs = tmp_path / "theirs.smk"
    theirs.write_text(
        f'include: "{ROOT}/workflow/Snakefile"\n\nrule theirs:\n    output: "made"\n    shell: "touch made"\n'
    )
    living = run_in(tmp_path / ".snakemake")
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("made\n")
    said = snakemake("theirs", snakefile=theirs)[1]
    assert f"being made from this folder by {getpass.getuser()} on" in said and f"process {living.pid}, since" in said
    assert "unlock" not in said and lock.exists()
    living.kill()
    living.communicate()
    status, said = snakemake("theirs", snakefile=theirs)
    assert status == 0 and "its lock is removed" in said and (tmp_path / "made").is_file()


TOLD = """
import os, signal, threading, time
from snakemake.scheduling.job_scheduler import JobScheduler
from selfieavatar.workflow.adapted_snakemake import adapt_snakemake

adapt_snakemake()
scheduler = JobScheduler.__new__(JobScheduler)
scheduler._lock, scheduler._open_jobs, scheduler._user_kill = threading.Lock(), threading.Semaphore(0), None
signal.signal(signal.SIGTERM, scheduler.exit_gracefully)
with scheduler._lock:  # as while Snakemake looks after a job that has ended
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)
assert scheduler._open_jobs.acquire(timeout=30) and scheduler._user_kill == "graceful"
"""


def test_sigterm_ends_snakemake_at_any_moment():
    subprocess.run([sys.executable, "-c", TOLD], cwd=ROOT, check=True, timeout=60)


def test_a_rule_names_the_processes_that_its_stage_must_not_outlive():
    prefix = shell_prefix(own_python=True).format()
    said = subprocess.run(
        ["bash", "-c", f"{prefix} echo ${ENDS_WITH} $$; true"], stdout=subprocess.PIPE, text=True, check=True
    )
    run, shell, own = map(int, said.stdout.split())
    assert run == os.getpid() and shell == own != run
