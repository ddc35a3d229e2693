"""Compare two folders of results that different versions of the code made of the same sheet: is everything the same?

    python benchmarks/same_results.py BEFORE AFTER

Compared to the bit: the arrays of identity.npz, the columns and facts of every Parquet manifest, every numbered image,
and the networks, maps and ranges of avatar.pt. Left out: what tells when, where and how fast something was made. Train
with `train: {minutes: 0, images: N}`: a training that is bounded by the clock is never the same twice. Exit status
0: the same; 1: not, with a line for each difference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

PATTERNS = ("*/identity.npz", "*/**/*.parquet", "*/clips/*/*/*.png", "*/self/*/*.png", "*/avatar.pt")
CLOCK = ("minutes", "history", "speed")


def differences(one: Any, other: Any, name: str) -> Iterator[str]:
    """Name what differs between two nested values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys(), key=str):
            if key in CLOCK:
                continue
            if key not in one or key not in other:
                yield f"{name}.{key}: only {'after' if key in other else 'before'}"
            else:
                yield from differences(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)):
            yield f"{name}: {tuple(one.shape)} {one.dtype} and {tuple(other.shape)} {other.dtype}"
    elif one != other:
        yield f"{name}: {one!r:.80} and {other!r:.80}"


def compare(before: Path, after: Path) -> Iterator[str]:
    """Name what differs between two files of the same name."""
    if before.suffix == ".npz":
        with np.load(before) as one, np.load(after) as other:
            for key in sorted(set(one) | set(other)):
                if key not in one or key not in other:
                    yield f"{key}: only {'after' if key in other else 'before'}"
                elif one[key].dtype != other[key].dtype or one[key].tobytes() != other[key].tobytes():
                    yield f"{key}: {one[key].shape} {one[key].dtype} and {other[key].shape} {other[key].dtype}"
    elif before.suffix == ".parquet":
        one, other = pq.read_table(before), pq.read_table(after)
        for column in sorted(set(one.column_names) | set(other.column_names)):
            if column not in one.column_names or column not in other.column_names:
                yield f"column {column}: only {'after' if column in other.column_names else 'before'}"
            elif repr(one[column].to_pylist()) != repr(other[column].to_pylist()):  # NaN is no other NaN to `equals`
                yield f"column {column}"
    elif before.suffix == ".pt":
        yield from differences(*(torch.load(path, weights_only=True) for path in (before, after)), "avatar")
    elif before.read_bytes() != after.read_bytes():
        yield "the bytes"


def main() -> int:
    """Compare all files; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    args = parser.parse_args()
    names = {
        path.relative_to(folder)
        for folder in (args.before, args.after)
        for pattern in PATTERNS
        for path in folder.glob(pattern)
    }
    found = 0
    for name in sorted(names):
        paths = (args.before / name, args.after / name)
        missing = [str(path) for path in paths if not path.is_file()]
        for difference in [f"{path} is missing" for path in missing] or compare(*paths):
            found += 1
            print(f"{name}: {difference}")
    print(f"{len(names)} files compared, {found} differences")
    return 1 if found or not names else 0


if __name__ == "__main__":
    sys.exit(main())
