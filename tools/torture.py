"""Kill the demo pipeline at random moments, give the same command again, and compare what it makes in the end.

Every accident hits a small run of the whole workflow (64 px, a few images of training) in a copy of the results that an
undisturbed run has made, without the outputs of a random stage and of all behind it: late stages are hit as often as
early ones. SIGKILL, SIGTERM or Ctrl-C goes to Snakemake, to one of its processes or to all; then the same command
follows, which may be hit again. Once each the disk is full, the results cannot be written, and everything halts; where
that came too late to matter, it is tried again.

Looked at each time: nothing half-written under a final name, no process outlives its run; and at the end of a build the
same results (`tools.same_results`), no file left over, no lock. The table is that of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path

from selfieavatar.io.paths import RULES
from tools.marked_run import TARGETS, MarkedRun, own_disk, prepare, used_bytes
from tools.same_results import differences

STEPS = tuple(name for name, rule in RULES.items() if not rule.on_request or name == "reenact")
PROTECTED = "Write-protected output"  # how Snakemake says it of a file that is there
TRIES = 5  # of an accident that is to happen once
OF_THE_SYSTEM = re.compile(r"snakemake|torchinductor|[0-9a-f]{32}-pulp\.")
TO_AVATAR = STEPS[: STEPS.index("evaluate")]


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50, help="how many kills (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of the choices and moments (default: a new one)")
    parser.add_argument("--from-stage", default="demo", choices=STEPS, help="hit this stage and those behind it alone")
    parser.add_argument("--targets", nargs="+", default=TARGETS, help="what to make (default: everything)")
    parser.add_argument("--hits", type=int, default=3, help="at most so many kills of a build (default: %(default)s)")
    parser.add_argument("--halt-s", type=float, default=60, help="how long everything halts (default: %(default)s)")
    parser.add_argument(
        "--no-disk", action="store_true", help="leave out the full disk and the one that refuses writing"
    )
    parser.add_argument("--reference", type=Path, help="folder that keeps the undisturbed run, for another time")
    parser.add_argument("--table", type=Path, help="write the table into this file, too")
    parser.add_argument("--timeout-s", type=float, default=1800, help="longest run (default: %(default)s)")
    return parser


class Torture:
    """Accidents to copies of an undisturbed run, and what was found."""

    def __init__(self, args: argparse.Namespace, base: Path) -> None:
        self.args, self.base = args, base
        self.seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
        self.rng = random.Random(self.seed)
        self.reference = args.reference or base / "reference"
        self.tried, self.failed = Counter[str](), Counter[str]()
        self.faults: list[str] = []
        self.skipped: dict[str, str] = {}
        self.builds = 0

    def say(self, text: str) -> None:
        """Print a line at once, with the time."""
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def run(self, work: Path) -> MarkedRun:
        """Give the command."""
        return MarkedRun(work, self.args.targets, self.args.timeout_s)

    def make_reference(self) -> None:
        """Run undisturbed, unless that was done before."""
        prepare(self.reference)
        run = self.run(self.reference)
        if run.wait():
            raise SystemExit(f"error: the undisturbed run has failed; it said:\n{run.said[-4000:]}")
        self.say(f"the undisturbed run is in {self.reference}")

    def half_done(self, name: str, step: str) -> Path:
        """Copy the undisturbed run without the outputs of `step` and of all behind it."""
        work = self.base / name
        shutil.copytree(self.reference, work)
        results = work / "results"
        left_out = list(results.glob("smoke/train")) if step in TO_AVATAR else []
        for rule in (RULES[other] for other in STEPS[STEPS.index(step) :]):
            for pattern in rule.outputs:
                left_out += results.rglob(pattern.format(of="*--*" if rule.scope == "driver" else "*"))
        for path in left_out:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return work

    def once(self, accident: Callable[[Path], list[str]]) -> None:
        """Let an accident happen that counts, in a few tries; the table says so where it did not."""
        for _ in range(TRIES):
            skipped = len(self.skipped)
            if self.build(accident) or len(self.skipped) > skipped:
                return
        self.skipped[accident.__name__.replace("_", " ")] = f"{TRIES} runs ended without it"

    def build(self, accidents: Callable[[Path], list[str]]) -> bool:
        """Let accidents happen to a half-done copy, give the command a last time, and look at what it has made.

        Returns whether one has happened.
        """
        self.builds += 1
        step = self.rng.choice(STEPS[STEPS.index(self.args.from_stage) :])
        work = self.half_done(f"build{self.builds}", step)
        with ExitStack() as self.stack:
            kinds = accidents(work)
            if not kinds:
                shutil.rmtree(work, ignore_errors=True)
                return False
            run = self.run(work)
            faults = [f"the last run ended with status {status}"] if (status := run.wait()) else []
            faults += [f"outlived: {one}" for one in run.survivors()]
            faults += differences(work / "results", self.reference / "results")
        for folder in ("locks", "incomplete"):
            faults += [f"left: {path.name} in {folder}" for path in (work / ".snakemake" / folder).glob("*")]
        # What Snakemake and its solver PuLP had in the temporary folder of a killed run is the system's to clear away;
        # torch keeps a cache there.
        left = [path for path in run.temporary.iterdir() if not OF_THE_SYSTEM.match(path.name)]
        faults += [f"left: {path}" for path in left]
        self.note(f"build {self.builds}, from {step}, {', '.join(kinds)}", faults, kinds)
        if faults:
            self.say(run.said[-3000:])
        shutil.rmtree(work, ignore_errors=True)
        return True

    def note(self, what: str, faults: list[str], kinds: list[str]) -> None:
        """Count, and say, faults of accidents of these kinds."""
        self.faults += [f"{what}: {fault}" for fault in faults]
        self.failed.update(set(kinds) if faults else ())
        self.say(f"{what}: {'; '.join(faults) or 'well'}")

    def kills(self, work: Path) -> list[str]:
        """Hit one build once, or several times."""
        kinds: list[str] = []
        for _ in range(self.rng.randint(1, self.args.hits)):
            if self.tried.total() >= self.args.count:
                break
            run = self.run(work)
            if not run.reached(self.rng.random(), self.rng.random()):
                break
            busy = ", ".join(run.stages()) or "no stage"
            kind = run.strike(self.rng)
            kinds.append(kind)
            self.tried[kind] += 1
            self.say(f"{kind}, while {busy} ran")
            run.wait()
            faults = [f"outlived: {one}" for one in run.survivors()]
            faults += differences(work / "results", self.reference / "results", complete=False)
            self.note(kind, faults, [kind])
        return kinds

    def halt(self, work: Path) -> list[str]:
        """Halt everything once, as a laptop that sleeps, or Ctrl-Z; nothing where the run has ended before."""
        run = self.run(work)
        if not run.reached(self.rng.random(), self.rng.random()):
            return []
        if not self.hold(run):
            return []
        kind = "halted for a while (SIGSTOP, SIGCONT)"
        self.tried[kind] += 1
        self.note(kind, [f"the run ended with status {status}"] if (status := run.wait()) else [], [kind])
        return [kind]

    def hold(self, run: MarkedRun) -> bool:
        """Stop all processes of a run for a while; false if it has just ended."""
        halted = False
        with suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGSTOP)
            halted = run.process.poll() is None
            time.sleep(self.args.halt_s if halted else 0)
            os.killpg(run.process.pid, signal.SIGCONT)
        return halted

    def full_disk(self, work: Path) -> list[str]:
        """Have a disk that is full half-way, and larger before the command is given again."""
        results = work / "results"
        if os.getuid():
            self.skipped["full disk"] = "only root may mount a small one"
            return []
        there, needed = used_bytes(results), used_bytes(self.reference / "results")
        size = there + int(self.rng.uniform(0.1, 0.6) * (needed - there))
        remount = self.stack.enter_context(own_disk(results, size))
        kinds = self.refused("full disk (tmpfs)", work, ("the disk is full",))
        remount(f"size={20 * needed}")
        return kinds

    def read_only(self, work: Path) -> list[str]:
        """Have results that cannot be written, and can be before the command is given again."""
        results = work / "results"
        if os.getuid():
            folders = [results, *(path for path in results.rglob("*") if path.is_dir())]
            for path in folders:
                path.chmod(0o555)
            kinds = self.refused("no permission to write (mode 555)", work, ("ermission denied", PROTECTED))
            for path in folders:
                path.chmod(0o755)
            return kinds
        remount = self.stack.enter_context(own_disk(results, 20 * used_bytes(self.reference / "results")))
        remount("ro")
        kinds = self.refused("no permission to write (tmpfs remounted read-only)", work, ("ead-only", PROTECTED))
        remount("rw")
        return kinds

    def refused(self, kind: str, work: Path, words: tuple[str, ...]) -> list[str]:
        """Run where that must fail with one of these words; nothing if it does not fail."""
        run = self.run(work)
        if not run.wait():
            self.say(f"{kind}: the run did without what it lacked; not counted")
            return []
        self.tried[kind] += 1
        said = any(word in run.said for word in words)
        faults = [] if said else [f"it says none of {words}, but: {run.said[-1500:]}"]
        faults += [f"outlived: {one}" for one in run.survivors()]
        faults += differences(work / "results", self.reference / "results", complete=False)
        self.note(kind, faults, [kind])
        return [kind]

    def table(self) -> str:
        """Write what was tried and what recovered as a Markdown table."""
        lines = ["| accident | tried | recovered |", "|---|---|---|"]
        for kind, tried in sorted(self.tried.items()):
            lines.append(f"| {kind} | {tried} | {max(tried - self.failed[kind], 0)} |")
        lines += [f"| {kind} | skipped: {why} | |" for kind, why in self.skipped.items()]
        command = shlex.join(["python", "-m", "tools.torture", *sys.argv[1:]])
        gone = f"processes were gone {MarkedRun.longest_s:.1f} s after their run at the latest"
        return "\n".join([*lines, "", f"{date.today()}, `{command}`, seed {self.seed}; {gone}."]) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Torture, and print the table; returns the exit status: 0 all recovered, 1 something has not."""
    args = build_parser().parse_args(argv)
    # A shell that starts this in the background has it, and what it starts, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as base:
        torture = Torture(args, Path(base))
        torture.say(f"seed {torture.seed}")
        torture.make_reference()
        while torture.tried.total() < args.count:
            torture.build(torture.kills)
        torture.once(torture.halt)
        if not args.no_disk:
            torture.once(torture.read_only)
            torture.once(torture.full_disk)
    table = torture.table()
    print(table, *torture.faults, sep="\n")
    if args.table:
        args.table.write_text(table)
    return int(bool(torture.faults))


if __name__ == "__main__":
    sys.exit(main())
