"""Speed of the metrics of `evaluate` that need no network, on images as they come from an avatar: all regions.

    python benchmarks/metrics.py                      # 500 frames of 256 px
    python benchmarks/metrics.py --size-px 512 --threads 1

Images are made up (the time does not depend on what they show); reading, painting, filming and tracking again are not
counted. Seconds of the clock and of the CPU, which other programs hardly change.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar.evaluation.metric_registry import FRAME_METRICS  # noqa: E402
from selfieavatar.evaluation.metrics_file import result_metrics  # noqa: E402
from selfieavatar.evaluation.network_metrics import NetworkScores  # noqa: E402
from selfieavatar.evaluation.regions import REGIONS, region_masks  # noqa: E402
from selfieavatar.evaluation.results import Results  # noqa: E402
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, landmark_set  # noqa: E402 - found only after the path is set

log = logging.getLogger("metrics")

BATCH = 8


def batch(size_px: int, seed: int) -> tuple[np.ndarray, ...]:
    """Truth, avatar, alpha, face and landmarks of BATCH frames: soft noise, a person and a face in the middle."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((BATCH, 16, 16, 3), np.float32)
    truth = np.stack([cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_CUBIC) for image in coarse])
    truth = np.clip(truth, 0, 1)
    predicted = np.clip(truth + rng.normal(0, 0.05, truth.shape).astype(np.float32), 0, 1)
    rows, columns = np.mgrid[:size_px, :size_px] / size_px - 0.5
    person, face = (np.broadcast_to(np.hypot(rows, columns) < r, (BATCH, size_px, size_px)) for r in (0.4, 0.2))
    points = np.zeros((BATCH, 478, 2))
    for name, middle, width in (("lips_outer", (0.5, 0.6), 0.1), ("left_eye", (0.58, 0.43), 0.07),
                                ("right_eye", (0.42, 0.43), 0.07)):  # fmt: skip
        ring = list(landmark_set(MEDIAPIPE).regions[name])
        angle = np.linspace(0, 2 * np.pi, len(ring), endpoint=False)
        points[:, ring] = size_px * (np.array(middle) + width / 2 * np.stack([np.cos(angle), 0.5 * np.sin(angle)], 1))
    return truth, predicted, person.astype(np.float32), face, points


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of the CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cv2.setNumThreads(args.threads)
    truth, predicted, alpha, face, points = batch(args.size_px, 0)
    kind = landmark_set(MEDIAPIPE)
    masks = region_masks(alpha, face, points, kind)
    log.info("%d frames of %d px, %d regions, %d threads", args.frames, args.size_px, len(REGIONS), args.threads)
    log.info("%s, %d cores, numpy %s, OpenCV %s", platform.machine(), os.cpu_count(), np.__version__, cv2.__version__)
    log.info("| what | s | s of CPU | ms of CPU a frame |\n|---|---|---|---|")

    def line(name: str, seconds: tuple[float, float], frames: int) -> None:
        scale = args.frames / frames
        each = 1e3 * seconds[1] / frames
        log.info("| %s | %.1f | %.1f | %.1f |", name, scale * seconds[0], scale * seconds[1], each)

    for name, metric in FRAME_METRICS.items():
        line(name, timed(lambda metric=metric: metric(predicted, truth, masks)), BATCH)
    result = Results(["avatar"], NetworkScores("cpu", wanted=False))

    def everything() -> None:
        for start in range(0, args.frames, BATCH):
            count = min(BATCH, args.frames - start)
            regions = region_masks(alpha[:count], face[:count], points[:count], kind)
            number = np.arange(start, start + count)
            result.add("clip", number, number, truth[:count], regions, {"avatar": predicted[:count]})

    line("all, with regions and steadiness", timed(everything), args.frames)
    line("means and intervals", timed(lambda: result_metrics(result)), args.frames)


if __name__ == "__main__":
    main()
