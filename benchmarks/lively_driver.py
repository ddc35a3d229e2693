"""How far the avatar's mouth opens, and its lids close, under a driver who is livelier than the footage.

    python benchmarks/lively_driver.py --avatar results/anna/avatar.pt --driver VIDEO [--fit .../fit.parquet]

Asked is what the driven mesh shows: the openings of its landmarks, projected as I_R is. Painted is what the landmark
detector finds in the painted images. Both are measured from the usual opening: of lips its 5th percentile, of lids the
75th. Frames count in which the mesh opens the mouth widest (a tenth of all), or the lids to less than half the usual.
--fit names the fits of the avatar's own clips, and tells how wide those open. `stages.reenact` makes a video of it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from selfieavatar import Avatar  # noqa: E402 - found only after the path is set
from selfieavatar.detection.landmarks import MediaPipeDetector  # noqa: E402
from selfieavatar.evaluation.retrack import Tracker  # noqa: E402
from selfieavatar.fitting.landmark_measures import BLINK_SHARE, landmark_positions, openings  # noqa: E402
from selfieavatar.geometry.camera import rotation_matrix  # noqa: E402
from selfieavatar.io.manifest import read_manifest  # noqa: E402
from selfieavatar.live.clip_driver import follow  # noqa: E402
from selfieavatar.morphable.landmark_sets import MEDIAPIPE  # noqa: E402
from selfieavatar.settings.config import read_section  # noqa: E402
from selfieavatar.settings.sections import Reenact  # noqa: E402
from selfieavatar.video.reader import open_source  # noqa: E402
from stages.reenact import painted, track_driver  # noqa: E402

WIDEST, BATCH = 0.9, 8


def lids_and_lips(points: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the openings {lids, lips: (N,)} of landmarks (N,478,2) px, over the distance of the outer eye corners."""
    found = openings(points, MEDIAPIPE)
    assert found is not None
    return {"lids": found[:, :2].mean(1), "lips": found[:, 2]}


def of_mesh(avatar: Avatar, rotation: np.ndarray, translation: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """Project the landmarks of the mesh in N frames: (N,478,2) px."""
    points = landmark_positions(avatar.model, avatar.model.vertices(expression))
    return avatar.camera.project(np.einsum("nij,nlj->nli", rotation_matrix(rotation), points) + translation[:, None])


def report(name: str, asked: np.ndarray, shown: np.ndarray, rest: float, chosen: np.ndarray) -> None:
    """Print how far the painted opening (N,) goes of the asked one, from the quantile `rest` on, in chosen frames."""
    usual = [np.quantile(values, rest) for values in (asked, shown)]
    moved = [values[chosen].mean() - start for values, start in zip((asked, shown), usual, strict=True)]
    if not moved[0] or not asked.std() or not shown.std():
        print(f"{name}: nothing moves")
        return
    print(
        f"{name}: {chosen.sum()} frames, from {usual[0]:.3f} by {moved[0]:+.3f} asked, from {usual[1]:.3f} by "
        f"{moved[1]:+.3f} painted: {100 * moved[1] / moved[0]:.0f} %; correlation over all frames "
        f"{np.corrcoef(asked, shown)[0, 1]:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", type=Path, required=True)
    parser.add_argument("--driver", type=Path, required=True)
    parser.add_argument("--fit", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    avatar, source = Avatar.load(args.avatar), open_source(args.driver)
    for path in args.fit:
        fit = read_manifest(path, "fit")
        lips = lids_and_lips(of_mesh(avatar, fit["rotation"], fit["translation"], fit["expression"]))["lips"]
        print(f"{path}: lips open to {np.nanmax(lips):.3f} at most, 99th percentile {np.nanquantile(lips, 0.99):.3f}")
    followed = follow(avatar, track_driver(source), read_section(Reenact, {}, "reenact"))
    motion = followed.motion
    tracker = Tracker(MediaPipeDetector())
    tracker.add(image[..., :3] for image in painted(avatar, followed, BATCH))
    tracker.detector.close()
    asked = lids_and_lips(of_mesh(avatar, motion.rotation, motion.translation, motion.expression))
    shown = lids_and_lips(tracker.points)
    known = np.flatnonzero(np.isfinite(shown["lips"]) & followed.seen)
    print(
        f"{len(known)} of {len(motion)} frames tracked; {100 * followed.carried.expression:.0f} % of the driver's "
        "expression asked"
    )
    asked, shown = ({name: values[known] for name, values in one.items()} for one in (asked, shown))
    report("lips", asked["lips"], shown["lips"], 0.05, asked["lips"] >= np.quantile(asked["lips"], WIDEST))
    closed = asked["lids"] < BLINK_SHARE * np.quantile(asked["lids"], 0.75)
    if closed.any():
        report("lids", asked["lids"], shown["lids"], 0.75, closed)


if __name__ == "__main__":
    main()
