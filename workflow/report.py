"""Write results/report.html with Snakemake: of the subjects that have been measured or tracked, and no others.

    python workflow/report.py [results folder] [more options of Snakemake]

Snakemake refuses a report when any file of the sheet is missing: only what is there is asked for.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def made(results: Path) -> list[str]:
    """Files of the results that have a place in the report."""
    return sorted(str(path) for name in ("metrics.json", "tracking.html") for path in results.glob(f"*/{name}"))


def main() -> int:
    results, *options = sys.argv[1:] or ["results"]
    targets = made(Path(results))
    if not targets:
        print(f"error: nothing to report in {results}; make an avatar first, such as by `make demo`", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *targets]
    return subprocess.call([*command, "--report", str(Path(results) / "report.html"), *options])


if __name__ == "__main__":
    sys.exit(main())
