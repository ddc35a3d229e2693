"""Download one published file of settings.assets and verify its digest.

A broken download resumes when the command is run again; until then its part lies beside the target as <file>.part.
"""

from __future__ import annotations

import argparse
import http.client
import logging
import os
import urllib.error
import urllib.request
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.settings.assets import ASSETS, Asset, verify
from selfieavatar.settings.cli import main, progress, stage_parser

log = logging.getLogger(__name__)

CHUNK = 1 << 18
TIMEOUT_S = 60


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "assets")
    parser.add_argument("file", choices=sorted(asset.file for asset in ASSETS.values()))
    parser.add_argument("--out", type=Path, required=True)
    return parser


def run(args: argparse.Namespace) -> None:
    """Download the named file."""
    asset = next(asset for asset in ASSETS.values() if asset.file == args.file)
    log.info("%s, licence %s, from %s", asset.file, asset.licence, asset.url)
    download(asset, args.out)


def download(asset: Asset, out: Path) -> None:
    """Download `asset` to `out` and verify it.

    Raises:
        UserError: there is no network, the publisher lacks the file, the connection broke, or the digest differs.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    try:
        _fetch(asset.url, part)
    except (OSError, http.client.HTTPException) as error:  # OSError: also URLError, a broken connection, a full disk
        refused = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410)
        again = "" if refused else "run the command again to resume, or "
        raise UserError(
            f"{asset.url} could not be downloaded ({error}); {again}put the file at {out} by hand"
        ) from error
    try:
        verify(part, asset)
    except UserError as error:
        part.unlink()
        raise UserError(
            f"{asset.url} sent another file than the published one, which was removed; run the command again later, or "
            f"put the file at {out} by hand"
        ) from error
    os.replace(part, out)


def _fetch(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            return  # the part is complete
        raise
    with answer:
        resumed = answer.status == 206
        left = int(answer.headers.get("Content-Length") or 0)
        bar = progress(total=have * resumed + left or None, desc=part.stem, unit="B")
        bar.update(have * resumed)
        with part.open("ab" if resumed else "wb") as file, bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                left -= len(chunk)
    if left > 0:
        raise ConnectionError(f"the connection broke with {left} bytes missing")


if __name__ == "__main__":
    main(build_parser(), run)
