"""Give damaged files to everything that reads files of others: `python -m tests.fuzz --help`.

Each reading runs in a process of its own with bounds on memory and time. A reader must end in a result or in one
sentence; must not hang, grow, crash, execute, connect, or write outside of its folder. Exit status: 1 if one did not.
"""

import argparse
import importlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.conftest import ROOT  # noqa: F401 - sets the threads before NumPy and torch are imported
from tests.fuzz import sandbox
from tests.fuzz.mutations import mutate
from tests.fuzz.readers import FILE_READERS, Reader
from tests.fuzz.sandbox import Outcome
from tests.fuzz.stage_readers import STAGE_READERS

READERS = FILE_READERS | STAGE_READERS

PRELOADED = (
    "av", "cv2", "onnx", "onnxruntime", "pyarrow.parquet", "scipy.io", "selfieavatar.avatar",
    "selfieavatar.evaluation.inference", "selfieavatar.evaluation.network_metrics", "selfieavatar.export.parity",
    "selfieavatar.live.clip_driver", "selfieavatar.live.live_driver",
    "selfieavatar.marking.keys", "selfieavatar.marking.marker", "selfieavatar.marking.reading",
    "selfieavatar.morphable.published", "selfieavatar.reporting.plots", "selfieavatar.runtime.exported_avatar",
    "selfieavatar.training.start", "stages.capture", "stages.compare", "stages.evaluate", "stages.export",
    "stages.external", "stages.figures", "stages.fit", "stages.matting", "stages.overlay", "stages.paper",
    "stages.reenact", "stages.reenact_clip", "stages.render", "stages.samples", "stages.summary", "stages.tracking",
    "tests.live.test_live_driver", "tests.stages.test_reenact", "tools.ingest",
)  # fmt: skip
FAULTS = ("error", "hang", "memory", "crash", "escape")


def preload() -> None:
    """Import what readers import, once, so that each child has it from the start."""
    for name in PRELOADED:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    importlib.import_module("cv2").setNumThreads(0)
    _draw()


def _draw() -> None:
    """Draw a face once: numba loads its compiled kernels in half a second, in each process anew."""
    import numpy as np

    from selfieavatar.rendering.renderer import Renderer
    from tests.fitting import makers

    Renderer(makers.identity()).render(np.zeros(3), np.array([0.0, 0.0, 90.0]), np.zeros(4), np.zeros(4))


def specimens(reader: Reader, folder: Path) -> list[Path]:
    """Make the whole files of a reader, in a child process: this one starts no threads."""
    folder.mkdir(parents=True)

    def make(_: Path) -> None:
        os.environ["XDG_CONFIG_HOME"] = str(folder / ".config")  # where the key that signs is made
        reader.make(folder)

    outcome = sandbox.run(make, folder / ".made")
    if outcome.kind != "read":
        raise RuntimeError(f"the specimens could not be made: {outcome}")
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def entry_of(reader: Reader, place: Path) -> Path:
    """What the reader is given of a specimen."""
    return place if reader.entry == "." else sorted(place.glob(reader.entry))[0]


def trial(reader: Reader, whole: Path, scratch: Path, seed: str) -> Outcome:
    """Copy a specimen, damage one file of it, and read it; an empty seed damages nothing."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    place = scratch / whole.name
    shutil.copytree(whole, place)
    if seed:
        rng = random.Random(seed)
        files = sorted(path for path in place.glob(reader.damaged) if path.is_file() and path.stat().st_size)
        # By kind, as of a clip's results most are images; kinds whose inside is known come twice.
        kinds = sorted({path.suffix for path in files})
        kind = rng.choice(kinds + [kind for kind in kinds if kind in reader.inner])
        file = rng.choice([path for path in files if path.suffix == kind])
        file.write_bytes(mutate(file.read_bytes(), rng, reader.inner.get(file.suffix)))
    return sandbox.run(reader.read, entry_of(reader, place))


def fuzz(name: str, count: int, seed: int, work: Path, keep: Path | None, report=print) -> list[tuple[str, Outcome]]:
    """Read `count` damaged files; returns what ended badly, by the seed that makes it again."""
    reader = READERS[name]
    wholes = specimens(reader, work / "whole" / name.replace(" ", "_"))
    for whole in wholes:
        outcome = trial(reader, whole, work / "trial", "")
        if outcome.kind != ("refused" if whole.name.startswith("refused") else "read"):
            raise RuntimeError(f"{name}: the undamaged {whole.name} cannot be read: {outcome}")
    bad, kinds, slowest, peak = [], Counter(), 0.0, 0
    began = time.monotonic()
    for number in range(count):
        key = f"{seed}:{name}:{number}"
        outcome = trial(reader, wholes[number % len(wholes)], work / "trial", key)
        kinds[outcome.kind] += 1
        slowest, peak = max(slowest, outcome.seconds), max(peak, outcome.peak_bytes)
        if not outcome.good:
            bad.append((key, outcome))
            if keep:
                shutil.copytree(work / "trial", keep / key.replace(":", "_").replace(" ", "_"), dirs_exist_ok=True)
    cells = [name, count, kinds["read"], kinds["refused"], *(kinds[kind] for kind in FAULTS)]
    report("| " + " | ".join(map(str, cells)) + f" | {slowest:.1f} | {peak / 2**30:.2f} |")
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return bad


def main() -> None:
    """Run the readers that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of: {', '.join(READERS)} (default: all)")
    parser.add_argument("--count", type=int, default=500, help="damaged files for each reader (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="another seed damages otherwise (default: 0)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the files that ended badly")
    args = parser.parse_args()
    unknown = [name for name in args.readers if name not in READERS]
    if unknown:
        parser.error(f"unknown reader '{unknown[0]}'; known: {', '.join(READERS)}")
    preload()
    print("| reader | files | read | refused | " + " | ".join(FAULTS) + " | slowest, s | most memory, GB |")
    print("|" + "---|" * (6 + len(FAULTS)))
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.readers or READERS:
            bad += fuzz(name, args.count, args.seed, Path(folder), args.keep)
    for key, outcome in bad:
        print(f"\n{key}: {outcome.kind}, {outcome.seconds:.1f} s\n{outcome.said}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
