"""Time a frame, and the difference to torch in float32, of all that paints an avatar, as a Markdown table.

    python benchmarks/export.py --avatar results/<subject>/avatar.pt --fit results/<subject>/clips/<clip>/fit.parquet

The avatar is exported anew, as `python -m stages.export` does, to a temporary folder. --sizes 0 256 also measures its
networks at another size, with fresh weights, since time does not depend on them; differences then say little, and int8
is kept whatever it loses. Runners take turns frame by frame, so that other programs meet all of them. "CPU" is the time
that all threads together were at work, which other programs disturb less than the clock. --compile adds
Avatar.load(..., compile=True).
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar.avatar import Avatar  # noqa: E402 - found only after the path is set
from selfieavatar.export.parity import Parity, driving_images, range_motions  # noqa: E402
from selfieavatar.io.avatar_file import read_avatar  # noqa: E402
from selfieavatar.networks.avatar_networks import build_generator  # noqa: E402
from selfieavatar.runtime.exported_file import read_exported  # noqa: E402
from selfieavatar.runtime.painters import OnnxPainter, OpenVinoPainter, Painter  # noqa: E402
from stages import export  # noqa: E402

log = logging.getLogger("export")
WARM, LEAST_INT8_DB = 3, export.LEAST_INT8_DB
Images = tuple[np.ndarray, np.ndarray]


def fresh(path: Path, size_px: int, to: Path) -> Path:
    """Write an avatar of the same person and settings with fresh networks of another size."""
    torch.manual_seed(0)
    content, settings = read_avatar(path), Avatar.load(path).settings
    content |= {"size_px": size_px, "g_style": build_generator(settings, size_px).state_dict()}
    torch.save(content, to)
    return to


def of_torch(path: Path, precision: str, threads: int, compiled: bool = False) -> Painter:
    avatar = Avatar.load(path, "cpu", precision, compiled)

    def paint(render: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        torch.set_num_threads(threads)
        image, alpha = avatar.paint(torch.from_numpy(render), torch.from_numpy(uv))
        return image.numpy(), alpha.numpy()

    return paint


def painters(path: Path, graph: Path, threads: int, compiled: bool) -> dict[str, Painter]:
    """Load all runners."""
    found = {name: of_torch(path, name, threads) for name in ("float32", "bfloat16")}
    if compiled:
        torch.set_num_threads(threads)
        found |= {f"{name}, compiled": of_torch(path, name, threads, True) for name in ("float32", "bfloat16")}
    made = {f"torch {name}": paint for name, paint in found.items()}
    files = read_exported(graph).description.files
    for precision in (name for name in files if files[name] is not None):
        exported = read_exported(graph, precision)
        made[f"ONNX Runtime {precision}"] = OnnxPainter(exported, threads)
        made[f"OpenVINO {precision}"] = OpenVinoPainter(exported, threads)
        if precision == "float32":
            made["OpenVINO bfloat16"] = OpenVinoPainter(exported, threads, "bfloat16")
    return made


def timed(paint: Painter, images: Images) -> tuple[Images, tuple[float, float]]:
    """What is painted; milliseconds on the clock and of the CPU."""
    clock, busy = time.perf_counter(), time.process_time()
    painted = paint(*images)
    return painted, (1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - busy))


def table(path: Path, graph: Path, fits: list[Path], threads: list[int], frames: int, compiled: bool) -> None:
    """Print one row for each runner and number of threads."""
    avatar = Avatar.load(path)
    images = driving_images(avatar, export.motions_of(avatar, fits) if fits else range_motions(avatar, export.FRAMES))
    log.info("%s, %d px\n", avatar.subject, avatar.size_px)
    log.info("| runner | threads | ms, median | ms, least | CPU ms | PSNR to torch float32, dB | largest difference |")
    log.info("|---|---|---|---|---|---|---|")
    for count in threads:
        made = painters(path, graph, count, compiled)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
        parity = {name: Parity() for name in made}
        for number in range(frames + WARM):
            shown = images[number % len(images)]
            found = {name: timed(paint, shown) for name, paint in made.items()}
            for name, (painted, took) in found.items():
                parity[name].add(painted, found["torch float32"][0])
                times[name] += [took] if number >= WARM else []
        for name in made:
            clock, busy = zip(*times[name], strict=True)
            words = f"{statistics.median(clock):.1f} | {min(clock):.1f} | {statistics.median(busy):.1f}"
            figures = parity[name].figures()
            psnr = "same" if figures["image_psnr_db"] is None else f"{figures['image_psnr_db']:.1f}"
            log.info("| %s | %d | %s | %s | %.2g |", name, count, words, psnr, figures["image_max_abs"])
    log.info("\nload of the machine: %.1f\n", os.getloadavg()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", required=True, type=Path)
    parser.add_argument("--fit", nargs="*", default=[], type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0], help="px; 0 is the avatar as it is")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            export.LEAST_INT8_DB = 0.0 if size else LEAST_INT8_DB
            path = fresh(args.avatar, size, Path(folder, "avatar.pt")) if size else args.avatar
            graph = Path(folder, f"{size}.onnx")
            words = ["--avatar", str(path), "--out", str(graph), "--fit", *map(str, args.fit)]
            export.run(export.build_parser().parse_args(words))
            table(path, graph, args.fit, args.threads, args.frames, args.compile)


if __name__ == "__main__":
    main()
