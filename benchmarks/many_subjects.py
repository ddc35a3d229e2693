"""How long Snakemake takes to plan a sheet of many subjects, and how much memory: a dry run, of which nothing is made.

    python benchmarks/many_subjects.py                     # 1,000 subjects
    python benchmarks/many_subjects.py --subjects 100 500

Each subject has a clip to train on and one to test on, cut from a source of its own: links to one file, which a dry run
does not open. Seconds of the clock and of the CPU, which other programs hardly change; the largest resident set.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = "subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset\n"
# Each size is measured in a process of its own: the largest resident set of children is kept for good.
MEASURE = "--measure"


def write_sheet(folder: Path, count: int) -> None:
    """Write sheet.tsv with so many subjects, and their sources."""
    (folder / "clip.mp4").touch()
    rows = []
    for number in range(count):
        name = f"p{number:05d}"
        (folder / f"{name}.mp4").symlink_to("clip.mp4")
        rows.append(f"{name}\ttalk\ttrain\t{name}.mp4\t0\t1500\tselfie\tself\tcpu-128\n")
        rows.append(f"{name}\tread\ttest\t{name}.mp4\t1500\t\tselfie\tself\tcpu-128\n")
    (folder / "sheet.tsv").write_text(HEADER + "".join(rows))


def measure(count: int) -> str:
    """Plan so many subjects and return a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        write_sheet(Path(folder), count)
        command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--dry-run", "--quiet", "rules"]
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--config", "subjects=sheet.tsv"], cwd=folder, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
    said = done.stdout + done.stderr
    jobs = re.search(r"^total\s+(\d+)$", said, re.MULTILINE)
    if done.returncode or jobs is None:
        sys.exit(said[-3000:])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, peak_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return f"| {count} | {jobs[1]} | {seconds:.0f} s | {cpu:.0f} s | {peak_mb:.0f} MB |"


def main() -> None:
    """Print a table, a row for each number of subjects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, nargs="+", default=[1000], help="how many (default: 1000)")
    parser.add_argument(MEASURE, action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(measure(args.subjects[0]))
        return
    print("| subjects | jobs | clock | CPU | peak memory |\n|---|---|---|---|---|", flush=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for count in args.subjects:
        subprocess.run([sys.executable, __file__, MEASURE, "--subjects", str(count)], env=env, check=True)


if __name__ == "__main__":
    main()
