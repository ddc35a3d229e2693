"""Train the avatar: G_fa, G_b, G_style and the discriminator, by the losses of the paper's eq. 4 to 7.

In: samples.parquet, identity.npz, the clips' folders. Out: avatar.pt, which alone (with a driving video) is enough to
reenact. Everything about a run lies in <train-dir>/<key of configuration, code and data>: the state from which a
stopped run goes on, curves, grids, and a copy of the finished avatar, taken again when the same run is asked for.
cpu-128: 24 minutes on two cores, 2 GB of memory; gpu-512: hours, one GPU. With several GPUs granted the stage starts
itself once per GPU by torchrun.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from selfieavatar.errors import UserError
from selfieavatar.fitting.torso_motion import learn_torso_motion
from selfieavatar.footage.holdout import filled_torso
from selfieavatar.identity import Identity
from selfieavatar.io.avatar_file import FORMAT, read_avatar
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.files import content_hash
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.networks.sizes import refuse_sizes
from selfieavatar.rendering.shading import default_light
from selfieavatar.settings.cli import main, stage_parser
from selfieavatar.settings.config import canonical_json, check_training
from selfieavatar.settings.device import lease_device, visible_gpus
from selfieavatar.settings.provenance import code_digest
from selfieavatar.settings.train_section import Train

if TYPE_CHECKING:
    from selfieavatar.training.trainer import Trainer

log = logging.getLogger(__name__)

FEW_IMAGES = 1000  # of a training that ends by the clock


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "train")
    parser.add_argument("--samples", required=True, type=Path, help="samples.parquet")
    parser.add_argument("--identity", required=True, type=Path, help="identity.npz")
    parser.add_argument("--clips-dir", required=True, type=Path, help="folder that holds the folders of the clips")
    parser.add_argument(
        "--train-dir", required=True, type=Path, help="folder for TensorBoard and the state to resume from"
    )
    parser.add_argument("--out", required=True, type=Path, help="avatar.pt")
    parser.add_argument(
        "--start-from",
        nargs="?",
        type=Path,
        help="avatar.pt whose networks this training starts from (the workflow: train.start_from)",
    )
    parser.add_argument("--budget-of", nargs="?", type=Path, help="avatar.pt after whose budget this training ends")
    parser.add_argument("--budget", choices=["images", "minutes"], default="images", help="which of its budgets")
    parser.add_argument(
        "--consent", default="", help="basis on which the person is made into an avatar, as the sheet states it"
    )
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted, which share each batch; 0 trains on the CPU")
    return parser


def chosen_frames(samples: Manifest, clips_dir: Path) -> tuple[list[tuple[Path, int]], np.ndarray, list[int]]:
    """List the frames of the store, their training weights (0: not trained on), and the positions to validate on.

    Raises:
        UserError: nothing to train on.
    """
    rows = np.flatnonzero(samples["used"] & np.isin(samples["split"], ["train", "val"]))
    split, clip, frame = samples["split"][rows], samples["clip"][rows], samples["frame"][rows]
    weights = np.where(split == "train", samples["weight"][rows], 0).astype(np.float64)
    if not (weights > 0).any():
        subject = samples.metadata["subject"]
        raise UserError(f"subject '{subject}' has no usable frame to train on; see the reasons in samples.parquet")
    frames = [(clips_dir / str(c), int(f)) for c, f in zip(clip, frame, strict=True)]
    return frames, weights, np.flatnonzero(split == "val").tolist()


def torso_from_head(
    identity: Identity, frames: list[tuple[Path, int]], weights: np.ndarray
) -> tuple[Identity, np.ndarray | None]:
    """Learn what the head's pose tells of the torso from the frames that are trained on.

    Returns:
        The identity with its torso motion, and how far the tracked shift of each frame (N, 2) is from the predicted
        one; None where the torso was never tracked.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("rotation", "translation", "torso", "filled")}
    for folder in dict.fromkeys(folder for folder, _ in frames):
        fit = ClipStore(folder).manifest("fit")
        rows = np.searchsorted(fit["frame"], [frame for of, frame in frames if of == folder])
        values = {name: fit[name] for name in ("rotation", "translation", "torso")}
        for name, column in (values | {"filled": filled_torso(fit)}).items():
            columns[name].append(column[rows])
    rotation, translation, torso, filled = (np.concatenate(parts) for parts in columns.values())
    trained = weights > 0
    motion = None
    if identity.torso is not None:
        motion = learn_torso_motion(rotation[trained], translation[trained], torso[trained])
    if motion is None:
        return identity, None
    offsets = filled - motion.shift(rotation, translation)
    log.info("the head's pose tells the torso's place to %.2f %% of the side",
             100 * np.sqrt(np.square(offsets[trained]).sum(1).mean()))  # fmt: skip
    return replace(identity, torso_motion=motion), offsets.astype(np.float32)


def budget_of(settings: Train, other: Path | None, budget: str) -> Train:
    """End the training after as many images, or minutes, as another avatar, without other bounds; None changes nothing.

    Raises:
        UserError: the file does not say how many.
    """
    if other is None:
        return settings
    count = read_avatar(other).get(budget)
    if isinstance(count, bool) or not isinstance(count, int | float) or not 0 < count < math.inf:
        raise UserError(f"{other} does not say for how many {budget} it was trained; train it again")
    return settings.model_copy(update={"images": 0, "minutes": 0} | {budget: count})


def check_settings(settings: Train, size_px: int) -> None:
    """Refuse what would fail later.

    Raises:
        UserError: no end to the training, nothing to learn, or sizes that do not fit the images.
    """
    check_training(settings)
    refuse_sizes(settings, size_px)


def avatar_file(trainer: Trainer, taken: dict[str, Any], identity: Identity, subject: str) -> dict[str, Any]:
    """Assemble avatar.pt of tensors, numbers and strings only, so that torch.load(weights_only=True) reads it.

    taken: the networks, of `avatar_parts`; the last row of the history says after how many images they stood so.
    """
    import torch

    arrays = {
        k: v.item() if v.dtype.kind in "US" else torch.from_numpy(np.array(v, order="C"))
        for k, v in identity.to_arrays().items()
    }
    history = [{key: float(value) for key, value in row.items()} for row in trainer.history]
    history[-1]["taken_images"] = float(taken["images"])
    return {
        "format": FORMAT,
        "subject": subject,
        "size_px": trainer.size_px,
        "settings": dict(trainer.settings),
        "g_style": taken["g_style"],
        "maps": taken["maps"],
        "identity": arrays,
        "expression_range": {"low": arrays["expression_low"], "high": arrays["expression_high"]},
        "weights": dict(trainer.losses.backbone_labels),
        "versions": {"torch": str(torch.__version__), "numpy": str(np.__version__)},
        "history": history,
        "images": trainer.images,
        "minutes": trainer.minutes,
    }


def learn(
    args: argparse.Namespace, samples: Manifest, identity: Identity, folder: Path, out: Path, device: str
) -> None:
    """Train on the device, keeping the state in `folder`, and write the avatar to `out`.

    Of torchrun's processes the main one writes.
    """
    import torch

    from selfieavatar.training.code_range import measure_code_range
    from selfieavatar.training.dataset import FrameStore
    from selfieavatar.training.loop import Frames, avatar_parts, train
    from selfieavatar.training.parallel import joined
    from selfieavatar.training.precision import takes_bfloat16
    from selfieavatar.training.start import read_start, started_from
    from selfieavatar.training.state import write_torch
    from selfieavatar.training.unseen_texels import fill_unseen

    if samples.metadata.get("light") == "fixed":
        # The avatar is driven under the light that it was trained under.
        identity = replace(identity, light=default_light())
    size_px = int(samples.metadata["size_px"])
    check_settings(args.settings, size_px)
    start = read_start(args.start_from, args.settings, size_px, identity.model.name) if args.start_from else None
    if start:
        log.info("starting from the networks of '%s', after %s images", start.get("subject", ""), start.get("images"))
    frames, weights, validation = chosen_frames(samples, args.clips_dir)
    identity, torso_offsets = torso_from_head(identity, frames, weights)
    torch.set_num_threads(max(args.threads, 1))
    # moments of Adam that fade into denormal numbers would slow a CPU down several times
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")
    with joined(device) as group:
        if not group.is_main:
            logging.getLogger().setLevel(logging.ERROR)
        memory = int(min(args.settings.cache_gb * 1e9, psutil.virtual_memory().available / 2) / group.size)
        moved = args.settings.move_share > 0
        with closing(FrameStore(frames, size_px, memory, args.threads, with_plates=moved)) as store:
            where = "in memory" if store.cached else f"{store.held} of them in memory, the others read as needed"
            half = takes_bfloat16(torch.device(device), args.settings.precision)
            log.info("%d frames of %d px (%s), training on %s in %s; progress in %s", len(frames), size_px, where,
                     device, "bfloat16" if half else "float32", folder)  # fmt: skip
            shown = Frames(store, weights, validation, torso_offsets)
            trainer = train(args.settings, size_px, shown, folder, device, group, start)
            if group.is_main:
                taken = avatar_parts(trainer, folder)
                fill_unseen(taken, args.settings, shown, trainer.device)
                measure_code_range(taken, args.settings, shown, trainer.device)
                content = avatar_file(trainer, taken, identity, samples.metadata["subject"])
                write_torch(out, content | {"started_from": started_from(start)})
    scores = {k[4:]: v for k, v in trainer.history[-1].items() if k.startswith("val_")} if trainer.history else {}
    log.info(
        "avatar after %d images, %.1f minutes; validation frames (between the training frames, so flattering): %s",
        trainer.images, trainer.minutes, ", ".join(f"{name} {value:.3f}" for name, value in scores.items()) or "none",
    )  # fmt: skip
    if trainer.images < FEW_IMAGES and not args.settings.images:
        log.warning(
            "%d images are too few for a likeness, where thousands are usual: the machine is slow or busy; raise "
            "train.minutes", trainer.images,
        )  # fmt: skip


def with_consent(kept: Path, consent: str, out: Path) -> None:
    """Write the finished avatar with the basis of consent, which may be stated anew without training again."""
    from selfieavatar.training.state import write_torch

    write_torch(out, read_avatar(kept) | {"consent": consent})


def start_process_group(args: argparse.Namespace) -> None:
    """Start this stage once per GPU by torchrun, and wait; the GPUs are leased, and this process holds them.

    Raises:
        UserError: one of the processes failed; it has said why.
    """
    command = [
        sys.executable,
        "-m",
        "selfieavatar.training.parallel",
        "--standalone",
        "--nproc-per-node",
        str(args.gpu),
    ]
    command += ["-m", "stages.train", "--settings", canonical_json(args.settings), "--log-level", args.log_level]
    command += ["--threads", str(max(args.threads // args.gpu, 1)), "--gpu", str(args.gpu)]
    command += ["--start-from", str(args.start_from)] if args.start_from else []
    for name in ("samples", "identity", "clips_dir", "train_dir", "consent", "out"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    # In a session of its own: a terminal's Ctrl-C reaches this process alone, and the others hear of it once.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # torchrun passes it on, and the processes save between two steps
        try:
            process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
        raise
    if status:
        raise UserError(f"training on {args.gpu} GPUs has failed; the lines above say why")


def run(args: argparse.Namespace) -> None:
    """Write avatar.pt: of an earlier run with the same settings, code and data where there is one."""
    # Before torch is imported: on a busy machine MKL's threads else share out work, and add up, as they find time.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    from selfieavatar.training.parallel import group_from_environment
    from selfieavatar.training.state import discard_state, is_whole, run_key

    args.settings = budget_of(args.settings, args.budget_of, args.budget)
    samples, identity = read_manifest(args.samples, "samples"), Identity.load(args.identity)
    files = [args.samples, args.identity, *([args.start_from] if args.start_from else [])]
    data = content_hash("".join(map(content_hash, files)).encode())
    args.settings = args.settings.model_copy(update={"start_from": ""})  # a path; the file's hash stands for it
    folder = args.train_dir / run_key(args.settings, code_digest("stages.train"), data)
    kept = folder / args.out.name
    local_rank = os.environ.get("LOCAL_RANK")  # set by torchrun
    if is_whole(kept):
        log.info("taking the avatar of an earlier run with the same settings, code and data: %s", kept)
    elif local_rank is not None:
        device = f"cuda:{local_rank}" if args.gpu and visible_gpus() else "cpu"
        learn(args, samples, identity, folder, kept, device)
    else:
        with lease_device(args.gpu) as device:
            if args.gpu > 1 and device != "cpu":
                start_process_group(args)
                return
            learn(args, samples, identity, folder, kept, device)
    if not group_from_environment().is_main:
        return
    discard_state(folder)
    with_consent(kept, args.consent, args.out)


if __name__ == "__main__":
    main(build_parser(), run)
