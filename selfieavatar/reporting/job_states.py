"""Find the state of the jobs of a subject, and the one sentence that a log says about a failure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfieavatar.io.paths import AVATAR, IMAGES, SELF, STAGES, TRAIN, VARIANTS
from selfieavatar.io.shared_text import without_folders

# What outweighs what, where several jobs are taken together.
STATES = ("failed", "running", "waiting", "done", "not asked")
KINDS = ("pictures", "training", "avatar", "videos", "other")

_ERROR = re.compile(r"^error: \w+: (.+)$", re.MULTILINE)
ADDED = ("reenact", "external")  # stages that add to a finished avatar: it is no worse where they fail
INTERRUPTED = "interrupted;"  # how selfieavatar.settings.cli begins the sentence after Ctrl-C


@dataclass(frozen=True)
class Job:
    """A stage of a clip, a variant or a driver (`of`), or of the subject itself (`of` is empty)."""

    stage: str
    of: str
    state: str
    reason: str = ""
    log: str = ""  # path as seen from the folder of the results
    minutes: float = math.nan


@dataclass
class Subject:
    """All that the summary says about a subject. What is not known yet is NaN or missing."""

    name: str
    jobs: list[Job]
    clips: int
    frames: dict[str, float]  # train, val, test, left_out
    left_out: dict[str, int]  # reason -> frames
    metrics: dict[str, float]  # psnr_db_full and so on, of metrics.json
    sizes: dict[str, int]  # kind of KINDS -> bytes
    remarks: list[str] = field(default_factory=list)  # what to know about a subject that is done, in sentences
    links: list[tuple[str, str]] = field(default_factory=list)  # words, path as seen from the folder of the results
    images: list[tuple[str, str]] = field(default_factory=list)  # words, path: to look at in passing

    @property
    def state(self) -> str:
        """Join the states of all jobs but those that have failed to add something."""
        return together(job.state for job in self.jobs if job.state != "failed" or job.stage not in ADDED)

    @property
    def trained_on(self) -> float:
        """Frames to train and to validate on; NaN where not known."""
        return self.frames.get("train", math.nan) + self.frames.get("val", 0)

    @property
    def failures(self) -> list[Job]:
        """List the jobs that the avatar needs and that have failed, in the order of the data flow."""
        return [job for job in self.jobs if job.state == "failed" and job.stage not in ADDED]

    @property
    def all_remarks(self) -> list[str]:
        """List `remarks`, and what could not be added to the avatar."""
        failed = [job for job in self.jobs if job.state == "failed" and job.stage in ADDED]
        return self.remarks + [f"{job.stage} {job.of} has failed: {job.reason} ({job.log})" for job in failed]

    def stage_state(self, stage: str) -> str:
        """Join the states of the jobs of a stage."""
        return together(job.state for job in self.jobs if job.stage == stage)

    def minutes(self, *stages: str) -> float:
        """Sum the minutes that the jobs of the stages (of none named: all) have taken; NaN where none is known."""
        known = [job.minutes for job in self.jobs if job.stage in (stages or STAGES) and math.isfinite(job.minutes)]
        return sum(known) if known else math.nan


def together(states: Iterable[str]) -> str:
    """Return the state that outweighs the others; "not asked" where there is none."""
    return min(states, key=STATES.index, default="not asked")


def worst_first(subjects: Iterable[Subject]) -> list[Subject]:
    """Sort failed subjects first, then what runs and waits; in their own order otherwise."""
    return sorted(subjects, key=lambda subject: STATES.index(subject.state))


def job_state(made: bool, log: str | None, asked: bool, ended: bool, folders: Iterable[Path] = ()) -> tuple[str, str]:
    """Return state and reason of a job.

    Args:
        made: its output is there. Snakemake removes the outputs of a job before it starts, and when it has failed.
        log: end of its log; None where it has none.
        asked: its output was asked for.
        ended: no job is running any more.
        folders: those of footage and results, which the reason does not name.
    """
    if made:
        return "done", ""
    if log is None:
        return ("waiting" if asked else "not asked"), ""
    said = sentence(log)
    if said is None and not ended:
        return "running", ""
    if said is not None and said.startswith(INTERRUPTED):
        return "waiting", said
    return "failed", without_folders(said or silent_end(log), *folders)


def sentence(log: str) -> str | None:
    """Find the sentence with which a stage has ended its log, None where there is none.

    Where several processes share the log, the first one to fail has said why.
    """
    lines = _lines(log)
    match = _ERROR.search("\n".join(lines))
    if match:
        return match[1]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        return f"a defect of the program ({lines[-1]}); please report it with the log"
    return None


def silent_end(log: str) -> str:
    """Make a sentence for a job that has ended without one."""
    lines = _lines(log)
    last = f"; the last line of its log: {lines[-1]}" if lines else ""
    return f"stopped without saying why, as when it is killed for want of memory{last}"


def _lines(log: str) -> list[str]:
    """Split into lines, without what moves a terminal's cursor or colours it."""
    lines = ("".join(c if c.isprintable() else " " for c in line).strip() for line in re.split(r"[\r\n]+", log))
    return [line for line in lines if line]


def kind_of(folders: tuple[str, ...], name: str) -> str:
    """Tell the kind (of KINDS) of a file; folders: those between the subject's folder and the file."""
    if len(folders) > 2 and folders[0] == "clips" and folders[2] in IMAGES:
        return "pictures"
    own = folders[2:] if folders[:1] == (VARIANTS,) else folders
    if own[:1] == (TRAIN,):
        return "training"
    if own[:1] == (SELF,) or name.endswith(".mp4"):
        return "videos"
    return "avatar" if name == AVATAR else "other"


def columns(subjects: list[Subject]) -> dict[str, list[Any]]:
    """Make the columns of the manifest `summary`, a row for each subject."""
    first = [subject.failures[0] if subject.failures else Job("", "", "") for subject in subjects]
    found: dict[str, list[Any]] = {
        "subject": [subject.name for subject in subjects],
        "state": [subject.state for subject in subjects],
        "failed_stage": [job.stage for job in first],
        "failed_of": [job.of for job in first],
        "reason": [job.reason for job in first],
        "log": [job.log for job in first],
        "remarks": ["; ".join(subject.all_remarks) for subject in subjects],
        "clips": [subject.clips for subject in subjects],
    }
    for split in ("train", "val", "test", "left_out"):
        found[f"frames_{split}"] = [subject.frames.get(split, math.nan) for subject in subjects]
    for name in ("psnr_db_full", "ssim_full", "psnr_db_face", "ssim_face"):
        found[name] = [subject.metrics.get(name, math.nan) for subject in subjects]
    for kind in KINDS:
        found[f"bytes_{kind}"] = [subject.sizes.get(kind, 0) for subject in subjects]
    for stage in STAGES:
        found[f"state_{stage}"] = [subject.stage_state(stage) for subject in subjects]
        found[f"minutes_{stage}"] = [subject.minutes(stage) for subject in subjects]
    return found


def counted(subjects: Iterable[Subject]) -> Mapping[str, int]:
    """Count the subjects in each state that occurs, the worst first."""
    states = [subject.state for subject in subjects]
    return {state: states.count(state) for state in STATES if state in states}
