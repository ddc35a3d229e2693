"""Prune the states of trainings other than the current one of their avatar: list them, remove with --yes only.

Each training keeps its state below results/<subject>/train, in a folder named by its settings, code and data, and goes
on from there when it is asked for again. A finished one keeps only a copy of its avatar. Never touched are the training
that made the present avatar.pt, the one that was worked on last, curves and image grids. Run by hand; where a run is at
work, nothing is removed.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.io.files import content_hash, expand
from selfieavatar.io.lease import refuse_others
from selfieavatar.io.paths import AVATAR, TRAIN, avatar_folders
from selfieavatar.reporting.summary_page import bytes_in_words
from selfieavatar.settings.cli import main, stage_parser
from selfieavatar.settings.config import PATHS

KEY = re.compile(r"[0-9a-f]{16}")
STATE = re.compile(r"state\.pt|(checkpoint|best)_\d+\.pt")


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = stage_parser(__doc__, "prune", package="tools")
    parser.add_argument("--results", default=PATHS["results"], help="folder of the results (default: %(default)s)")
    parser.add_argument(
        "--avatars",
        action="store_true",
        help="also the finished avatars of earlier settings: going back to those then means to train anew",
    )
    parser.add_argument("--yes", action="store_true", help="remove what is listed")
    return parser


def old_trainings(train: Path) -> list[Path]:
    """List the trainings below `train` but that of the present avatar and the one that was worked on last."""
    folders = [path for path in train.iterdir() if KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]
    keep = {max(folders, key=last_written)} if folders else set()
    present = train.parent / AVATAR
    if present.is_file():
        keep |= {folder for folder in folders if same_file(folder / AVATAR, present)}
    return sorted(set(folders) - keep)


def last_written(folder: Path) -> float:
    """Read the time of the newest file of a training, s."""
    return max((path.lstat().st_mtime for path in folder.iterdir()), default=folder.stat().st_mtime)


def same_file(one: Path, other: Path) -> bool:
    """Tell whether both are there and have the same content."""
    if not one.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    return content_hash(one) == content_hash(other)


def leftovers(results: Path, avatars: bool) -> list[Path]:
    """List old files of all subjects and variants; with the finished avatars of earlier settings if asked."""
    found = []
    for train in filter(Path.is_dir, (folder / TRAIN for folder in avatar_folders(results))):
        for folder in old_trainings(train):
            files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
            found += sorted(p for p in files if STATE.fullmatch(p.name) or (avatars and p.name == AVATAR))
    return found


def run(args: argparse.Namespace) -> None:
    """List the files, and remove them if told to."""
    results = expand(args.results)
    if not results.is_dir():
        raise UserError(f"there is no folder {results}; name that of the results by --results")
    found = leftovers(results, args.avatars)
    facts = {path: path.stat() for path in found}
    lines = [f"{bytes_in_words(facts[path].st_size):>9}  {path}" for path in found]
    # A checkpoint may be the last one under a second name.
    total = bytes_in_words(sum({(fact.st_dev, fact.st_ino): fact.st_size for fact in facts.values()}.values()))
    if args.yes:
        for path in found:
            refuse_others(path)
        for path in found:
            path.unlink()
    end = "removed" if args.yes else "would be removed by --yes"
    sys.stdout.write("\n".join([*lines, f"{len(found)} files, {total}, {end}"]) + "\n")


if __name__ == "__main__":
    main(build_parser(), run)
