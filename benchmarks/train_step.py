"""Time of a training step, the share of it that loading the data takes, and peak memory, as a Markdown table.

    python benchmarks/train_step.py [--presets smoke cpu-128] [--steps 24] [--threads 2]

Presets for a GPU are measured where there is a GPU. Frames are made up (smooth images with noise) and go the way
of real ones: PNG files, the store of frames, batches, augmentation, a step. "read" is with nothing held in memory.
"Of convolutions" is what a step computes per second (torch counts the products of convolutions and matrices), as a
share of what one convolution of 128 channels at 64 px reaches on this machine, forward, in the same precision.
Steps follow the schedule: the maps are cached, the lazy terms (ID-MRF, cosine, R1) come as often as they do, and the
discriminator takes part. CPU time is beside the clock's, since other programs slow down only the latter. Every
preset is measured in a process of its own, for its peak of memory.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar.io.images import image_name, write_image  # noqa: E402
from selfieavatar.rendering.offface_uv import paint_hair, paint_torso  # noqa: E402
from selfieavatar.settings.config import load_preset  # noqa: E402 - found only after the path is set
from selfieavatar.settings.train_section import Train  # noqa: E402
from selfieavatar.training.dataset import FrameStore, batch_positions, make_batch  # noqa: E402
from selfieavatar.training.trainer import Trainer  # noqa: E402

log = logging.getLogger("train_step")

# name: preset, side of the images. The preset `demo` trains as cpu-128 does; small networks on large images show
# what loading costs at its worst.
CASES = {
    "smoke": ("smoke", 64),
    "cpu-128": ("cpu-128", 128),
    "cpu-256": ("cpu-256", 256),
    "cpu-512": ("cpu-512", 512),
    "cpu-128 networks at 512 px": ("cpu-128", 512),
}
GPU_CASES = {"gpu-512": ("gpu-512", 512), "paper-1024": ("paper-1024", 1024)}
HEAD = (
    "| preset | px | batch | step, ms | CPU, ms | without discriminator, ms | of convolutions | loading: in memory |"
    " read | peak memory, GB |\n|---|---|---|---|---|---|---|---|---|---|"
)


def write_frames(folder: Path, count: int, size_px: int) -> list[tuple[Path, int]]:
    """Frames whose PNG files are about as hard to decode as those of a video."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size_px, :size_px] / size_px
    face = ((rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.08).astype(np.float64)
    camera = np.array([2.5 * size_px, size_px / 2, size_px / 2])
    for number in range(count):
        wave = np.sin(9 * rows[..., None] + np.array([number, 1, 2])) * np.cos(7 * columns[..., None]) / 4 + 0.5
        image = ((wave + 0.02 * random.normal(size=wave.shape)).clip(0, 1) * 255).astype(np.uint8)
        uv = (np.stack([columns, rows, np.ones_like(rows)], -1) * face[..., None] * 65535).astype(np.uint16)
        paint_torso(uv, face > 0, np.zeros(2), 0.8)
        paint_hair(uv, face > 0, camera, np.eye(3), np.array([0.0, 0.0, 60.0]), np.array([0.0, -3.0, 8.0, 9.0]))
        images = {"frames": image, "alpha": (face * 255).astype(np.uint8), "uv": uv}
        images["render"] = (image * face[..., None]).astype(np.uint8)
        for name, content in images.items():
            write_image(folder / name / image_name(number), content)
    return [(folder, number) for number in range(count)]


def timed(trainer: Trainer, store: FrameStore, share: float, steps: int) -> dict[str, float]:
    """Means of the clock and of the CPU per step in ms, and the share of loading, at a share of the budget."""
    order = batch_positions(np.ones(len(store)), trainer.settings.batch, 0)
    clock, processor, loading = [], [], []
    began, used = time.perf_counter(), time.process_time()
    for number, (positions, arrays) in enumerate(store.prefetch(order)):
        trainer.set_schedule(share)
        batch = make_batch(arrays, np.zeros(len(positions)), trainer.device, trainer.layout)
        loaded = time.perf_counter()
        metrics = trainer.step(trainer.augment(batch))
        float(metrics["total"])  # waits for the GPU
        now, spent = time.perf_counter(), time.process_time()
        if number >= 1:
            clock.append(now - began)
            processor.append(spent - used)
            loading.append(loaded - began)
        if len(clock) == steps:
            break
        began, used = now, spent
    return {
        "clock": 1e3 * float(np.mean(clock)),
        "cpu": 1e3 * float(np.mean(processor)),
        "loading": sum(loading) / sum(clock),
    }


def convolution_rate(trainer: Trainer) -> float:
    """Products and sums per second of one convolution in the precision of the training: the best of several runs."""
    kind = torch.bfloat16 if trainer.half else torch.float32
    image = torch.randn(4, 128, 64, 64, device=trainer.device, dtype=kind).to(memory_format=trainer.layout)
    kernel = torch.randn(128, 128, 3, 3, device=trainer.device, dtype=kind).to(memory_format=trainer.layout)
    times = []
    for _ in range(12):
        began = time.perf_counter()
        float(F.conv2d(image, kernel, padding=1)[0, 0, 0, 0])  # waits for the GPU
        times.append(time.perf_counter() - began)
    return 2 * 9 * 128 * image.numel() / min(times)


def arithmetic(trainer: Trainer, store: FrameStore) -> int:
    """Count the products and sums of one step without lazy terms."""
    positions = np.arange(trainer.settings.batch)
    batch = make_batch(store.read(positions), np.zeros(len(positions)), trainer.device, trainer.layout)
    trainer.steps += 1 - trainer.steps % 2
    with FlopCounterMode(display=False) as counter:
        trainer.step(trainer.augment(batch))
    return counter.get_total_flops()


def measure(name: str, steps: int, threads: int) -> dict[str, float]:
    """One case, in this process."""
    preset, size_px = (CASES | GPU_CASES)[name]
    device = "cuda:0" if name in GPU_CASES else "cpu"
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    settings = Train(**load_preset(preset).get("train", {}) | {"backbone_weights": "random"})
    trainer = Trainer(settings, size_px, device)
    trainer.images = settings.maps_until
    with tempfile.TemporaryDirectory() as folder:
        frames = write_frames(Path(folder), 2 * settings.batch + 8, size_px)
        held, read = (FrameStore(frames, size_px, size, threads) for size in (10**10, 0))
        plain = timed(trainer, held, 0.0 if settings.gan_from > 0 else 1.0, steps)
        whole = timed(trainer, held, 0.999, steps)
        from_files = timed(trainer, read, 0.999, steps)
        share = arithmetic(trainer, held) / (whole["clock"] / 1e3) / convolution_rate(trainer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 1e9
    return {
        "px": size_px,
        "batch": settings.batch,
        "clock": whole["clock"],
        "cpu": whole["cpu"],
        "plain": plain["clock"] if settings.gan_from > 0 else float("nan"),
        "share": share,
        "held": whole["loading"],
        "read": from_files["loading"],
        "peak": peak,
    }


def table(names: list[str], steps: int, threads: int) -> str:
    """All cases, each in a process of its own."""
    lines = [HEAD]
    for name in names:
        command = [sys.executable, __file__, "--one", name, "--steps", str(steps), "--threads", str(threads)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(answer.stdout)
        plain = "" if np.isnan(row["plain"]) else f"{row['plain']:.0f}"
        lines.append(
            f"| {name} | {row['px']} | {row['batch']} | {row['clock']:.0f} | {row['cpu']:.0f} | {plain} |"
            f" {100 * row['share']:.0f} % | {100 * row['held']:.1f} % | {100 * row['read']:.1f} % | {row['peak']:.2f} |"
        )
        log.info(lines[-1])
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", help="cases to measure (default: all that this machine can)")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    if args.one:
        sys.stdout.write(json.dumps(measure(args.one, args.steps, args.threads)))
        return
    names = args.presets or [*CASES, *(GPU_CASES if torch.cuda.is_available() else ())]
    sys.stdout.write(table(names, args.steps, args.threads))


if __name__ == "__main__":
    main()
