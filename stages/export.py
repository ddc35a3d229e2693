"""Export: avatar.onnx, the avatar's network with its maps as constants, for programs without torch.

In: avatar.pt, and fit.parquet of clips of the same person, whose frames are compared. Out, beside each other:
avatar.onnx (float32), avatar.fp16.onnx (float16, for GPUs: a CPU is slower with it), avatar.onnx.npz (the person's face
model, texture, camera and light) and avatar.onnx.json (sizes, names, ranges, conventions, hashes, and how far the
images are from torch's). avatar.int8.onnx is written where its images keep 40 dB to those of float32.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.io.avatar_file import read_avatar
from selfieavatar.io.files import atomic_file, write_json
from selfieavatar.io.manifest import read_manifest
from selfieavatar.runtime.exported_file import (
    FORMAT,
    OPSET,
    Description,
    Exported,
    FileFacts,
    check_graph,
    description_path,
    graph_path,
    identity_path,
)
from selfieavatar.settings.cli import main, stage_parser

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.export.parity import Parity

log = logging.getLogger(__name__)

FRAMES = 50  # that are compared, spread over the clips
MOST_DIFFERENCE = 1e-3  # mean, of float32 to torch; images in [0,1]
LEAST_INT8_DB = 40.0
COLUMNS = ("rotation", "translation", "expression", "gaze", "light", "torso")
Images = list[tuple[np.ndarray, np.ndarray]]


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "export")
    parser.add_argument("--avatar", required=True, type=Path, help="avatar.pt to export")
    parser.add_argument(
        "--fit", nargs="*", default=[], type=Path,
        help="fit.parquet of clips of this person to compare on (default: poses spread over what the avatar has seen)",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, help="avatar.onnx to write; the other files go beside it")
    return parser


def motions_of(avatar: Avatar, fits: list[Path]) -> dict[str, np.ndarray]:
    """Read the coefficients of frames spread over the clips; UserError where they are not this person's."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    for path in fits:
        fit = read_manifest(path, "fit")
        if fit["expression"].shape[1:] != (avatar.model.expression_count,):
            raise UserError(f"{path} is not of the avatar's person; give fit.parquet of a clip that made the avatar")
        usable = fit["fitted"] & (fit["quality"] != "lost")
        for name in COLUMNS[:5]:
            usable &= np.isfinite(fit[name]).all(axis=1)
        for name in COLUMNS:
            columns[name].append(np.nan_to_num(fit[name][usable]))
    motions = {name: np.concatenate(parts) for name, parts in columns.items()}
    count = len(motions["rotation"])
    if not count:
        raise UserError(f"no frame of {', '.join(map(str, fits))} shows a face; give another clip")
    rows = np.unique(np.linspace(0, count - 1, FRAMES).round().astype(int))
    return {name: values[rows] for name, values in motions.items()}


class Export:
    """One export on its way: what is written, compared and noted."""

    def __init__(self, avatar: Avatar, out: Path, threads: int, images: Images) -> None:
        self.avatar, self.out, self.threads, self.images = avatar, out, threads, images
        self.files: dict[str, FileFacts | None] = {}
        self.parity: dict[str, Any] = {}
        self.notes: list[str] = []

    def take(self, precision: str, written: Path, images: Images, least_db: float = 0.0) -> Parity:
        """Check and compare a graph; put it in its place if its images keep so many dB, else remove what is there."""
        from selfieavatar.export.parity import compare
        from selfieavatar.runtime.painters import OnnxPainter

        content, path = written.read_bytes(), graph_path(self.out, precision)
        check_graph(path, content, self.avatar.size_px)
        parity = compare(self.avatar, OnnxPainter(self._unfinished(path, content), self.threads), images)
        self.parity[precision] = parity.figures()
        if parity.psnr_db >= least_db:
            with atomic_file(path) as temporary:
                temporary.write_bytes(content)
            self.files[precision] = FileFacts.of(path)
        else:
            path.unlink(missing_ok=True)
            self.files[precision] = None
            self.notes.append(
                f"{precision}: not written, since {parity.psnr_db:.1f} dB to float32 are under {least_db:g}"
            )
        log.info("%s: %s", precision, parity.in_words())
        return parity

    def _unfinished(self, path: Path, content: bytes) -> Exported:
        """Dress a graph as the painter takes it."""
        facts = FileFacts(file=path.name, bytes=len(content), hash="0" * 16)
        return Exported(path, self.description("", facts, facts), content, self.avatar.identity)

    def description(self, consent: Any, avatar: FileFacts, identity: FileFacts) -> Description:
        """Describe what has been written so far."""
        from selfieavatar.export.description import contract

        size_px = self.avatar.size_px
        facts = {
            "format": FORMAT,
            "subject": self.avatar.subject,
            "consent": consent,
            "size_px": size_px,
            "opset": OPSET,
        }
        facts |= {"avatar": avatar, "identity": identity, "files": self.files, "notes": self.notes}
        return Description.model_validate(facts | contract(size_px) | {"parity": self.parity})


def write_graphs(export: Export, content: dict[str, Any]) -> None:
    """Write the network in each precision that it keeps its images in; UserError where even float32 differs."""
    from selfieavatar.avatar import Avatar
    from selfieavatar.export.graph import export_graph
    from selfieavatar.export.quantize import quantize

    with tempfile.TemporaryDirectory() as folder:
        graph, eighth = Path(folder, "graph.onnx"), Path(folder, "int8.onnx")
        export_graph(export.avatar, graph)
        mean = export.take("float32", graph, export.images).figures()["image_mean_abs"]
        if mean > MOST_DIFFERENCE:
            raise UserError(f"the network in ONNX differs from torch by {mean:.2g} on average; do not use {export.out}")
        quantize(graph, eighth, export.images[::2])
        export.take("int8", eighth, export.images[1::2] or export.images, LEAST_INT8_DB)  # its ranges are of the others
        export_graph(Avatar(content, "cpu", "float16"), graph)
        export.take("float16", graph, export.images)


def run(args: argparse.Namespace) -> None:
    """Write the export of one avatar."""
    import torch

    from selfieavatar.avatar import Avatar
    from selfieavatar.export.parity import driving_images, range_motions

    torch.set_num_threads(max(args.threads, 1))
    avatar, content = Avatar.load(args.avatar), read_avatar(args.avatar)
    motions = motions_of(avatar, args.fit) if args.fit else range_motions(avatar, FRAMES)
    export = Export(avatar, args.out, args.threads, driving_images(avatar, motions))
    clips = [path.parent.name for path in args.fit]
    export.parity["driven_by"] = clips or "poses and expressions over the range of the avatar"
    write_graphs(export, content)
    # What is not needed to drive stays behind.
    replace(avatar.identity, texture_weight=None).save(identity_path(args.out))
    facts = FileFacts.of(args.avatar), FileFacts.of(identity_path(args.out))
    description = export.description(avatar.consent[:200] or None, *facts)
    write_json(description_path(args.out), description.model_dump())
    for note in export.notes:
        log.info("%s", note)
    log.info("%s is ready, with the files beside it: %s", args.out, ", ".join(
        path.name for path in sorted(args.out.parent.glob(f"{args.out.stem}.*onnx*")) if path != args.out
    ))  # fmt: skip


if __name__ == "__main__":
    main(build_parser(), run)
