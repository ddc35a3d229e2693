"""Download one published file of settings.assets and verify its digest.

A broken download resumes when the command is run again; until then its part lies beside the target as <file>.part.
Where another run downloads the same file already, this one waits for it.
"""

from __future__ import annotations

import argparse
import http.client
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfieavatar.errors import UserError
from selfieavatar.io.lease import Holder, current_run, new_run
from selfieavatar.settings.assets import ASSETS, Asset, sha256_of, verify
from selfieavatar.settings.cli import main, progress, stage_parser

log = logging.getLogger(__name__)

CHUNK = 1 << 18
TIMEOUT_S = 60
WAIT_S = 2.0  # between two looks whether another run has ended its download
SCHEMES = ("https",)
MOST_BYTES = 1 << 30  # the largest published file has 575 MB


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
    """Download `asset` to `out` and verify it; what another run has downloaded meanwhile is kept.

    Raises:
        UserError: there is no network, the publisher lacks the file, the connection broke, or the digest differs.
    """
    if not out.parent.exists():
        out.parent.mkdir(parents=True)
        out.parent.chmod(0o755)
    part = out.with_name(out.name + ".part")
    with _alone(part):
        if not (out.is_file() and sha256_of(out) == asset.sha256):
            _download(asset, part, out)


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Hold the lease of a part, which two downloads would mix up; wait as long as another run has it."""
    holder, said = Holder(current_run() or new_run()), False
    while True:
        try:
            holder.take([part])
            break
        except UserError as error:  # names its owner, and says what to do if that is dead
            if not said:
                log.warning("waiting for another download of the same file: %s", error)
            said = True
            time.sleep(WAIT_S)
    try:
        yield
    finally:
        holder.release()


def _download(asset: Asset, part: Path, out: Path) -> None:
    try:
        _fetch(asset.url, part)
    # OSError: also URLError, a broken connection, a full disk; ValueError: a header or a redirection that is nonsense
    except (OSError, http.client.HTTPException, ValueError) as error:
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
    part.chmod(0o644)  # published, and nobody's face: all accounts of this machine may use it
    os.replace(part, out)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirections within SCHEMES only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise ValueError(f"it leads to {url[:100]!r}, not to an address of {SCHEMES[0]}")


def _fetch(url: str, part: Path) -> None:
    _check_scheme(url)
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            return  # the part is complete
        raise
    with answer:
        resumed = answer.status == 206
        total = have * resumed
        due = total + answer.length if answer.length is not None else None
        bar = progress(total=due, desc=part.stem, unit="B")
        bar.update(total)
        with part.open("ab" if resumed else "wb") as file, bar:
            while chunk := answer.read(CHUNK):
                total += len(chunk)
                if total > MOST_BYTES:
                    break
                file.write(chunk)
                bar.update(len(chunk))
    if total > MOST_BYTES:
        part.unlink()
        raise ValueError(f"it sends more than {MOST_BYTES >> 20} MB, which no published file has")
    if due is not None and total < due:
        raise ConnectionError(f"the connection broke with {due - total} bytes missing")


if __name__ == "__main__":
    main(build_parser(), run)
