"""Adapt Snakemake's process: it ends when it is told to, and plans faster."""

from __future__ import annotations

import _thread
import gc
from typing import Any

from snakemake.scheduling.job_scheduler import JobScheduler


def adapt_snakemake() -> None:
    """Let SIGTERM (`kill`, a cluster, a service manager) end Snakemake at any moment, and spare its garbage collector.

    Snakemake's handler asks for the scheduler's lock. It runs on the main thread, between two of that thread's own
    instructions: where the main thread holds the lock, which is not reentrant, it would wait for itself for ever.
    """
    JobScheduler.exit_gracefully = _exit_gracefully
    gc.set_threshold(200_000, 50, 100)  # a plan is millions of objects that stay: a tenth of its time


def _exit_gracefully(self: JobScheduler, *_: Any, _exit: Any = JobScheduler.exit_gracefully) -> None:
    _thread.start_new_thread(_exit, (self,))  # `threading` has locks of its own, which may be held just then, too
