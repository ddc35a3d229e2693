"""Write report.html into the results folder, with Snakemake: of the subjects of the sheet that are made, and no others.

    python workflow/report.py [--config subjects=my.tsv results=/data/avatars]

Snakemake refuses a report when any file of the sheet is missing: only what is there is asked for.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stages.core.config import CONFIG_FILE, PATHS  # noqa: E402 - found only after the path is set
from stages.core.errors import UserError  # noqa: E402
from stages.core.files import expand  # noqa: E402
from stages.core.subjects import Sheet, read_sheet  # noqa: E402


def made(sheet: Sheet, results: Path) -> list[str]:
    """Files of the results that can be reported, with all that they show."""
    targets = []
    for subject in dict.fromkeys(clip.subject for clip in sheet.clips):
        folder = results / subject
        shown = [folder / "clips" / clip.clip / "contact.png" for clip in sheet.of(subject)]
        wanted = {folder / "metrics.json": [folder / "self.mp4"], folder / "tracking.html": shown}
        wanted[folder / "capture.html"] = []
        films = [folder / "reenact" / f"{clip.subject}--{clip.clip}.mp4" for clip in sheet.clips]
        wanted |= {path: [path.with_suffix(".parquet")] for path in films}
        targets += [str(path) for path, parts in wanted.items() if all(part.is_file() for part in (path, *parts))]
    return targets


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="subjects=... and results=...")
    given = dict(pair.partition("=")[::2] for pair in parser.parse_args().config)
    config = yaml.safe_load(CONFIG_FILE.read_text())
    paths = {key: given.get(key, config[key]) for key in PATHS}
    sheet = ROOT / paths["subjects"] if paths["subjects"] == PATHS["subjects"] else expand(paths["subjects"])
    results = expand(paths["results"])
    try:
        targets = made(read_sheet(sheet), results)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not targets:
        print(f"error: nothing to report in {results}; make an avatar first, such as by `make demo`", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *targets]
    settings = [f"{key}={paths[key]}" for key in PATHS]
    return subprocess.call([*command, "--report", str(results / "report.html"), "--config", *settings])


if __name__ == "__main__":
    sys.exit(main())
