"""Parameters, FLOPs and time a frame of the networks of each preset, as Markdown tables.

    python benchmarks/networks.py [--presets cpu-128 paper-1024] [--threads 1 2] [--avatar avatar.pt]

A multiplication and an addition count as two FLOPs (torch.utils.flop_counter, which knows convolutions and matrix
products). Inference is what runs for a frame: G_style with cached maps, as Avatar.paint calls it, of random weights,
since time does not depend on them. "plain" is the network as it is trained, "float32" and "bfloat16" are folded
(networks.blocks.fold), "compiled" is Avatar.load(..., compile=True). "CPU" is the time that all threads
together were at work, which other programs on the machine disturb less than the time on the clock. --avatar compares
the images of a trained one in both precisions.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar.avatar import Avatar, compile_folded  # noqa: E402 - found only after the path is set
from selfieavatar.networks.avatar_networks import OFF_FACE, AvatarNetworks, build_generator  # noqa: E402
from selfieavatar.networks.blocks import count_parameters  # noqa: E402
from selfieavatar.networks.discriminator import Discriminator  # noqa: E402
from selfieavatar.settings.config import load_preset  # noqa: E402
from selfieavatar.settings.sections import Decode  # noqa: E402
from selfieavatar.settings.train_section import Networks, Train  # noqa: E402

log = logging.getLogger("networks")
PRESETS = ("smoke", "cpu-128", "gpu-512", "paper-1024")
ARITHMETIC = ("plain", "float32", "float32, compiled", "bfloat16", "bfloat16, compiled")


def settings_of(preset: str) -> tuple[Networks, int]:
    """Network settings and side of the image of a preset."""
    layer = load_preset(preset)
    return Train(**layer["train"]), Decode(**layer["decode"]).size_px


def flops(call: Callable[[], object]) -> int:
    """Of one call, counted on the meta device: nothing is computed."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def table_of_sizes(presets: list[str]) -> None:
    """Parameters and FLOPs of each network, for one image."""
    log.info("| preset | network | parameters, M | GFLOP an image |\n|---|---|---|---|")
    for preset in presets:
        network, size = settings_of(preset)
        with torch.device("meta"):
            nets, disc = AvatarNetworks(network, size), Discriminator(network, size)
            plain = build_generator(network.model_copy(update={"net_generator": "unet"}), size)
            image = torch.zeros(1, 3, size, size)
            maps = nets.atlas(), nets.back()
        rows = {
            "G_fa": (nets.face.generator, nets.face),
            "G_b": (nets.back.generator, nets.back),
            "G_style": (nets.style, lambda n=nets, m=maps, p=image: n.style(*m, p, p)),
            "discriminator": (disc, lambda d=disc, p=image: d(p, p)),
            "plain U-Net (variant)": (plain, lambda u=plain, p=image: u(None, {}, p, p)),
        }
        for name, (module, call) in rows.items():
            log.info("| %s | %s | %.2f | %.2f |", preset, name, count_parameters(module) / 1e6, flops(call) / 1e9)


def milliseconds(call: Callable[[], object], count: int) -> tuple[float, float, float]:
    """Median and least time on the clock, median of the CPU, ms, of `count` calls after two more."""
    clock, processor = [], []
    for _ in range(count + 2):
        at, busy = time.perf_counter(), time.process_time()
        call()
        clock.append(1e3 * (time.perf_counter() - at))
        processor.append(1e3 * (time.process_time() - busy))
    return statistics.median(clock[2:]), min(clock[2:]), statistics.median(processor[2:])


def face_in_the_middle(size: int) -> torch.Tensor:
    """I_UV (1,3,S,S) as frames have it, a face with hair around: maps are read in order, which is faster."""
    axis = torch.linspace(0, 1, size)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    face = ((u - 0.5).square() + (v - 0.5).square() < 0.1).float()
    return torch.stack([u, torch.where(face > 0, v, v / 2), face])[None]


def painting(network: Networks, size: int, arithmetic: str) -> Callable[[], object]:
    """Paints one frame as `Avatar.paint` does; arithmetic is one of `ARITHMETIC`."""
    torch.manual_seed(0)
    nets = AvatarNetworks(network, size).requires_grad_(False)
    for name in ("face", "back", *OFF_FACE):
        getattr(nets, name).freeze()
    style = nets.to(memory_format=torch.channels_last).style.eval()
    atlas, back = nets.atlas(), nets.back()
    render, uv = torch.rand(1, 3, size, size), face_in_the_middle(size)
    if arithmetic != "plain":
        dtype = getattr(torch, arithmetic.partition(",")[0])
        style.fold(dtype)
        back["feature"] = back["feature"].to(dtype)
    if arithmetic.endswith("compiled"):
        compile_folded(style, torch.device("cpu"))
    render, uv = (image.to(memory_format=torch.channels_last) for image in (render, uv))
    return lambda: style(atlas, back, render, uv)


@torch.inference_mode()
def table_of_times(presets: list[str], threads: list[int], kinds: list[str], frames: int) -> None:
    """Time a frame, one frame at a time."""
    log.info("| preset | threads | arithmetic | ms, median | ms, least | CPU ms | load |")
    log.info("|---|---|---|---|---|---|---|")
    for preset in presets:
        network, size = settings_of(preset)
        repeats = frames if size < 512 else max(3, frames // 20)
        for count, arithmetic in product(threads, kinds):
            torch.set_num_threads(count)
            torch._dynamo.reset()  # or a network compiled for other threads is found again
            times = milliseconds(painting(network, size, arithmetic), repeats)
            words = " | ".join(f"{value:.1f}" for value in times)
            log.info("| %s | %d | %s | %s | %.1f |", preset, count, arithmetic, words, os.getloadavg()[0])


def compare(path: Path) -> None:
    """How far apart the images of both precisions are, of a neutral pose turned to and fro."""
    import numpy as np

    turns = np.linspace(-0.4, 0.4, 9)
    images = []
    for precision in ("float32", "bfloat16"):
        avatar = Avatar.load(path, precision=precision)
        pose = np.stack([0 * turns, turns, 0 * turns], 1), np.tile([0.0, 0.0, 60.0], (9, 1))
        expression = np.zeros((9, len(avatar.expression_range["low"])))
        images.append(avatar.drive(*pose, expression)[0])
    error = images[0] - images[1]
    psnr = -10 * torch.log10(error.square().mean())
    log.info("bfloat16 against float32: %.1f dB, largest difference %.1f of 255", psnr, 255 * error.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--arithmetic", nargs="+", choices=ARITHMETIC, default=ARITHMETIC)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--avatar", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
    table_of_sizes(args.presets)
    table_of_times(args.presets, args.threads, args.arithmetic, args.frames)
    if args.avatar:
        compare(args.avatar)


if __name__ == "__main__":
    main()
