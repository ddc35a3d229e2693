"""The workflow on a real Slurm of one node, by profiles/slurm: `make slurm-check`, which `make test` leaves out.

Two subjects are made side by side. The first training of each is given a minute, is killed by Slurm, and goes on in
Snakemake's retry; the avatars must be those of a run without Slurm, to the bit.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from selfieavatar.io.files import content_hash
from tests.workflow.conftest import HEADER
from tests.workflow.one_node_slurm import OneNodeSlurm, missing

SUBJECTS = ("anna", "bert")
CLIPS = (("talk", "train", "talk.mp4\t0\t70"), ("other", "test", "other.mp4\t70\t100"))
OVERLAY = "train: {images: 3000, minutes: 0}\n"  # some minutes; bounded by images alone, it repeats to the bit
LIMIT = re.compile(r"^    runtime: 1440\b", re.MULTILINE)
# `avatar` is a hash of avatar.pt, which says how many minutes it took.
OF_THE_CLOCK = re.compile(r"^(avatar|speed)$|minutes|_s$|per_s|version")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    reason = missing()
    if reason:
        pytest.skip(reason)
    cluster = OneNodeSlurm(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def project(fresh_project):
    rows = [f"{who}\t{clip}\t{role}\t{cut}\tdemo\tsynthetic\tsmoke\n" for who in SUBJECTS for clip, role, cut in CLIPS]
    (fresh_project.work / "sheet.tsv").write_text(HEADER + "".join(rows))
    (fresh_project.work / "overlay.yaml").write_text(OVERLAY)
    profile = fresh_project.code / "profiles/slurm/config.yaml"
    text, count = LIMIT.subn("    runtime: 1 if attempt == 1 else 60", profile.read_text())
    assert count == 1
    profile.write_text(text)
    return fresh_project


def run(project, env, results, *options):
    command = [sys.executable, "-m", "snakemake", "--snakefile", project.code / "Snakefile", *options]
    command += ["--set-threads", "train=1", "--configfile", "overlay.yaml"]
    done = subprocess.run(
        [*command, "--config", "subjects=sheet.tsv", f"results={results}"],
        cwd=project.work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def said(slurm, project):
    """What a run of everything said, on the cluster."""
    path = f"{project.code}/profiles/slurm/without-slurmdbd:{slurm.env['PATH']}"
    options = ("--workflow-profile", project.code / "profiles/slurm", "--slurm-init-seconds-before-status-checks", "3")
    return run(project, slurm.env | {"PATH": path}, "cluster", *options)


@pytest.fixture(scope="module")
def jobs(slurm, said):
    """Rule and wildcards of each job -> its submissions, the first first."""
    found = {}
    for job in sorted(slurm.jobs(), key=lambda job: int(job["JobId"])):
        found.setdefault(job["Comment"], []).append(job)
    return found


def test_resources_arrive_at_slurm(jobs):
    training = jobs["rule_train_wildcards_anna_"]
    assert [job["TimeLimit"] for job in training] == ["00:01:00", "01:00:00"]
    assert [re.search(r"mem=([\w.]+)", job["TRES"])[1] for job in training] == ["32000M", "62.50G"]
    assert all(job["TresPerJob"] == "gres:gpu:1" and job["NumCPUs"] == "1" for job in training)
    decode = jobs["rule_decode_wildcards_anna_talk"]
    assert [(job["TimeLimit"], job["NumCPUs"]) for job in decode] == [("02:00:00", "2")]
    assert "mem=8000M" in decode[0]["TRES"] and "TresPerJob" not in decode[0]


def test_a_training_that_slurm_killed_goes_on(project, jobs, said):
    for subject in SUBJECTS:
        assert [job["JobState"] for job in jobs[f"rule_train_wildcards_{subject}_"]] == ["TIMEOUT", "COMPLETED"]
    assert "SLURM status is: 'TIMEOUT'" in said
    kept = list((project.work / ".snakemake/slurm_logs/rule_train").rglob("*.log"))
    stopped = [path.read_text() for path in kept]
    assert len(stopped) == len(SUBJECTS), "logs of jobs that failed stay, those of the others go"
    assert all(re.search(r"saved after [1-9]\d* images; run the same command to go on", text) for text in stopped)


def test_subjects_are_made_side_by_side(jobs):
    spans = [
        (job["StartTime"], job["EndTime"]) for who in SUBJECTS for job in jobs[f"rule_decode_wildcards_{who}_talk"]
    ]
    assert max(start for start, _ in spans) < min(end for _, end in spans)


def test_everything_else_ran_once(jobs):
    again = [name for name, tries in jobs.items() if len(tries) > 1 and "rule_train" not in name]
    assert again == [] and all(tries[-1]["JobState"] == "COMPLETED" for tries in jobs.values())


def plain(value):
    """What of metrics.json does not depend on the clock."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items() if not OF_THE_CLOCK.search(key)}
    return [plain(part) for part in value] if isinstance(value, list) else value


def test_the_figures_are_those_of_a_run_without_slurm(project, said):
    run(project, dict(os.environ), "here", "--cores", "2", *(f"here/{who}/metrics.json" for who in SUBJECTS))
    for subject in SUBJECTS:
        folders = [project.work / results / subject for results in ("cluster", "here")]
        for name in ("identity.npz", "clips/talk/fit.parquet", "clips/other/render.parquet"):
            assert len({content_hash(folder / name) for folder in folders}) == 1, name
        ours, theirs = (plain(json.loads((folder / "metrics.json").read_text())) for folder in folders)
        assert ours == theirs and ours["full"]["psnr_db"] > 5
