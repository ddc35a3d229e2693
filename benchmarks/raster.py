"""Frames a second of the CPU renderer, as a Markdown table.

    python benchmarks/raster.py [--identity results/<subject>/identity.npz] [--ict ict_facekit_light.npz]

Without an identity it draws a made-up face of about the size of MediaPipe's mesh; --ict adds ICT-FaceKit's whole head
with all its expressions. "pictures" is what the render stage does for a frame without writing its two PNG files: both
images, I_R with supersampling; "files" is with them.
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
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "rendering")]

from faces import identity as made_up  # noqa: E402 - found only after the path is set

from selfieavatar.identity import Identity  # noqa: E402
from selfieavatar.io.images import ImageWriter  # noqa: E402
from selfieavatar.rendering.face_mesh import FaceImages  # noqa: E402
from selfieavatar.rendering.raster_cpu import ZBuffer, clip_positions  # noqa: E402
from selfieavatar.rendering.renderer import Renderer  # noqa: E402

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


def ict_identity(path: Path, size: int) -> Identity:
    """ICT-FaceKit's neutral head and expressions as an identity; vertices on seams of its UV are split."""
    with np.load(path) as model:
        corners = np.stack([model["tri"].ravel(), model["tri_uv"].ravel()], axis=1)
        pairs, tri = np.unique(corners, axis=0, return_inverse=True)
        flip = np.float32([1.0, -1.0, -1.0])
        arrays = made_up(size, texture_px=256) | {
            "template": model["neutral"][pairs[:, 0]] * flip,
            "expression_basis": model["expression_delta"][:, pairs[:, 0]].astype(np.float32) * flip,
            "tri": tri.reshape(-1, 3).astype(np.int32),
            "uv": model["uv"][pairs[:, 1]] % 1.0,
        }
    weights = np.ones(len(arrays["expression_basis"]), np.float32)
    arrays |= {"expression_scale": weights, "expression_low": 0 * weights, "expression_high": weights}
    return Identity.from_arrays(arrays | {"tri_part": np.zeros(len(arrays["tri"]), np.int8)})


def measure(work: Callable[[], object], frames: int, repeats: int) -> tuple[float, float]:
    """Median frames a second of some repeats, and the least CPU time of a frame in ms.

    Other programs on the machine lower the first; the second they hardly touch.
    """
    rates, costs = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        work()
        rates.append(frames / (time.perf_counter() - start))
        costs.append((time.process_time() - busy) * 1e3 / frames)
    return float(np.median(rates)), min(costs)


def table_row(name: str, identity: Identity, size: int, args: argparse.Namespace) -> str:
    """One line of the table: one mesh at one size."""
    renderer = Renderer(identity, size_px=size)
    # Far enough for the face to fill about half of the image's height, as it does in a selfie crop.
    height = np.ptp(renderer.template[:, 1])
    sequence = poses(args.frames, renderer.basis.shape[0], 2.0 * height * renderer.focal_px / size)
    share = np.mean([renderer.render(*pose).mask.mean() for pose in sequence[::20]])
    camera = renderer.focal_px, renderer.principal, (size, size)
    clips = [clip_positions(renderer.vertices(*pose[:3]), *camera) for pose in sequence[:20]]
    buffer = ZBuffer((size, size), len(renderer.tri))
    _, filling = measure(lambda: [buffer.draw(clip, renderer.tri) for clip in clips], len(clips), args.repeats)
    _, drawing = measure(lambda: [renderer.render(*pose) for pose in sequence], len(sequence), args.repeats)
    with ThreadPoolExecutor(args.threads) as pool:

        def drawn() -> Iterator[FaceImages]:
            return pool.map(lambda pose: renderer.render(*pose), sequence)

        def with_files() -> None:
            with tempfile.TemporaryDirectory() as folder:
                first, second = Path(folder) / "render", Path(folder) / "uv"
                with ImageWriter(first, args.threads) as images, ImageWriter(second, args.threads) as coordinates:
                    for number, face in enumerate(drawn()):
                        images.put(number, face.image)
                        coordinates.put(number, face.uv)

        rate, _ = measure(lambda: list(drawn()), len(sequence), args.repeats)
        file_rate, _ = measure(with_files, len(sequence), args.repeats)
    cells = f"{len(renderer.tri)} | {size} | {100 * share:.0f} % | {filling:.2f} | {drawing:.2f}"
    return f"| {name} | {cells} | {rate:.0f} | {file_rate:.0f} |"


def main() -> None:
    """Time it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identity", type=Path, help="identity.npz of a subject (default: a made-up face)")
    parser.add_argument("--ict", type=Path, help="ICT-FaceKit's arrays, to draw its head too")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="sides of the images in pixels")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    meshes = {"made-up face": Identity.from_arrays(made_up(256, texture_px=256, step=21))}
    if args.identity:
        meshes = {"face mesh": Identity.load(args.identity)}
    if args.ict:
        meshes["ICT-FaceKit"] = ict_identity(args.ict, 256)
    log.info("ms: of CPU time a frame; /s: frames a second on %d threads", args.threads)
    log.info("\n| mesh | triangles | px | face | z-buffer ms | images ms | images/s | files/s |\n|%s", "---|" * 8)
    for name, identity in meshes.items():
        for size in args.sizes:
            log.info("%s", table_row(name, identity, size, args))


if __name__ == "__main__":
    main()
