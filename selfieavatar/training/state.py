"""Save and load what a training run needs to resume bit-exactly after a kill, and to roll back after a collapse.

state.pt          the last state; a killed run goes on from it
checkpoint_<steps>.pt   states at validations, to return to when the loss is not finite or the discriminator has won
best_<images>.pt  the averaged networks with the best validation score
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from selfieavatar.io.files import atomic_file, content_hash
from selfieavatar.settings.cli import STOPPING
from selfieavatar.settings.config import canonical_json
from selfieavatar.settings.train_section import Train

log = logging.getLogger(__name__)

STATE_NAME = "state.pt"
# What `Trainer.state` holds.
STATE_PARTS = (
    "nets", "average", "frozen", "disc", "optimizer", "discriminator_optimizer", "history", "collapse", "checkpoints",
    "best", "counters",
)  # fmt: skip
IMPATIENT_S = 1.0  # one request to stop may reach a process by several ways, but not so far apart


def run_key(settings: Train, code: str, data: str) -> str:
    """Name a run's folder: a hash of configuration, code digest and data hash. Another of any is another run."""
    return content_hash(canonical_json({"settings": settings, "code": code, "data": data}).encode())


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state in one piece; a kill while writing leaves the one before."""
    write_torch(folder / STATE_NAME, state)


def checkpoint_name(steps: int) -> str:
    """Name the file of the checkpoint after so many steps."""
    return f"checkpoint_{steps:09d}.pt"


def best_name(images: int) -> str:
    """Name the file of the best averaged networks, seen after so many images."""
    return f"best_{images:09d}.pt"


def keep_checkpoint(folder: Path, steps: list[int]) -> None:
    """Keep the state just saved as the checkpoint of the last of `steps`, and drop those of no step in the list."""
    path = folder / checkpoint_name(steps[-1])
    path.unlink(missing_ok=True)
    try:  # state.pt is only ever replaced, never written to: both names may share the bytes
        os.link(folder / STATE_NAME, path)
    except OSError:  # a file system without hard links
        with atomic_file(path) as temporary:
            shutil.copyfile(folder / STATE_NAME, temporary)
    drop_others(folder, "checkpoint", [checkpoint_name(number) for number in steps])


def drop_others(folder: Path, kind: str, names: list[str]) -> None:
    """Remove the files of a kind (checkpoint, best) that are not among `names`."""
    for path in folder.glob(f"{kind}_*.pt"):
        if path.name not in names:
            path.unlink()


def discard_state(folder: Path) -> None:
    """Remove the states of a finished run; its avatar, curves and grids stay."""
    (folder / STATE_NAME).unlink(missing_ok=True)
    for kind in ("checkpoint", "best"):
        drop_others(folder, kind, [])


def is_whole(path: Path) -> bool:
    """Check that there is such a file and that it can be read."""
    if not path.is_file():
        return False
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # depending on the damage, torch raises a dozen different ones
        log.warning("%s is damaged; it is made again", path)
        return False
    return True


def write_torch(path: Path, content: dict[str, Any]) -> None:
    """Write by torch.save in one piece, through memory: its own writer hides a full disk behind an inner error."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _read_state(path: Path, device: torch.device | str) -> dict[str, Any]:
    """Read a state; whatever torch raises on a damaged one, or ValueError where it holds something else."""
    state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict) or any(part not in state for part in STATE_PARTS):
        raise ValueError("it holds no state of a training")
    return state


def load_state(folder: Path, device: torch.device | str) -> dict[str, Any] | None:
    """Load the last state of a run, the last checkpoint where it is damaged, or None where none can be read."""
    for path in (folder / STATE_NAME, *sorted(folder.glob("checkpoint_*.pt"), reverse=True)):
        if not path.is_file():
            continue
        try:
            return _read_state(path, device)
        except Exception as error:  # depending on the damage, torch raises a dozen different ones
            log.warning("the training state %s cannot be read (%s)", path, error)
    if folder.is_dir() and any(folder.glob("*.pt")):
        log.warning("no readable state in %s: training starts anew", folder)
    return None


def load_checkpoint(folder: Path, steps: list[int], before: int, device: torch.device | str) -> dict[str, Any] | None:
    """Load the newest checkpoint of at most `before` steps, else the oldest that there is; None without any."""
    there = sorted(number for number in steps if (folder / checkpoint_name(number)).is_file())
    wanted = [number for number in reversed(there) if number <= before]
    for number in [*wanted, *(other for other in there if other not in wanted)]:
        try:
            return _read_state(folder / checkpoint_name(number), device)
        except Exception as error:  # depending on the damage, torch raises a dozen different ones
            log.warning(
                "the checkpoint %s cannot be read (%s); taking another", folder / checkpoint_name(number), error
            )
    return None


@contextmanager
def stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C, SIGTERM and SIGHUP back, and yield a function that tells whether one has come.

    A step that is cut in two would leave networks and counters that do not belong together. A second one, at least a
    second later, is not held back; one that is ignored (nohup) stays so. Outside the main thread, where Python cannot
    watch signals, nothing is held back.
    """
    asked: list[float] = []

    def note(_number: int, _frame: object) -> None:
        asked.append(time.monotonic())
        if asked[-1] - asked[0] >= IMPATIENT_S:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
