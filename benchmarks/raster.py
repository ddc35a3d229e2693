"""Frames a second of the CPU renderer: python benchmarks/raster.py [--identity results/<subject>/identity.npz]

Without an identity it draws a made-up face of about the size of MediaPipe's mesh. Prints one line for each thing timed;
the render line is what the render stage does for a frame without writing its two PNG files, the last with them.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "graphics")]

from faces import identity as made_up  # noqa: E402 - found only after the path is set

from stages.core.files import PictureWriter  # noqa: E402
from stages.graphics.raster_cpu import ZBuffer, clip_positions  # noqa: E402
from stages.graphics.renderer import FacePictures, Renderer  # noqa: E402

log = logging.getLogger("raster")


def poses(count: int, expressions: int, distance: float) -> list[tuple[np.ndarray, ...]]:
    """A head that turns, nods, talks and looks around."""
    phase = np.linspace(0.0, 6.0 * np.pi, count)
    rotation = np.stack([0.2 * np.sin(phase * 1.3), 0.5 * np.sin(phase), 0.1 * np.sin(phase * 0.7)], axis=1)
    translation = np.tile([0.0, 0.0, distance], (count, 1))
    weight = np.zeros((count, expressions))
    weight[:, :2] = 0.3 + 0.3 * np.sin(phase * 2.0)[:, None]
    gaze = 0.3 * np.stack([np.sin(phase), np.cos(phase)] * 2, axis=1)
    return list(zip(rotation, translation, weight, gaze, strict=True))


def report(what: str, work: Callable[[], object], frames: int, repeats: int) -> None:
    """Log the best frames a second out of some repeats, and the least processor time a frame.

    Other programs on the machine can only lower the first; the second they hardly touch.
    """
    rates, costs = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        work()
        rates.append(frames / (time.perf_counter() - start))
        costs.append((time.process_time() - busy) * 1e3 / frames)
    log.info("%-32s %7.0f frames/s, %6.2f ms of processor time a frame", what, max(rates), min(costs))


def main() -> None:
    """Time it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identity", type=Path, help="identity.npz of a subject (default: a made-up face)")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arrays = dict(np.load(args.identity)) if args.identity else made_up(args.size, texture_px=256, step=21)
    renderer = Renderer(arrays, size_px=args.size)
    # Far enough for the face to fill about half of the picture's height, as it does in a selfie crop.
    height = np.ptp(renderer.template[:, 1])
    sequence = poses(args.frames, renderer.basis.shape[0], 2.0 * height * renderer.focal_px / args.size)
    share = np.mean([renderer.render(*pose).mask.mean() for pose in sequence[::20]])
    log.info("%d triangles, %d px, face on %.0f %% of the picture", len(renderer.tri), args.size, 100 * share)

    clips = [clip_positions(renderer.vertices(*p[:3]), renderer.focal_px, renderer.principal, (args.size, args.size))
             for p in sequence]  # fmt: skip
    buffer = ZBuffer((args.size, args.size), len(renderer.tri))
    timing = args.frames, args.repeats
    report("z-buffer alone, 1 thread", lambda: [buffer.draw(clip, renderer.tri) for clip in clips], *timing)
    report("I_R and I_UV, 1 thread", lambda: [renderer.render(*pose) for pose in sequence], *timing)
    with ThreadPoolExecutor(args.threads) as pool:

        def drawn() -> Iterator[FacePictures]:
            return pool.map(lambda pose: renderer.render(*pose), sequence)

        def with_files() -> None:
            with tempfile.TemporaryDirectory() as folder:
                first, second = Path(folder) / "render", Path(folder) / "uv"
                with PictureWriter(first, args.threads) as pictures, PictureWriter(second, args.threads) as coordinates:
                    for number, face in enumerate(drawn()):
                        pictures.put(number, face.picture)
                        coordinates.put(number, face.uv)

        report(f"I_R and I_UV, {args.threads} threads", lambda: list(drawn()), *timing)
        report(f"with both PNGs, {args.threads} threads", with_files, *timing)


if __name__ == "__main__":
    main()
