"""Tell what marks images and videos carry: are they synthetic, of which avatar, on what basis, and signed by whom.

In: files, or folders of them. Reads Content Credentials (C2PA), the IPTC digital source type in XMP or tags, and the
watermark; nothing is fetched and nothing written. A file without a mark is not thereby real: marks can be removed.
Exit status: 0 each file carries a mark, 3 at least one carries none, 4 at least one has a signature that does not fit
what it signed (or is damaged), 2 at least one cannot be read; where several hold, 2 before 4 before 3.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.io.images import IMAGE_SUFFIXES
from selfieavatar.settings.cli import main, stage_parser

log = logging.getLogger(__name__)

UNREAD, UNMARKED, BROKEN = 2, 3, 4
VIDEO_SUFFIXES = {".mp4", ".mov", ".m4v", ".webm", ".mkv"}


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = stage_parser(__doc__, "verify")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="image, video, or folder of them")
    parser.add_argument("--trust", type=Path, metavar="PEM", help="root certificates whose signatures are trusted")
    parser.add_argument("--json", action="store_true", help="write JSON, one object a line for each file")
    return parser


def listed(paths: list[Path]) -> Iterator[Path]:
    """List the files, and the images and videos of folders.

    Raises:
        UserError: a folder holds none.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = [one for one in sorted(path.rglob("*")) if one.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        if not inside:
            raise UserError(f"the folder {path} holds no image or video; give another")
        yield from inside


def run(args: argparse.Namespace) -> None:
    """Print what each file says; exits with the status that the docstring tells."""
    from selfieavatar.marking.reading import read_marks

    anchors = ""
    if args.trust is not None:
        try:
            anchors = args.trust.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise UserError(f"--trust {args.trust} is no readable PEM file ({error})") from error
    status, unread = 0, False
    for path in listed(args.files):
        try:
            marks = read_marks(path, anchors)
        except UserError as error:
            log.error("%s", error)
            unread = True
            continue
        if args.json:
            print(json.dumps({"file": str(path)} | marks.as_dict()))  # noqa: T201 - the answer that was asked for
        else:
            print(f"{path}: " + "\n    ".join(marks.in_words()))  # noqa: T201
        status = max(status, BROKEN if marks.broken else 0 if marks.found else UNMARKED)
    sys.exit(UNREAD if unread else status)


if __name__ == "__main__":
    main(build_parser(), run)
