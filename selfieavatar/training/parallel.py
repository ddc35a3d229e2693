"""Train one avatar in several processes, one per GPU, each on its share of every batch (started by torchrun).

All hold the same networks: gradients are averaged before they are used, and means over known pixels are over those of
all, so that the step is the one that a single process would take on the whole batch. Two things differ: ID-MRF draws
its squares, and takes the centre of its features, per process; and see `ProcessGroup.shard`. The gradients are averaged
in one piece after backward, since the hooks of DistributedDataParallel miss the second backward of the R1 penalty.

`python -m selfieavatar.training.parallel` is torchrun without its pages of report where a process failed or ended:
that process has said why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Rows = TypeVar("Rows", list, Tensor)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together: which one this is, of how many."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs for all."""
        return self.rank == 0

    def shard(self, rows: Rows) -> Rows:
        """Select this process's rows of a batch: every size-th.

        The discriminator's minibatch deviation groups rows by the same stride, so that its groups are those of one
        process wherever a process's share of the batch is a multiple of the group (4); else the groups are smaller.
        """
        return rows[self.rank :: self.size]

    def mean(self, values: Tensor) -> Tensor:
        """Average over the processes (all-reduce)."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def barrier(self) -> None:
        """Wait for all processes."""
        self.all_reduce_max(0)

    def all_reduce_max(self, *values: float) -> list[float]:
        """Find the largest of each value over the processes."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return shared.tolist()

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:  # a step without a term that is due
            return
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view(gradient.shape))


SINGLE_PROCESS = ProcessGroup()


def group_from_environment() -> ProcessGroup:
    """Read rank and size as torchrun tells them; one process outside it."""
    return ProcessGroup(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def joined(device: str) -> Iterator[ProcessGroup]:
    """Connect the processes of torchrun for the length of the block: NCCL between GPUs, Gloo on CPUs."""
    group = group_from_environment()
    if group.size == 1:
        yield group
        return
    if device != "cpu":
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl")
    try:
        yield group
    finally:
        dist.destroy_process_group()


def launch() -> None:
    """Run torchrun by its own command line."""
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # of torchrun's reports
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    try:
        main()
    except (ChildFailedError, SignalException):
        sys.exit(1)


if __name__ == "__main__":
    launch()
