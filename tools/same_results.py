"""Compare two folders of results byte by byte; what depends on the clock is read, and compared without the clock.

These files tell when or how fast they were made, so that two runs never write the same bytes:

avatar.pt       `minutes` and `history`: how long the training took, its speed and what it reported every so often
metrics.json    `speed`, the training's `minutes`, and `avatar`, the hash of avatar.pt
table.md        the rows of how long the training took, and how fast the avatar was
*.mp4, *.png    of an avatar: the signature holds a time and a random number; the images are the same
figures.html    the curves over those minutes; not compared
summary.*       minutes and disk; not compared, nor are logs/, benchmarks/, TensorBoard's files and stats.jsonl

Run by hand: `python -m tools.same_results results /elsewhere/results`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

# Of the clock through and through: not looked into.
PASSED_OVER = (
    "logs/*", "benchmarks/*", "summary.*", "figures.html", ".snakemake_timestamp",
    "train/*/events.*", "train/*/stats.jsonl",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.same_results", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("one", type=Path, help="a folder of results")
    parser.add_argument("other", type=Path, help="another one of the same sheet and settings")
    return parser


def files_of(folder: Path) -> dict[str, Path]:
    """List what is compared: path from the folder -> file."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if not passed_over(path)}


def passed_over(path: Path) -> bool:
    """Tell whether a file is of the clock through and through."""
    return any(path.match(pattern) for pattern in PASSED_OVER)


def differences(folder: Path, reference: Path, complete: bool = True) -> list[str]:
    """Compare the files of two folders of results; a sentence for each difference.

    Args:
        folder: what was made.
        reference: what an undisturbed run has made.
        complete: all files must be there and no other; else only those that are there under the name of a result.
    """
    mine, theirs = files_of(folder), files_of(reference)
    if not complete:  # a run that fails writes the table of what could be measured
        mine = {name: path for name, path in mine.items() if not path.match("table.*")}
    said = []
    if complete:
        said += [f"{name} is missing" for name in theirs if name not in mine]
        said += [f"{name} is left over" for name in mine if name not in theirs]
    for name in sorted(mine.keys() & theirs.keys()):
        if mine[name].read_bytes() == theirs[name].read_bytes():
            continue
        read = CLOCK.get(mine[name].suffix)
        try:
            if read is None or not same(read(mine[name]), read(theirs[name])):
                said.append(f"{name} differs")
        except Exception as error:  # whatever its reader raises on half a file
            said.append(f"{name} cannot be read ({error})")
    return said


def same(one: Any, other: Any) -> bool:
    """Compare nested values, arrays and tensors bit by bit; NaN is NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        one, other = one.float().numpy(), other.float().numpy()
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return bool(one == other) or (one != one and other != other)


def avatar(path: Path) -> dict[str, Any]:
    """Read an avatar without the clock."""
    content = torch.load(path, weights_only=True)
    return {name: value for name, value in content.items() if name not in ("minutes", "history")}


def metrics(path: Path) -> Any:
    """Read metrics without the clock."""
    content = json.loads(path.read_text())
    content["training"] = {**content.get("training", {}), "minutes": None}
    return {name: value for name, value in content.items() if name not in ("speed", "avatar")}


def table(path: Path) -> list[str]:
    """Read the table of results without its rows about minutes and frames per second."""
    return [part for part in path.read_text().split("\n\n") if "minutes of training" not in part]


def video(path: Path) -> list[np.ndarray]:
    """Decode all images of a video."""
    with av.open(str(path)) as opened:
        return [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]


def image(path: Path) -> np.ndarray:
    """Decode an image."""
    return np.asarray(Image.open(path))


CLOCK: dict[str, Callable[[Path], Any]] = {".pt": avatar, ".json": metrics, ".md": table, ".mp4": video, ".png": image}


def main() -> int:
    """Say what differs; returns the exit status: 0 nothing, 1 something."""
    args = build_parser().parse_args()
    said = differences(args.one, args.other)
    print("\n".join(said) or "the same results")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
