"""Choose the frames that train, validate and measure the avatar, and say why each other frame is left out.

In: the manifests of all clips of a subject (decode, landmarks, matting, fit, render; lists in the order of --clips).
Out: samples.parquet, one row per frame. Roles: `train` (the subject has clips to test on elsewhere), `holdout` (it has
none: the last share of its frames becomes the test, after a gap), `test` (clips that only measure). Seconds, little
memory.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.fitting.landmark_measures import inter_ocular_distance, lid_area
from selfieavatar.footage.holdout import kept_frames, split_of
from selfieavatar.footage.left_out import left_out
from selfieavatar.io.files import content_hash
from selfieavatar.io.manifest import Manifest, frame_rate, read_manifest, write_manifest
from selfieavatar.settings.cli import main, stage_parser
from selfieavatar.settings.sections import Samples

log = logging.getLogger(__name__)

KINDS = ("decode", "landmarks", "matting", "fit", "render")
# Rotation (rad) that counts as much as one standard deviation of an expression coefficient, about nine degrees.
ROTATION_UNIT = 0.15
CLOSED, MOST_CLOSED = 0.5, 5.0  # lids as a share of their usual opening; largest factor on the weight of such a frame


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "samples")
    parser.add_argument("--subject", required=True, help="name of the subject")
    parser.add_argument("--clips", nargs="+", required=True, help="names of the clips")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", nargs="+", required=True, type=Path, help=f"{kind}.parquet of each clip")
    parser.add_argument("--role", choices=["train", "holdout", "test"], default="train", help="what the clips are for")
    parser.add_argument(
        "--trained", type=json.loads, default={},
        help="JSON object: clip to test on -> [start, end] of the clips to train on that are cut from the same source",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, help="samples.parquet")
    return parser


def load_clips(args: argparse.Namespace) -> list[dict[str, Manifest]]:
    """Read the five manifests of each clip, checked to be about the same frames and of one size.

    Raises:
        UserError: lists of different lengths, manifests that do not belong together, clips of different sizes.
    """
    lists = {kind: getattr(args, kind) for kind in KINDS}
    wrong = [kind for kind, paths in lists.items() if len(paths) != len(args.clips)]
    if wrong:
        raise UserError(
            f"--{wrong[0]} names {len(lists[wrong[0]])} files for {len(args.clips)} clips; give one for each clip"
        )
    clips = []
    for k, name in enumerate(args.clips):
        clip = {kind: read_manifest(paths[k], kind) for kind, paths in lists.items()}
        for kind in KINDS[1:]:
            if not np.array_equal(clip[kind]["frame"], clip["decode"]["frame"]):
                raise UserError(
                    f"{lists[kind][k]} is not about the frames of {lists['decode'][k]} (clip '{name}'); make it again"
                )
        clips.append(clip)
    sizes = {name: clip["decode"].metadata["size_px"] for name, clip in zip(args.clips, clips, strict=True)}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} {size} px" for name, size in sizes.items())
        raise UserError(f"the clips of subject '{args.subject}' differ in size ({said}); give them the same preset")
    return clips


def reasons_of(clip: dict[str, Manifest], settings: Samples, for_test: bool) -> np.ndarray:
    """Say why each frame is left out, "" where it is used; the first reason that holds counts. (N,) of str."""
    decode, fit, render = clip["decode"], clip["fit"], clip["render"]
    sharpness, face = decode["sharpness"].astype(float), decode["face"]
    [kept] = kept_frames([decode])
    seen = sharpness[face & np.isfinite(sharpness) & kept]
    limit = settings.blur_share * float(np.median(seen)) if len(seen) else 0.0
    checks = [
        ("another person or place", left_out(decode)),
        ("no face", ~face),
        ("no landmarks", ~clip["landmarks"]["found"]),
        ("lost fit", ~fit["fitted"] | (fit["quality"] == "lost")),
        ("empty rendering", render["face_share"] <= 0),
        ("empty matte", clip["matting"]["coverage"] < settings.min_coverage),
    ]
    if not for_test:  # a measurement takes the frames as they come
        checks += [
            ("bridged fit", (fit["quality"] == "bridged") & (not settings.use_bridged)),
            ("duplicate", decode["duplicate"]),
            ("blurred", ~(sharpness >= limit)),
        ]
    reason = np.full(len(decode), "", dtype=object)
    for name, holds in reversed(checks):
        reason[holds] = name
    return reason


def rarity_weights(rotation: np.ndarray, expression: np.ndarray, strength: float, neighbours: int = 8) -> np.ndarray:
    """Weight rare poses and expressions mildly more; mean 1, between 1/3 and 3.

    The distance to the k-th nearest frame, in standard deviations of expression and units of rotation, tells how rare a
    frame is; its weight is that distance over the median one, to the power `strength` (0 = all alike).

    Args:
        rotation: axis-angle (N, 3). expression: coefficients (N, E).
    """
    count = len(rotation)
    if strength == 0 or count <= neighbours:
        return np.ones(count, np.float32)
    spread = expression.std(0)
    leading = np.argsort(spread)[::-1][:8]  # the weak components are mostly noise of the fit
    unit = np.maximum(spread[leading].max(initial=0.0), 1e-6)
    space = np.concatenate([rotation / ROTATION_UNIT, expression[:, leading] / unit], 1).astype(np.float32)
    reach = np.empty(count, np.float32)
    energy = (space**2).sum(1)
    for start in range(0, count, 1024):  # blocks bound the memory for long clips
        part = slice(start, start + 1024)
        squared = energy[part, None] + energy[None] - 2 * space[part] @ space.T
        reach[part] = np.sqrt(np.maximum(np.partition(squared, neighbours, axis=1)[:, neighbours], 0))
    weight = (np.maximum(reach, 1e-6) / max(float(np.median(reach)), 1e-6)) ** strength
    weight = np.clip(weight, 1 / 3, 3)
    return (weight / weight.mean()).astype(np.float32)


def lid_openings(clip: dict[str, Manifest]) -> np.ndarray:
    """Measure how far the lids are open, (N,), as a share of the clip's usual opening; NaN where no face was found."""
    landmarks = clip["landmarks"]
    name = landmarks.metadata["landmark_set"]
    points = landmarks["points_px"].reshape(len(landmarks), -1, 2)
    [kept] = kept_frames([clip["decode"]])
    with np.errstate(invalid="ignore", divide="ignore"):
        opening = lid_area(points, inter_ocular_distance(points, name), name).mean(1)
    known = opening[kept & np.isfinite(opening)]
    return opening / np.median(known) if len(known) else np.full(len(opening), np.nan)


def weigh_closed_lids(weight: np.ndarray, opening: np.ndarray, share: float) -> np.ndarray:
    """Raise the weights (N,) of frames with closed lids until they have the share of all; mean 1, as before.

    opening: (N,), as of `lid_openings`.
    """
    closed = opening < CLOSED
    sums = float(weight[closed].sum()), float(weight[~closed].sum())
    if min(sums) <= 0 or sums[0] >= share * sum(sums):
        return weight
    factor = min(share * sums[1] / ((1 - share) * sums[0]), MOST_CLOSED)
    raised = np.where(closed, factor * weight, weight)
    return (raised / raised.mean()).astype(np.float32)


def choose_validation(used: np.ndarray, share: float) -> np.ndarray:
    """Choose validation frames, spread evenly over the used ones."""
    candidates = np.flatnonzero(used)
    count = round(share * len(candidates))
    if share > 0 and len(candidates) >= 40:
        count = max(count, 2)
    picks = (np.arange(count) + 0.5) * len(candidates) / max(count, 1)
    return candidates[picks.astype(int)]


def build_samples(
    names: list[str], clips: list[dict[str, Manifest]], role: str, settings: Samples
) -> dict[str, np.ndarray]:
    """Make the columns of samples.parquet."""

    def column(kind: str, name: str) -> np.ndarray:
        return np.concatenate([clip[kind][name] for clip in clips])

    count = [len(clip["decode"]) for clip in clips]
    clip_names = np.repeat(np.array(names, dtype=object), count)
    split = np.full(len(clip_names), "test" if role == "test" else "train", dtype=object)
    gap = np.zeros(len(clip_names), bool)
    if role == "holdout":
        held = np.concatenate([split_of(clip["decode"]) for clip in clips])
        split[held == "test"], gap = "test", held == "gap"
    for_test = split == "test"
    strict = np.concatenate([reasons_of(clip, settings, for_test=False) for clip in clips])
    lenient = np.concatenate([reasons_of(clip, settings, for_test=True) for clip in clips])
    reason = np.where(for_test, lenient, strict).astype(object)
    reason[gap & (reason == "")] = "gap before the held-out frames"
    used = reason == ""
    split[choose_validation(used & (split == "train"), settings.validation)] = "val"
    training = used & (split == "train")
    weight = np.where(used, 1.0, 0.0).astype(np.float32)
    weight[training] = rarity_weights(
        column("fit", "rotation")[training], column("fit", "expression")[training], settings.rarity
    )
    opening = np.concatenate([lid_openings(clip) for clip in clips])
    weight[training] = weigh_closed_lids(weight[training], opening[training], settings.closed_lids)
    return {
        "clip": clip_names,
        "frame": column("decode", "frame"),
        "split": split,
        "weight": weight,
        "used": used,
        "reason": reason,
    }


def interleaved(
    names: list[str], clips: list[dict[str, Manifest]], trained: dict[str, list[list[int | None]]], gap_s: float
) -> list[str]:
    """Find the clips to test on that lie nearer than the gap to frames of their source that are trained on.

    Neighbours show nearly the same, so that their metrics flatter.

    trained: of each clip the half-open ranges [start, end] of its source, None standing for the source's ends.
    """
    found = []
    for name, clip in zip(names, clips, strict=True):
        frames, gap = clip["decode"]["source_frame"], gap_s * frame_rate(clip["decode"])
        for start, end in trained.get(name, []):
            before = end is not None and frames.min() - end >= gap
            after = (start or 0) - (frames.max() + 1) >= gap
            if not before and not after and name not in found:
                found.append(name)
    return found


def interleaved_within(names: list[str], clips: list[dict[str, Manifest]], gap_s: float) -> list[str]:
    """Find the clips whose held-out frames lie nearer than the gap to frames of their source that are trained on.

    That is so where the clips of one source stand in the sheet in another order than in the source.
    """
    decode = [clip["decode"] for clip in clips]
    splits = [split_of(clip) for clip in decode]
    found = []
    for name, mine, split in zip(names, decode, splits, strict=True):
        test = mine["source_frame"][split == "test"].astype(int)
        same = [other.metadata["source"] == mine.metadata["source"] for other in decode]
        trained = [o["source_frame"][s == "train"] for o, s, near in zip(decode, splits, same, strict=True) if near]
        shown = np.sort(np.concatenate(trained).astype(int)) if trained else np.zeros(0, int)
        if len(test) and len(shown):
            after = np.searchsorted(shown, test).clip(0, len(shown) - 1)
            apart = np.minimum(abs(shown[after] - test), abs(shown[(after - 1).clip(0)] - test))
            if apart.min() - 1 < round(gap_s * frame_rate(mine)):
                found.append(name)
    return found


def images_hash(clip: dict[str, Manifest]) -> str:
    """Hash all images of a clip together, so that samples.parquet changes when any of them does."""
    columns = (("decode", "picture_hash"), ("matting", "alpha_hash"), ("render", "render_hash"), ("render", "uv_hash"))
    return content_hash("\n".join(str(h) for kind, name in columns for h in clip[kind][name]).encode())


def refuse_too_few(columns: dict[str, np.ndarray], role: str, subject: str, minimum: int) -> None:
    """End the stage where the usable frames do not make an avatar (or a measurement).

    Raises:
        UserError: with the count, and the reasons for which frames were left out.
    """
    for split, needed in (
        (("test", 1),) if role == "test" else (("train", minimum), ("test", 1 if role == "holdout" else 0))
    ):
        mine = columns["split"] == split
        found = int((mine & columns["used"]).sum())
        if found >= needed:
            continue
        lost = Counter(columns["reason"][mine & ~columns["used"]].tolist())
        why = ", ".join(f"{count} {reason}" for reason, count in lost.most_common()) or "the clips are too short"
        clips = ", ".join(sorted(set(columns["clip"][mine].tolist()))) or "none"
        verb = "train on" if split == "train" else "measure on"
        raise UserError(
            f"subject '{subject}' has {found} usable frames to {verb}, at least {needed} are needed (clips: {clips}; "
            f"left out: {why}); give a longer clip with the face in view, or cut it to where the face is seen "
            "(start_frame, end_frame)"
        )


def run(args: argparse.Namespace) -> None:
    """Read the manifests and write samples.parquet."""
    clips = load_clips(args)
    columns = build_samples(args.clips, clips, args.role, args.settings)
    refuse_too_few(columns, args.role, args.subject, args.settings.min_frames)
    size_px = int(clips[0]["decode"].metadata["size_px"])
    images = {name: images_hash(clip) for name, clip in zip(args.clips, clips, strict=True)}
    light = clips[0]["render"].metadata.get("light", "fixed")  # before there was a choice, it was fixed
    facts = {"subject": args.subject, "size_px": size_px, "pictures": images, "light": light}
    near = interleaved(args.clips, clips, args.trained, args.settings.gap_s)
    if args.role == "holdout":
        near = interleaved_within(args.clips, clips, args.settings.gap_s)
    facts["interleaved"] = near
    if facts["interleaved"]:
        log.warning("%s lie within %g s of frames of their source that are trained on: their metrics flatter, and are "
                    "called interleaved", ", ".join(facts["interleaved"]), args.settings.gap_s)  # fmt: skip
    write_manifest(args.out, "samples", columns, facts)
    used = Counter(columns["split"][columns["used"]].tolist())
    left = Counter(columns["reason"][~columns["used"]].tolist())
    log.info("%s: %s; left out: %s", args.subject, dict(used), dict(left) or "none")


if __name__ == "__main__":
    main(build_parser(), run)
