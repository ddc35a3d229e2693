"""How near the drawn face I_R comes to the filmed face, before and after the photometric part of the fit.

    python benchmarks/photometric.py video.mp4:0:150 other.mp4:30:180
    python benchmarks/photometric.py --mode full --size-px 128 video.mp4:0:60

Each video (with its range of frames) goes through the stages decode, landmarks, matting, identity and fit. The identity
is learnt from the first two thirds of the frames; figures are means over the fitted frames of the last third. Error:
mean absolute difference of I_R and frame, of 255, over the drawn skin away from eyes and mouth, where alpha is at least
0.5. Flicker: mean absolute second difference in time of I_R over the same skin.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar.fitting.lighting import EVEN_LIGHT  # noqa: E402
from selfieavatar.identity import Identity  # noqa: E402
from selfieavatar.io.images import image_name, read_image, write_image  # noqa: E402
from selfieavatar.io.manifest import read_manifest  # noqa: E402
from selfieavatar.rendering.raster_cpu import ZBuffer, clip_positions  # noqa: E402
from selfieavatar.rendering.renderer import Renderer  # noqa: E402
from selfieavatar.rendering.shading import default_light  # noqa: E402

HOLDOUT = 1.0 / 3.0
POSE = ("rotation", "translation", "expression", "gaze")


def run_stage(stage: str, out: Path, *words: str | Path) -> None:
    """One stage in a process of its own, unless its output is there."""
    if not out.exists():
        subprocess.run([sys.executable, "-m", f"stages.{stage}", *map(str, words)], cwd=ROOT, check=True)


def prepare(video: str, folder: Path, size_px: int) -> None:
    """Frames, landmarks and mattes of a video given as path:start:end."""
    source, start, end = video.rsplit(":", 2)
    cut = ["--source", Path(source).resolve(), "--start", start, "--end", end]
    decode = folder / "decode.parquet"
    size = json.dumps({"size_px": size_px})
    run_stage("decode", decode, *cut, "--settings", size, "--out-frames", folder / "frames", "--manifest", decode)
    landmarks = folder / "landmarks.parquet"
    run_stage("landmarks", landmarks, *cut, "--decode", decode, "--manifest", landmarks)
    matting = ["--decode", decode, "--out-alpha", folder / "alpha", "--plate", folder / "plate.png"]
    run_stage("matting", folder / "matting.parquet", *cut, *matting, "--manifest", folder / "matting.parquet")


def learn(folder: Path, mode: str) -> tuple[Identity, object]:
    """Identity and fit with `fit.photometric` = mode."""
    settings = ["--settings", json.dumps({"photometric": mode})]
    inputs = [*("--decode", folder / "decode.parquet"), *("--landmarks", folder / "landmarks.parquet")]
    inputs += [*("--frames", folder / "frames"), *("--alpha", folder / "alpha")]
    identity, fit = folder / f"{mode}.npz", folder / f"{mode}.parquet"
    run_stage("identity", identity, *settings, *inputs, "--holdout", str(HOLDOUT), "--out", identity)
    run_stage("fit", fit, *settings, *inputs, "--identity", identity, "--out", fit)
    return Identity.load(identity), read_manifest(fit, "fit")


def skin(renderer: Renderer, points: np.ndarray) -> np.ndarray:
    """(S, S) bool: pixels of drawn skin, some way from eyes and mouth."""
    side = renderer.size_px
    buffer = ZBuffer((side, side), len(renderer.tri))
    buffer.draw(clip_positions(points, renderer.focal_px, renderer.principal, (side, side)), renderer.tri)
    other = (buffer.face_at >= 0) & (renderer.part[np.maximum(buffer.face_at, 0)] > 0)
    reach = 2 * max(2, side // 64) + 1
    return (buffer.face_at >= 0) & ~(cv2.dilate(other.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0)


class Test:
    """The frames to measure on."""

    def __init__(self, folder: Path, fit) -> None:
        count = len(fit)
        self.rows = np.flatnonzero((fit["quality"] == "ok") & (np.arange(count) >= round(count * (1 - HOLDOUT))))
        names = [image_name(int(fit["frame"][row])) for row in self.rows]
        self.frames = [read_image(folder / "frames" / name) for name in names]
        self.alpha = [read_image(folder / "alpha" / name) for name in names]

    def draw(self, identity, fit, lights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """I_R (n, S, S, 3) and the skin (n, S, S) under lights (N, 27)."""
        renderer = Renderer(identity)
        poses = [[fit[name][row] for name in POSE] for row in self.rows]
        images = [renderer.render(*pose, lights[row]).image for pose, row in zip(poses, self.rows, strict=True)]
        return np.stack(images), np.stack([skin(renderer, renderer.vertices(*pose[:3])) for pose in poses])

    def score(self, images: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
        """Error and flicker."""
        counted = masks & (np.stack(self.alpha) >= 128)
        values = images.astype(float)
        error = np.mean([np.abs(v - f)[m].mean() for v, f, m in zip(values, self.frames, counted, strict=True)])
        together = counted[2:] & counted[1:-1] & counted[:-2] & (self.rows[2:] - self.rows[:-2] == 2)[:, None, None]
        bend = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
        return float(error), float(bend[together].mean()) if together.any() else float("nan")


def measure(video: str, folder: Path, mode: str, images: Path | None) -> list[str]:
    """One row of the table."""
    old, old_fit = learn(folder, "off")
    new, new_fit = learn(folder, mode)
    test, count = Test(folder, old_fit), len(old_fit)
    even, fixed = (np.repeat(light.reshape(1, 27), count, axis=0) for light in (EVEN_LIGHT, default_light()))
    own = np.repeat(np.asarray(new.light).reshape(1, 27), count, axis=0)
    drawn = {
        "before": test.draw(old, old_fit, fixed), "even": test.draw(old, old_fit, even),
        "subject": test.draw(new, new_fit, own), "fitted": test.draw(new, new_fit, new_fit["light"]),
    }  # fmt: skip
    scores = {name: test.score(*value) for name, value in drawn.items()}
    scores["video"] = test.score(np.stack(test.frames), drawn["before"][1])
    landmarks = [100 * float(np.nanmean(fit["landmark_error"][test.rows])) for fit in (old_fit, new_fit)]
    if images:
        tiles = [np.hstack([test.frames[k], *(value[0][k] for value in drawn.values())])
                 for k in np.linspace(0, len(test.rows) - 1, 3).round().astype(int)]  # fmt: skip
        write_image(images / f"{folder.name}-{mode}.png", np.vstack(tiles))
    row = [Path(video.rsplit(":", 2)[0]).stem, str(len(test.rows))]
    row += [f"{scores[name][0]:.2f}" for name in ("before", "even", "subject", "fitted")]
    row += [f"{scores[name][1]:.2f}" for name in ("video", "before", "subject", "fitted")]
    return [*row, *(f"{value:.3f}" for value in landmarks)]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", help="path:start:end of each video")
    parser.add_argument("--size-px", type=int, default=256, help="side of the frames (default: 256)")
    parser.add_argument("--mode", choices=["light", "full"], default="light", help="what to measure")
    parser.add_argument("--work", type=Path, help="folder to keep results of the stages in, and to take them from")
    parser.add_argument("--images", type=Path, help="folder for images to look at: frame and I_R, as the columns")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    heads = ["clip", "frames", "error before", "even light", "subject's light", "fitted light", "flicker of the video"]
    heads += ["before", "subject's", "fitted", "landmarks before, %", "after, %"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    with tempfile.TemporaryDirectory() as temporary:
        for video in args.videos:
            folder = (args.work or Path(temporary)) / Path(video.rsplit(":", 2)[0]).stem
            folder.mkdir(parents=True, exist_ok=True)
            prepare(video, folder, args.size_px)
            lines.append("| " + " | ".join(measure(video, folder, args.mode, args.images)) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
