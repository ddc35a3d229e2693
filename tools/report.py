"""Write report.html into the results folder, with Snakemake, and open it where there is a browser to see it in.

    python tools/report.py [--config subjects=my.tsv results=/data/avatars]

Snakemake refuses a report when any file of the sheet is missing: only what is there is asked for.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from selfieavatar.errors import UserError  # noqa: E402
from selfieavatar.io.files import expand  # noqa: E402
from selfieavatar.settings.clip_sheet import Sheet, read_sheet  # noqa: E402
from selfieavatar.settings.config import CONFIG_FILE, PATHS, variant_names  # noqa: E402 - found only after the path is set
from selfieavatar.workflow.command import sheet_path  # noqa: E402


def shown(sheet: Sheet, subject: str, folder: Path) -> dict[Path, list[Path]]:
    """Map files of a subject that the report can show to all that Snakemake then demands, for it shows them, too."""
    clips = [folder / "clips" / clip.clip for clip in sheet.of(subject)]
    wanted = {clip / "contact.png": [clip / "overlay.mp4"] for clip in clips}
    wanted[folder / "tracking.html"] = [part for clip in clips for part in (clip / "contact.png", clip / "overlay.mp4")]
    wanted[folder / "capture.html"] = []
    for avatar in (folder, *(folder / "variants" / name for name in variant_names())):
        wanted[avatar / "metrics.json"] = [avatar / "self.mp4"]
        wanted[avatar / "figures.html"] = [avatar / "metrics.json", avatar / "self.mp4"]
    wanted |= {path: [] for path in folder.glob("external/*/metrics.json")}
    wanted[folder / "paper.html"] = []
    videos = [folder / "reenact" / f"{clip.subject}--{clip.clip}.mp4" for clip in sheet.clips]
    return wanted | {video: [video.with_suffix(".parquet")] for video in videos}


def made(sheet: Sheet, results: Path) -> list[str]:
    """List files of the results that can be reported, with all that they show.

    A subject without its footage has none: Snakemake could not say how they were made.
    """
    targets = []
    for subject in sheet.everybody():
        for path, parts in shown(sheet, subject, results / subject).items():
            if all(part.is_file() for part in (path, *parts)) and has_footage(sheet, subject, path):
                targets.append(str(path))
    measured = any(str(results / subject / "metrics.json") in targets for subject in sheet.subjects())
    return targets + [str(results / "table.md")] * (measured and (results / "table.md").is_file())


def has_footage(sheet: Sheet, subject: str, path: Path) -> bool:
    """Tell whether the footage of the subject, and of the driver of a video, is where the sheet says."""
    clips = sheet.of(subject) + [clip for clip in sheet.clips if path.stem == f"{clip.subject}--{clip.clip}"]
    return not any(clip.lacks_footage() for clip in clips)


def missing_footage(sheet: Sheet) -> Iterator[str]:
    """Yield sources of the sheet that are not there."""
    return iter(dict.fromkeys(clip.source for clip in sheet.clips if clip.lacks_footage()))


def has_display(environment: Mapping[str, str], platform: str) -> bool:
    """Tell whether somebody sees a page: there is a desktop, and no continuous integration."""
    desktop = platform in ("darwin", "win32") or environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    return bool(desktop) and not environment.get("CI")


def main() -> int:
    """Ask Snakemake for the report and open it; return the status to end with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="subjects=... and results=...")
    given = dict(pair.partition("=")[::2] for pair in parser.parse_args().config)
    config = yaml.safe_load(CONFIG_FILE.read_text())
    paths = {key: given.get(key, config[key]) for key in PATHS}
    sheet_file = sheet_path(paths["subjects"])
    results = expand(paths["results"])
    try:
        sheet = read_sheet(sheet_file)
        targets = made(sheet, results)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for source in missing_footage(sheet):
        print(f"left out: what was made of {source}, which is not there any more", file=sys.stderr)
    if not targets:
        print(
            f"error: nothing of the sheet {sheet_file} is made in {results}; make an avatar first, such as by "
            '`make demo`, or name another sheet: make report REPORT="subjects=my.tsv"',
            file=sys.stderr,
        )
        return 2
    page = results / "report.html"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *targets]
    settings = [f"{key}={paths[key]}" for key in PATHS]
    status = subprocess.call([*command, "--report", str(page), "--config", *settings])
    if status:
        return status
    print(f"The report is {page}")
    if has_display(os.environ, sys.platform):
        webbrowser.open(page.absolute().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
