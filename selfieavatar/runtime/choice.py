"""Choose what paints an avatar fastest on this machine, by a short trial of all that can."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.files import content_hash
from selfieavatar.runtime.exported_avatar import ExportedAvatar
from selfieavatar.runtime.exported_file import read_description

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar

PRECISIONS = ("float32", "bfloat16", "int8")
_ROUNDS, _WARM = 4, 2  # candidates take turns, so that what else runs on the machine meets all of them


@dataclass(frozen=True)
class Choice:
    """The avatar on its fastest runner, that one's name, why it was chosen, and the median ms a frame of all tried."""

    avatar: Avatar | ExportedAvatar
    name: str
    reason: str
    times_ms: dict[str, float]


def fastest_avatar(
    path: Path | str, exported: Path | str | None = None, threads: int = 1,
    precisions: tuple[str, ...] = PRECISIONS, trial_s: float = 2.0,
) -> Choice:  # fmt: skip
    """Load an avatar on every runner of this machine's CPU, try them for about so many seconds, and take the fastest.

    Args:
        path: of avatar.pt, or of avatar.onnx where there is no torch. exported: avatar.onnx that was made of it; None
        looks for it beside avatar.pt. threads: cores that painting may take. precisions: that are good enough,
        of `PRECISIONS`. "bfloat16" is torch's, and coarser by a few of 255; OpenVINO's would round texture coordinates,
        too (benchmarks/results/export.md). "int8" is tried where the export has it. trial_s: of all together.

    Raises:
        UserError: nothing here can paint it; says why.
    """
    path = Path(path)
    if strange := set(precisions) - set(PRECISIONS):
        raise UserError(f"there is no precision '{min(strange)}'; use {', '.join(PRECISIONS)}")
    exported = Path(exported) if exported else path.with_suffix(".onnx")
    makers, notes = _makers(path, exported, threads, precisions)
    avatars: dict[str, Avatar | ExportedAvatar] = {}
    for name, make in makers.items():
        try:
            avatars[name] = make()
        except UserError as error:
            if name.startswith("torch") and not exported.is_file():
                raise  # this avatar.pt is damaged, and there is nothing else
            notes.append(f"{name} is left out: {error}")
    if not avatars:
        raise UserError(f"nothing here can paint {path}: {'; '.join(notes)}")
    times = _times_ms(avatars, trial_s)
    best, *others = sorted(times, key=lambda name: times[name])
    said = f"{best} paints a frame in {times[best]:.1f} ms on {threads} thread{'s' * (threads > 1)} of this machine"
    said += f"; {', '.join(f'{name} takes {times[name]:.1f} ms' for name in others)}" if others else ""
    return Choice(avatars[best], best, "; ".join([said, *notes]), times)


def _makers(
    path: Path, exported: Path, threads: int, precisions: tuple[str, ...]
) -> tuple[dict[str, Callable[[], Avatar | ExportedAvatar]], list[str]]:
    """List the runners that may load the avatar, by name, and notes on those that may not."""
    makers: dict[str, Callable[[], Avatar | ExportedAvatar]] = {}
    notes: list[str] = []
    if path.suffix != ".onnx":
        if find_spec("torch") is None:
            notes.append("torch is left out: it is not installed")
        else:
            kept = [precision for precision in precisions if precision != "int8"]
            makers |= {f"torch {precision}": partial(_on_torch, path, precision, threads) for precision in kept}
    if not exported.is_file():
        notes.append(
            f"ONNX Runtime and OpenVINO are left out: there is no {exported} (python -m stages.export makes it)"
        )
    elif path.suffix != ".onnx" and content_hash(path) != read_description(exported).avatar.hash:
        notes.append(f"ONNX Runtime and OpenVINO are left out: {exported} was not made of this {path.name}")
    else:
        files = read_description(exported).files
        written = [
            precision for precision in precisions if precision != "bfloat16" and files.get(precision) is not None
        ]
        for name, runner in {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}.items():
            if find_spec(runner) is None:
                notes.append(f"{name} is left out: it is not installed")
                continue
            for precision in written:
                makers[f"{name} {precision}"] = partial(ExportedAvatar.load, exported, threads, runner, precision)
    return makers, notes


def _on_torch(path: Path, precision: str, threads: int) -> Avatar:
    import torch

    from selfieavatar.avatar import Avatar

    torch.set_num_threads(threads)
    return Avatar.load(path, "cpu", precision)


def _times_ms(avatars: dict[str, Avatar | ExportedAvatar], trial_s: float) -> dict[str, float]:
    """Measure the median ms of a frame of each, in turns, of the face as it is usually held."""
    images = {name: avatar.pose(*_rest(avatar)) for name, avatar in avatars.items()}
    for name, avatar in avatars.items():
        for _ in range(_WARM):
            avatar.paint(*images[name])
    times: dict[str, list[float]] = {name: [] for name in avatars}
    for _ in range(_ROUNDS):
        for name, avatar in avatars.items():
            ends = time.perf_counter() + trial_s / _ROUNDS / len(avatars)
            while not times[name] or time.perf_counter() < ends:
                began = time.perf_counter()
                avatar.paint(*images[name])
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def _rest(avatar: Avatar | ExportedAvatar) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pose = avatar.usual_pose()[None]
    return pose[:, :3], pose[:, 3:], np.zeros((1, avatar.model.expression_count))
