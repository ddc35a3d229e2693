"""What jobs ask of the machine: a training takes all cores of a CPU, a share of them beside GPUs."""

import re

import pytest


@pytest.mark.parametrize(
    ("gpus", "given", "threads", "gpu"),
    [("", 1, 16, 0), ("0", 1, 8, 1), ("0,1,2", 3, 4, 1), ("0,1", 0, 16, 1)],
    ids=["none", "one", "three", "kept off"],
)
def test_a_training(snakemake, gpus, given, threads, gpu):
    options = ("--dry-run", "--printshellcmds", "--cores", "16", "--resources", f"gpu={given}")
    _, said = snakemake("results/anna/avatar.pt", *options, CUDA_VISIBLE_DEVICES=gpus)
    found = re.search(r"stages\.train .*? --threads (\d+) --gpu (\d+)", said, re.DOTALL)
    assert found and (int(found[1]), min(int(found[2]), given)) == (threads, min(gpu, given))
