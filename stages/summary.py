"""Sum up a batch: what was made of each subject of the sheet, what has failed and why, scores, time and disk.

Made at the end of every run of the workflow, and by hand at any time: `python -m stages.summary`. Reads the results'
files, logs and benchmarks, and changes none of them. Writes summary.html and summary.parquet into the folder of the
results and prints a short table, failed subjects first. Less than a second for a dozen subjects.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.evaluation.summary_text import outdated, worse_than
from selfieavatar.io.files import atomic_file, end_of, expand
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.io.paths import AVATAR, METRICS, RULES, SELF, VARIANTS, Rule
from selfieavatar.reporting.job_states import Job, Subject, columns, job_state, kind_of
from selfieavatar.reporting.summary_page import summary_page, terminal_lines
from selfieavatar.settings.cli import main, stage_parser
from selfieavatar.settings.clip_sheet import NAME, Sheet, read_sheet
from selfieavatar.settings.config import PATHS, ROOT

log = logging.getLogger(__name__)

BESIDE = ("table.md", "table.parquet", "report.html")


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "summary")
    parser.add_argument("--subjects", default=str(ROOT / PATHS["subjects"]), help="sheet of clips")
    parser.add_argument("--results", default=PATHS["results"], help="folder of the results (default: %(default)s)")
    parser.add_argument(
        "--after-run",
        action="store_true",
        help="for the workflow: no job is running any more, and standard input lists the files that the run was asked "
        "for, one a line (without: all of the sheet are asked for, and a job without an end may still be running)",
    )
    return parser


class Reader:
    """Read what lies in the folder of a subject, for `Subject`."""

    def __init__(self, results: Path, name: str, asked: set[Path] | None, folders: list[Path]) -> None:
        self.results, self.name, self.folder = results, name, results / name
        self._folders = [results.absolute().parent, *folders]  # no reason names them
        self._asked = asked  # files, after a run; None while one may be running

    def path(self, path: Path) -> str:
        """Write a path as seen from the folder of the results."""
        return path.relative_to(self.results).as_posix()

    def job(self, rule: Rule, of: str) -> Job:
        """Say what became of the job of a rule; of: its clip, variant, driver and so on, empty for the subject."""
        file, log_file = self.folder / rule.made(of), self.folder / rule.log(of)
        asked, said = self._asked is None or file in self._asked, end_of(log_file)
        state, reason = job_state(file.is_file(), said, asked, self._asked is not None, self._folders)
        place = self.path(log_file) if said is not None else ""
        return Job(rule.stage or rule.name, of, state, reason, place, minutes(self.folder / rule.benchmark(of)))

    def jobs(self, sheet: Sheet) -> Iterator[Job]:
        """Yield all jobs that the sheet asks for, and those of variants, drivers and methods that have left a trace."""
        clips = sheet.of(self.name)
        seeds = sorted({clip.demo_seed for clip in clips if clip.demo_seed is not None})
        known = {"subject": [""], "avatar": [""], "clip": [clip.clip for clip in clips], "seed": list(map(str, seeds))}
        for rule in RULES.values():
            if rule.on_request and rule.scope == "subject":
                asked = [""] * (self.folder / rule.log()).is_file()
            elif rule.on_request:
                asked = names(self.folder / "logs", f".{rule.name}.log")
            else:
                asked = known[rule.scope] if not rule.role or sheet.of(self.name, "train") else []
            if rule.role != "test" or sheet.to_test(self.name):
                yield from (self.job(rule, of) for of in asked)
            if rule.scope == "avatar":
                tried = (self.job(rule, variant) for variant in names(self.folder / VARIANTS, ""))
                yield from (job for job in tried if job.log)

    def frames(self) -> tuple[dict[str, float], dict[str, int]]:
        """Count frames used of each split, and those left out for each reason, of both lists of samples."""
        counts: dict[str, float] = {}
        reasons: Counter[str] = Counter()
        for path in (self.folder / RULES[name].made() for name in ("samples", "test_samples")):
            if not path.is_file():
                continue
            try:
                samples = read_manifest(path, "samples")
            except UserError as error:
                log.warning("%s", error)
                continue
            used = samples["used"]
            for split in ("train", "val", "test"):
                counts[split] = counts.get(split, 0) + int((used & (samples["split"] == split)).sum())
            counts["left_out"] = counts.get("left_out", 0) + int(np.count_nonzero(~used))
            reasons.update(samples["reason"][~used].tolist())
        return counts, dict(reasons.most_common())

    def _read_json(self, name: str, take: Callable[[dict], Any], default: Any) -> Any:
        """Apply `take` to a JSON file of the subject; the default where it is missing or unreadable."""
        path = self.folder / name
        if not path.is_file():
            return default
        try:
            return take(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            log.warning("%s is not readable (%.200r); run the workflow again to make it", path, error)
            return default

    def metrics(self) -> dict[str, float]:
        """Read PSNR and SSIM of metrics.json; those that it lacks are left out."""

        def take(metrics: dict) -> dict[str, float]:
            pairs = {f"{name}_{area}": metrics[area][name] for area in ("full", "face") for name in ("psnr_db", "ssim")}
            return {key: float(value) for key, value in pairs.items() if value is not None}

        return self._read_json(METRICS, take, {})

    def remarks(self) -> list[str]:
        """Remark on metrics that flatter, an avatar worse than a copied frame, and footage that does not suffice."""
        copied = self._read_json(METRICS, lambda m: worse_than(m) if "baselines" in m else None, None)
        footage = self._read_json("capture.json", lambda c: "" if c["verdict"] == "good" else c["sentence"] + "", "")
        avatar = self.folder / AVATAR
        old = avatar.is_file() and self._read_json(METRICS, lambda metrics: outdated(metrics, avatar), False)
        near = self._read_json(METRICS, lambda metrics: ", ".join(metrics.get("interleaved") or []), "")
        said = [f"interleaved: {near} lie next to frames that are trained on, so that PSNR and SSIM flatter"] * bool(
            near
        )
        said += ["PSNR and SSIM are of an avatar from before; make figures.html again"] * bool(old)
        return [*said, *[f"the face is worse than a plain copy ({copied})"] * bool(copied), *[footage] * bool(footage)]

    def links(self, clips: list[str]) -> list[tuple[str, str]]:
        """List what is there to be looked at: (words, path)."""
        wanted = [("tracking", self.folder / "tracking.html"), ("capture", self.folder / "capture.html")]
        wanted += [(f"contact sheet {clip}", self.folder / "clips" / clip / "contact.png") for clip in clips[:3]]
        wanted += [("avatar", self.folder / "figures.html"), ("video", self.folder / "self.mp4")]
        drivers = names(self.folder / "reenact", ".mp4")
        wanted += [(f"driven by {name}", self.folder / "reenact" / f"{name}.mp4") for name in drivers]
        return [(words, self.path(path)) for words, path in wanted if path.is_file()]

    def images(self, clips: list[str]) -> list[tuple[str, str]]:
        """Find the first contact sheet, and the avatar's last image of the first clip that it was measured on."""
        sheets = [self.folder / "clips" / clip / "contact.png" for clip in clips]
        painted = sorted(path for clip in clips for path in (self.folder / SELF / clip).glob("*.png"))
        found = [("sheet", path) for path in sheets if path.is_file()][:1] + [("face", path) for path in painted[-1:]]
        return [(kind, self.path(path)) for kind, path in found]

    def read(self, sheet: Sheet) -> Subject:
        """Read everything."""
        clips = [clip.clip for clip in sheet.of(self.name)]
        counts, reasons = self.frames()
        found = Subject(
            self.name, list(self.jobs(sheet)), len(clips), counts, reasons, self.metrics(), sizes(self.folder)
        )
        found.links, found.images, found.remarks = self.links(clips), self.images(clips), self.remarks()
        if found.state == "done" and sheet.of(self.name, "train") and found.stage_state("train") == "not asked":
            found.remarks.insert(0, "no avatar was asked for")
        return found


def names(folder: Path, suffix: str) -> list[str]:
    """Name the files or folders that end in `suffix`, without it; other people's oddities are passed over."""
    if not folder.is_dir():
        return []
    found = (path.name.removesuffix(suffix) for path in folder.iterdir() if path.name.endswith(suffix))
    return sorted(name for name in found if NAME.fullmatch(name))


def minutes(path: Path) -> float:
    """Read the time in a benchmark of Snakemake's, summed over its repetitions; NaN where there is none."""
    if not path.is_file():
        return math.nan
    with path.open(newline="", encoding="utf-8") as file:
        try:
            return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t")) / 60
        except (ValueError, KeyError, TypeError):
            log.warning("%s is not a benchmark of Snakemake's; its time is left out", path)
            return math.nan


def sizes(folder: Path) -> dict[str, int]:
    """Count bytes of the files of a subject by kind. Links are not followed; a file of several names counts once."""
    found: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder.joinpath(*below)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((*below, entry.name))
                    elif entry.is_file(follow_symlinks=False):
                        facts = entry.stat(follow_symlinks=False)
                        if facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in seen:
                            found[kind_of(below, entry.name)] += facts.st_size
                        if facts.st_nlink > 1:
                            seen.add((facts.st_dev, facts.st_ino))
        except FileNotFoundError:  # not made yet, or a run that goes on has removed it meanwhile
            continue
    return dict(found)


def run(args: argparse.Namespace) -> None:
    """Read all subjects of the sheet, write the page and the table, print the lines."""
    results, sheet = expand(args.results), read_sheet(expand(args.subjects))
    if not results.is_dir():
        raise UserError(f"there is no folder {results}; name that of the results by --results")
    asked = {Path(line) for line in sys.stdin.read().split("\n")} if args.after_run else None
    subjects = [Reader(results, name, asked, sheet.folders(name)).read(sheet) for name in sheet.everybody()]
    said = end_of(results / "logs" / "compare.log")
    state, why = job_state((results / "table.md").is_file(), said, False, args.after_run, [results.absolute().parent])
    table = f"the table of all subjects has failed: {why} (logs/compare.log)" if state == "failed" else ""
    write_manifest(results / "summary.parquet", "summary", columns(subjects))
    page = results / "summary.html"
    beside = [name for name in BESIDE if (results / name).is_file()]
    with atomic_file(page) as temporary:
        text = summary_page(subjects, beside, time.strftime("%Y-%m-%d %H:%M"), table)
        temporary.write_text(text, encoding="utf-8")
    lines = [*terminal_lines(subjects), *([f"  {table}"] if table else []), f"The whole summary: {page}"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(build_parser(), run)
