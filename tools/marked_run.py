"""Run the whole workflow at its smallest, with a mark on each process that finds orphans; on a disk of its own."""

from __future__ import annotations

import atexit
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from selfieavatar.settings.config import ROOT

SHEET = """subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset
smoke\ttalk\ttrain\tdemo:1\t0\t24\tdemo\tsynthetic\tsmoke
smoke\tother\ttest\tdemo:1\t24\t32\tdemo\tsynthetic\tsmoke
guest\ttalk\tdrive\tdemo:2\t0\t8\tdemo\tsynthetic\tsmoke
"""
# As small as every stage takes it. No minutes: they would end the training by the clock.
SETTINGS = """demo: {size_px: 192, train_frames: 24, test_frames: 8}
train: {images: 24, minutes: 0, batch: 2, maps_until: 12, save_s: 1, validations: 2, weight_mrf: 0, weight_cos: 0}
evaluate: {network_metrics: false}
"""
TARGETS = ("all", "results/smoke/reenact/guest--talk.mp4")
MARK = "SELFIEAVATAR_TORTURE"  # in the environment of every process of a run
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
GONE_S = 120.0  # how long processes may outlive their run where the machine is busy; else it is a second or two


def prepare(work: Path) -> None:
    """Write the sheet and the settings into a working folder, unless it has others."""
    work.mkdir(parents=True, exist_ok=True)
    for name, text in (("sheet.tsv", SHEET), ("small.yaml", SETTINGS)):
        if not (work / name).exists():
            (work / name).write_text(text)


class MarkedRun:
    """Snakemake in a working folder, its processes marked; what it says is kept in `said`."""

    longest_s = 0.0  # that a process has outlived its run

    def __init__(self, work: Path, targets: Sequence[str], timeout_s: float) -> None:
        self.work, self.timeout_s, self.mark = work, timeout_s, uuid.uuid4().hex
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *targets]
        command += ["--configfile", "small.yaml", "--config", "subjects=sheet.tsv"]
        self.temporary = work.parent / f"{work.name}.tmp"
        self.temporary.mkdir(exist_ok=True)
        env = os.environ | {MARK: self.mark, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary)}
        self.log = work / "said.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        atexit.register(self.kill)

    def kill(self) -> None:
        """Kill what is left of the run when this process ends before it."""
        if self.process.poll() is None:
            for process in self.processes():
                process.kill()

    @property
    def said(self) -> str:
        """All that the run has said."""
        return self.log.read_text(errors="replace")

    def wait(self) -> int:
        """Wait for the end; the exit status."""
        return self.process.wait(self.timeout_s)

    def progress(self) -> tuple[int, int]:
        """Count the jobs that are done, and all of the run; (0, 0) until it knows."""
        said = self.said
        total = re.search(r"^total +(\d+)", said, re.MULTILINE)
        return said.count("\nFinished jobid"), int(total[1]) if total else 0

    def reached(self, share: float, part: float) -> bool:
        """Wait until a share of the jobs is done, and for a part of a job's time; false if the run has ended."""
        began = time.monotonic()
        while self.process.poll() is None:
            done, total = self.progress()
            if total and done >= int(share * total):
                time.sleep(part * (time.monotonic() - began) / (done + 1))
                break
            time.sleep(0.1)
        return self.process.poll() is None

    def strike(self, rng: random.Random) -> str:
        """Send a signal to some of the processes; says which."""
        name = rng.choice(list(SIGNALS))
        if name == "Ctrl-C":
            self._to_all(signal.SIGINT)
            return name
        whom = rng.choice(["Snakemake", "one of its processes", "all"])
        others = [process for process in self.processes() if process.pid != self.process.pid]
        if whom == "all":
            self._to_all(SIGNALS[name])
        elif whom == "Snakemake" or not others:
            whom = "Snakemake"
            self.process.send_signal(SIGNALS[name])
        else:
            with suppress(psutil.NoSuchProcess):
                rng.choice(others).send_signal(SIGNALS[name])
        return f"{name} to {whom}"

    def _to_all(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.killpg(self.process.pid, number)

    def processes(self) -> list[psutil.Process]:
        """List all living processes of the run, its orphans too."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def survivors(self) -> list[str]:
        """Wait until no process of the run is left; those that stay are named, and killed."""
        began = time.monotonic()
        while (left := self.processes()) and time.monotonic() < began + GONE_S:
            time.sleep(0.2)
        MarkedRun.longest_s = max(MarkedRun.longest_s, time.monotonic() - began)
        named = []
        for process in left:
            with suppress(psutil.Error):
                named.append(" ".join(process.cmdline())[:80])
                process.kill()
        return named

    def stages(self) -> list[str]:
        """Name the stages that are at work."""
        found = set()
        for process in self.processes():
            with suppress(psutil.Error):
                found |= {word for word in process.cmdline() if word.startswith("stages.")}
        return sorted(found)


def used_bytes(folder: Path) -> int:
    """Count the bytes that a folder takes on a disk, in whole blocks."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


@contextmanager
def own_disk(folder: Path, size: int) -> Iterator[Callable[[str], object]]:
    """Put a folder on a disk of its own, in memory; yields a function that mounts it anew with other options."""
    kept = folder.rename(folder.with_name(f"{folder.name}.moved"))
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        shutil.rmtree(kept)
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
