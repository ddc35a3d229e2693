"""What a training run needs to go on after a kill exactly as if it had not been stopped."""

from __future__ import annotations

import io
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stages.core.config import canonical_json
from stages.core.files import atomic_file, content_hash

log = logging.getLogger(__name__)

STATE_NAME = "state.pt"


def run_key(settings: dict[str, Any], code: str, data: str) -> str:
    """Name of a run's folder: a hash of configuration, code digest and data hash. Another of any is another run."""
    return content_hash(canonical_json({"settings": settings, "code": code, "data": data}).encode())


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state in one piece; a kill while writing leaves the one before."""
    write_torch(folder / STATE_NAME, state)


def discard_state(folder: Path) -> None:
    """Removes the state of a finished run; its avatar, curves and grids stay."""
    (folder / STATE_NAME).unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """There is such a file and it can be read."""
    if not path.is_file():
        return False
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # as above
        log.warning("%s is damaged; it is made again", path)
        return False
    return True


def write_torch(path: Path, content: dict[str, Any]) -> None:
    """torch.save in one piece. By way of memory: its own writer hides a full disk behind an inner error."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_state(folder: Path, device: torch.device | str) -> dict[str, Any] | None:
    """The last state of a run, or None where there is none that can be read (said in the log)."""
    path = folder / STATE_NAME
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # depending on the damage, torch raises a dozen different ones
        log.warning("the training state %s cannot be read (%s); training starts anew", path, error)
        return None


@contextmanager
def stop_between_steps() -> Iterator[Callable[[], None]]:
    """Holds Ctrl-C and SIGTERM back until the function that it yields is called, which then raises KeyboardInterrupt.

    A step that is cut in two would leave networks and counters that do not belong together. A second Ctrl-C is not held
    back. Outside the main thread, where Python cannot watch signals, nothing is held back.
    """
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
