"""The live path against offline self-reenactment, on test frames of the avatar's own person.

    python benchmarks/live_parity.py --avatar A --samples results/anna/test_samples.parquet \\
        --clips-dir results/anna/clips

Offline is what `evaluate` measures as driver-only: pose, expression and gaze of fit.parquet, which knows the whole
clip. Live is LiveDriver(is_person=True, pose="absolute") on the same crop of the video, frame by frame; it calibrates
on the two seconds before the test frames. Both take the mean light, and the torso from the head's pose. Jitter is that
of `evaluation.retrack` (the painted images are tracked again), of images and of the true frames.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar import Avatar, LiveDriver  # noqa: E402 - found only after the path is set
from selfieavatar.detection.landmarks import MediaPipeDetector  # noqa: E402
from selfieavatar.evaluation.frames import Images, driver_only, read_subject  # noqa: E402
from selfieavatar.evaluation.psnr import psnr_db  # noqa: E402
from selfieavatar.evaluation.retrack import Tracker, jitter  # noqa: E402
from selfieavatar.video.reader import CropReader, open_source  # noqa: E402

BEFORE, SIDE_PX, FPS = 60, 512, 30.0


def live_images(avatar: Avatar, images: Images, clip: str, frames: np.ndarray, smooth: bool) -> np.ndarray:
    """Paint test frames (N,) of a clip as a camera would have them painted: (N,S,S,3) float in [0,1]."""
    decode = images.clip(clip).manifest("decode")
    source = open_source(decode.metadata["source"])
    wanted = decode["source_frame"][np.searchsorted(decode["frame"], frames)]
    first = max(int(wanted[0]) - BEFORE, 0)
    driver = LiveDriver(avatar, is_person=True, pose="absolute", smooth=smooth, crop=(0, 0, SIDE_PX))
    painted = {}
    with CropReader(source, first, int(wanted[-1]) + 1, tuple(decode.metadata["crop_px"]), SIDE_PX) as reader:
        for number, time_s, rgb in reader:
            frame = driver(rgb, time_s)
            if first + number in wanted:
                assert frame.state == "following", f"frame {first + number}: {frame.state}"
                painted[first + number] = frame.image
    driver.close()
    return np.stack([painted[int(number)] for number in wanted]) / np.float32(255)


def jitter_of(painted: np.ndarray, order: np.ndarray) -> float:
    """Mean jitter of images (N,S,S,3) float in [0,1], tracked anew."""
    tracker = Tracker(MediaPipeDetector())
    tracker.add((painted * 255).round().astype(np.uint8))
    tracker.detector.close()
    return float(np.nanmean(jitter(tracker.points, order, tracker.detector.set_name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--clips-dir", type=Path, required=True)
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(1)
    avatar = Avatar.load(args.avatar, precision=args.precision)
    images, subject = Images(args.clips_dir, 1), read_subject([args.samples])
    print("| clip | frames | path | PSNR face dB | PSNR full dB | jitter |\n|---|---|---|---|---|---|")
    for clip, frames in subject.test.items():
        [batch] = images.batches(clip, frames, len(frames))
        render, uv = (
            torch.from_numpy(drawn).permute(0, 3, 1, 2) for drawn in driver_only(avatar, images, clip, frames)
        )
        offline = avatar.paint(render, uv)[0].permute(0, 2, 3, 1).cpu().numpy()
        shown = {"true frames": batch.truth, "offline": offline}
        shown |= {"live": live_images(avatar, images, clip, frames, True)}
        shown |= {"live, not smoothed": live_images(avatar, images, clip, frames, False)}
        for name, painted in shown.items():
            scores = psnr_db(painted, batch.truth, batch.masks)
            psnr = " | ".join(
                "" if name == "true frames" else f"{scores[part].mean():.2f}" for part in ("face", "full")
            )
            print(f"| {clip} | {len(frames)} | {name} | {psnr} | {jitter_of(painted, batch.order):.5f} |")


if __name__ == "__main__":
    main()
