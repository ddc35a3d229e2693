"""Share a command line among all stages: settings, threads, logging, and how a stage ends.

Exit status: 0 done, 2 the user can fix it (one line says how), 130 interrupted, 1 a defect of ours (traceback).
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from selfieavatar.errors import UserError
from selfieavatar.io.lease import leased
from selfieavatar.io.permissions import share_mask
from selfieavatar.settings.config import read_section, stage_settings
from selfieavatar.settings.marking_section import Marking

# What ends a stage from outside: Ctrl-C, a batch system, a terminal that is closed.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The environment variable by which a rule's command names the processes that its stage must not outlive.
ENDS_WITH = "SELFIEAVATAR_ENDS_WITH"
AGAIN_S = 120.0  # time for a training to come to the end of its step, and to save
LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def stage_parser(
    doc: str | None, stage: str, section: str | None = None, package: str = "stages"
) -> argparse.ArgumentParser:
    """Build a parser with the arguments that every stage has.

    Args:
        doc: the stage module's docstring; its first line describes the command.
        stage: name of the stage's module.
        section: name of its configuration section, where that is another stage's.
        package: where the module lies.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}.{stage}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    section = section or stage
    parser.set_defaults(stage=stage, section=section)
    parser.add_argument(
        "--settings",
        default="{}",
        metavar="JSON",
        help="the stage's section of the configuration as JSON; keys left out take their defaults (config/README.md)",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU cores to use (default: all)")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser


def marking_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a command that lets an avatar's images leave takes; `marking_of` reads it."""
    parser.add_argument(
        "--no-label",
        action="store_true",
        help="leave out the visible label. Whoever shows the video must still say clearly that it is AI-generated "
        "(Article 50(4) of the EU AI Act): in a caption, or fittingly in an evidently artistic or satirical work. Only "
        "purely private use, and use that the law authorises against crimes, need not. All other marks stay; see "
        "docs/responsible-use.md",
    )
    parser.add_argument(
        "--signing-key",
        default="",
        metavar="PEM",
        help="your own key and certificates to sign by (default: this computer's, made at first use, untrusted)",
    )


def marking_of(args: argparse.Namespace) -> Marking:
    """Read the settings of the marks from the arguments of `marking_arguments`."""
    return read_section(Marking, {"label": not args.no_label, "key": args.signing_key}, "marking")


def main(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None], argv: list[str] | None = None
) -> None:
    """Parse the command line, run the stage, and end the process with the status that fits."""
    args = parser.parse_args(argv)
    logging.basicConfig(level=args.log_level, format=LOG_FORMAT, datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("__main__").name = args.stage  # the module that was started has a name of its own
    # Let the atomic writers clean up as they do after Ctrl-C, whatever ends the stage; nohup's jobs go on.
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if ENDS_WITH in os.environ:
        threading.Thread(target=_end_with, args=(os.environ[ENDS_WITH],), daemon=True).start()
    try:
        os.umask(share_mask())  # of files that libraries write; files.py sees to the others
        args.settings = stage_settings(args.section, _parse_json(args.settings))
        # More threads of BLAS would wait for each other: the matrices are small.
        with threadpool_limits(1, user_api="blas"), leased(_outputs(args)):
            run(args)
    except UserError as error:
        sys.exit(_say(args.stage, str(error), status=2))
    except KeyboardInterrupt:
        sys.exit(_say(args.stage, "interrupted; nothing half-written was left behind", status=130))
    except OSError as error:
        problem = os_problem(error)
        if problem is None:
            raise
        sys.exit(_say(args.stage, problem, status=2))


def _outputs(args: argparse.Namespace) -> list[Path]:
    """List what the stage is about to write, by the names of its arguments; of a group of processes the first does."""
    if os.environ.get("RANK", "0") != "0":
        return []
    return [
        value
        for name, value in vars(args).items()
        if isinstance(value, Path) and (name in ("manifest", "train_dir") or name.split("_")[0] == "out")
    ]


_interrupted_s: list[float] = []  # when a signal last came


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted_s[:] = [time.monotonic()]
    signal.default_int_handler(number, frame)


def _end_with(run: str) -> None:
    """End this stage, as SIGTERM does, when one of the processes of its run has: nobody would wait for its files.

    What `kill -9`, or the kernel for want of memory, ends cannot pass it on; another run would work beside this stage.
    """
    try:
        processes = [psutil.Process(int(number)) for number in run.split()]
        while all(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
            time.sleep(0.5)
    except psutil.NoSuchProcess as gone:  # between two looks at it, or before the first
        logging.getLogger(__name__).debug("%s", gone)
    logging.getLogger(__name__).warning("the run that started this stage has ended")
    while True:
        # Again, since a library that calls Python from C may have swallowed it; but not into the end of this stage.
        if not _interrupted_s or time.monotonic() - _interrupted_s[0] > AGAIN_S:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)


FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
FAILING = (errno.EIO, errno.ESTALE)


def os_problem(error: OSError) -> str | None:
    """Write the sentence for an error of the file system that the user can fix; None for a defect."""
    where = error.filename or os.getcwd()
    if error.errno in FULL:
        return f"the disk is full at {where}; free some space and run the same command again"
    if error.errno in NOT_ALLOWED:
        return f"cannot write {where} ({error.strerror}); make it writable, or choose another folder"
    if error.errno in FAILING:
        return (
            f"the disk or its connection fails at {where} ({error.strerror}); see to it and run the same command again"
        )
    if error.errno == errno.ENAMETOOLONG:
        return f"a name is too long for the file system: {where}; choose a shorter one"
    return None


def _parse_json(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"--settings is not valid JSON ({error}); pass an object such as '{{\"size_px\": 128}}'"
        ) from error
    if not isinstance(settings, dict):
        raise UserError("--settings must be a JSON object such as '{\"size_px\": 128}'")
    return settings


def _say(stage: str, message: str, status: int) -> int:
    print(f"error: {stage}: {message}", file=sys.stderr)  # noqa: T201 - the one line that a user reads
    return status


def progress(
    iterable: Iterable | None = None, *, total: int | None = None, initial: int = 0, desc: str = "", unit: str = "frame"
) -> tqdm:
    """Show a progress bar on standard error: live on a terminal, a line every 30 s in a log file.

    initial: units that an earlier run has done, which do not count for the rate.
    """
    live = sys.stderr.isatty()
    return tqdm(
        iterable, total=total, initial=initial, desc=desc, unit=unit, dynamic_ncols=live,
        mininterval=0.2 if live else 30.0, leave=True,
    )  # fmt: skip
