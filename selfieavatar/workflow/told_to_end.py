"""Have Snakemake end when it is told to (SIGTERM, as by `kill`, a cluster or a service manager), at any moment.

Snakemake's handler asks for the scheduler's lock. It runs on the main thread, between two of that thread's own
instructions: where the main thread holds the lock, which is not reentrant, it would wait for itself for ever.
"""

from __future__ import annotations

import _thread
from typing import Any

from snakemake.scheduling.job_scheduler import JobScheduler


def end_when_told() -> None:
    """Replace Snakemake's handler by one that does not wait."""
    JobScheduler.exit_gracefully = _exit_gracefully


def _exit_gracefully(self: JobScheduler, *_: Any, _exit: Any = JobScheduler.exit_gracefully) -> None:
    _thread.start_new_thread(_exit, (self,))  # `threading` has locks of its own, which may be held just then, too
