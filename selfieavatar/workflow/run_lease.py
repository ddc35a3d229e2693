"""Lease the folders that a Snakemake run makes files in, and keep it from removing files of others there.

Snakemake's own lock belongs to the working folder. Before a job starts and after one has failed, Snakemake removes the
job's outputs; a run that has no lease of their folder, or no longer, must not.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake.io import _IOFile
from snakemake.scheduling.job_scheduler import JobScheduler

from selfieavatar.errors import UserError
from selfieavatar.io.files import remove_dead
from selfieavatar.io.lease import VARIABLE, Holder, folder_of, new_run, refuse_lost


class RunLease:
    """The leases `results/.<subject>.lease` of this Snakemake run.

    Its main process takes them, the others of the run (a job on another host) know of them from the environment.

    Args:
        workflow: Snakemake's own. results: the folder of results.
    """

    def __init__(self, workflow: Any, results: Path) -> None:
        self._workflow, self._results = workflow, Path(os.path.abspath(results))
        self._holder: Holder | None = None
        if workflow.is_main_process:
            self._holder = _holder()
            self._holder.clear(self._results)
            remove_dead(self._results)
            self._holder.run.roots.append(str(self._results))
            self._holder.run.publish()
            workflow.register_envvars(VARIABLE)  # for executors that pass on only what they are told
        _leases[self._results] = self

    def take(self) -> None:
        """Take the leases of all folders that jobs of this run make files in.

        Raises:
            WorkflowError: another run is at work in one of them, or has just been.
        """
        if self._holder is None or self._workflow.dryrun:
            return
        jobs = list(self._workflow.dag.needrun_jobs())
        self._take(file for job in jobs for file in job.output)
        # Whoever held the lease while this run was looking for what is missing has made it by now.
        for job in jobs:
            made = [str(file) for file in self._workflow.dag.reason(job).missing_output if os.path.lexists(file)]
            if made and self._folder(made[0]):
                raise WorkflowError(
                    f"{made[0]} has just been made by another run; give the same command again, which makes the rest"
                )

    def before_removing(self, file: str) -> None:
        """Check that this run may remove an output.

        Raises:
            WorkflowError: another run is at work there.
        """
        if self._folder(file) is None:
            return
        self._take([file])  # without hooks, or for --delete-temp-output, nothing has been taken yet
        try:
            refuse_lost(file)
        except UserError as error:
            raise WorkflowError(str(error)) from error

    def _take(self, files: Iterable[str]) -> None:
        folders = sorted({folder for file in files if (folder := self._folder(file))})
        if self._holder is None or not folders:
            return
        try:
            self._holder.take(folders)
        except (UserError, OSError) as error:
            raise WorkflowError(str(error)) from error

    def _folder(self, file: str) -> Path | None:
        return folder_of(self._results, Path(os.path.abspath(file)))


@cache
def _holder() -> Holder:
    """Make the one holder of this process; a Snakefile may use this one as a module several times."""
    holder = Holder(new_run())
    atexit.register(holder.release)
    return holder


_leases: dict[Path, RunLease] = {}  # of each folder of results that the Snakefiles of this process work on


def _schedule(self: JobScheduler, _schedule: Callable[[JobScheduler], bool] = JobScheduler.schedule) -> bool:
    for lease in _leases.values():
        lease.take()
    return _schedule(self)


async def _remove(self: _IOFile, *arguments: Any, _remove: Any = _IOFile.remove, **options: Any) -> None:
    for lease in _leases.values():
        lease.before_removing(str(self))
    await _remove(self, *arguments, **options)


# Snakemake has no settings for either. `onstart` is silent in a Snakefile that is used as a module and with --no-hooks;
# --keep-incomplete is about failed jobs alone, and keeps what this run has left half done.
JobScheduler.schedule = _schedule  # once the jobs are known, before the first
_IOFile.remove = _remove  # of outputs before a job and after a failed one, and of temporary ones
