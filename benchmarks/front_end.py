"""Speed and memory from the video to the renders: decode, landmarks, matting, fit and render of one clip.

    python benchmarks/front_end.py --source video.mp4 --size-px 512 --end 600
    python benchmarks/front_end.py --source video.mp4 --end 400 1600     # does memory grow with the clip?

Without --source the demo actor is filmed first (not counted). Each stage is a process of its own, as in the workflow,
one after another; its seconds hold start-up and imports. `identity`, once per subject, is listed but not part of the
total.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# As in selfieavatar/workflow/command.py.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
}
PER_CLIP = ("decode", "landmarks", "matting", "fit", "render")


def run_stage(stage: str, *words: str | Path) -> tuple[float, float, float]:
    """Seconds, seconds of CPU time, which other programs hardly change, and peak memory (MB) of one stage."""
    began = time.monotonic()
    command = [sys.executable, "-m", f"stages.{stage}", *map(str, words)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | ENVIRONMENT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"stage {stage} failed")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def stage_words(folder: Path, source: Path, size_px: int, end: int | None) -> dict[str, list[str | Path]]:
    """Command line of each stage, in order."""
    cut = ["--start", "0", *(["--end", str(end)] if end else [])]
    decode, landmarks = folder / "decode.parquet", folder / "landmarks.parquet"
    frames, alpha, identity, fit = folder / "frames", folder / "alpha", folder / "identity.npz", folder / "fit.parquet"
    size = json.dumps({"size_px": size_px})
    matting = ["--source", source, *cut, "--decode", decode, "--out-alpha", alpha, "--plate", folder / "plate.png"]
    render = ["--identity", identity, "--fit", fit, "--out-render", folder / "render", "--out-uv", folder / "uv"]
    return {
        "decode": ["--settings", size, "--source", source, *cut, "--out-frames", frames, "--manifest", decode],
        "landmarks": ["--source", source, *cut, "--decode", decode, "--manifest", landmarks],
        "matting": [*matting, "--manifest", folder / "matting.parquet"],
        "identity": [
            "--decode",
            decode,
            "--landmarks",
            landmarks,
            "--frames",
            frames,
            "--alpha",
            alpha,
            "--out",
            identity,
        ],
        "fit": [
            *("--identity", identity, "--decode", decode, "--landmarks", landmarks),
            *("--frames", frames, "--alpha", alpha, "--out", fit),
        ],
        "render": [*render, "--manifest", folder / "render.parquet"],
    }


def measure_clip(source: Path, size_px: int, end: int | None) -> tuple[int, dict[str, tuple[float, float, float]]]:
    """Number of frames, and what `run_stage` says of each stage."""
    with tempfile.TemporaryDirectory() as name:
        words = stage_words(Path(name), source, size_px, end)
        measured = {stage: run_stage(stage, *line) for stage, line in words.items()}
        return len(list((Path(name) / "frames").glob("*.png"))), measured


def main() -> None:
    """Measure and print a Markdown table, four columns for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="video file (default: the demo actor)")
    parser.add_argument("--end", type=int, nargs="+", default=[None], help="frames to take: lengths (default: all)")
    parser.add_argument("--size-px", type=int, default=512, help="side of the frames (default: 512)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = args.source.resolve() if args.source else Path(name) / "demo.mp4"
        if not args.source:
            run_stage("demo", "--seed", "1", "--out", source, "--truth", Path(name) / "demo.npz")
        clips = [measure_clip(source, args.size_px, end) for end in args.end]
    lines = [f"{args.size_px} px, {os.cpu_count()} cores, {platform.processor() or platform.machine()}", ""]
    lines += ["| stage |" + "".join(f" {frames} frames: s | frames/s | CPU s | peak MB |" for frames, _ in clips)]
    lines += ["|---|" + "---|---|---|---|" * len(clips)]
    for stage in clips[0][1]:
        rows = ((frames, *measured[stage]) for frames, measured in clips)
        cells = (f" {s:.1f} | {n / s:.0f} | {cpu:.1f} | {mb:.0f} |" for n, s, cpu, mb in rows)
        lines += [f"| {stage} |" + "".join(cells)]
    totals = [(frames, *np.sum([measured[stage] for stage in PER_CLIP], axis=0)[:2]) for frames, measured in clips]
    lines += ["| per clip, together |" + "".join(f" {s:.1f} | {n / s:.1f} | {cpu:.1f} | |" for n, s, cpu in totals)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
