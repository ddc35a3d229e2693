"""Show what the paper shows of one subject: Table I, Fig. 2 and Fig. 3, on one page, paper.html.

In: the subject's folder with avatar.pt, metrics.json, self.parquet and self/ of the avatar and of its variants, images
of others' methods, and the tables reenact/<driver>.parquet of the drivers; the clips' folders. Table I holds the
avatar, its ablations and baselines and the methods of others; Fig. 2 shows them side by side on test frames and driven
by clips of others; Fig. 3 the masks with and without ID-MRF and cosine. A few frames are painted anew; nothing is
trained. Less than a minute, 2 GB of memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.evaluation.frames import COEFFICIENTS
from selfieavatar.io.avatar_file import read_avatar
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.files import atomic_file
from selfieavatar.io.images import encode_jpeg, image_name, read_image, scaled_down
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.io.paths import AVATAR, EXTERNAL, METRICS, SELF, VARIANTS
from selfieavatar.marking.facts import Origin
from selfieavatar.marking.marker import Marker
from selfieavatar.reporting.annotate import as_rgb8
from selfieavatar.reporting.avatar_scores import misfit
from selfieavatar.reporting.comparison import OURS, Measured, Method
from selfieavatar.reporting.page_templates import Image
from selfieavatar.reporting.paper_page import Compared, Strip, most_different, paper_page
from selfieavatar.settings.cli import main, marking_arguments, marking_of, stage_parser
from selfieavatar.settings.config import SAME_IMAGES, SAME_MINUTES
from selfieavatar.settings.methods import driver_images, method_images

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar

FOLDERS = {"variant": VARIANTS, "external": EXTERNAL}
WITHOUT_DETAIL, WITH_DETAIL = "no_detail", "detail"  # variants of Fig. 3, one of which the avatar is itself


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "paper")
    parser.add_argument("--folder", required=True, type=Path, help="folder of the subject's results")
    parser.add_argument("--variants", nargs="*", default=[], help="names of variants that were measured")
    parser.add_argument(
        "--alike",
        nargs="*",
        default=[],
        help="name=other of variants that are the avatar itself (other empty) or another variant",
    )
    parser.add_argument("--methods", nargs="*", default=[], help="names of others' methods that were measured")
    parser.add_argument("--drivers", nargs="*", default=[], help="names of clips that have driven the avatar")
    parser.add_argument("--driver-frames", nargs="*", default=[], type=Path, help="folder frames/ of each of --drivers")
    parser.add_argument("--out", required=True, type=Path, help="paper.html to write")
    marking_arguments(parser)
    return parser


def read_compared(folder: Path, method: Method) -> Compared:
    """Read what was measured of a method.

    Raises:
        UserError: a file is missing, damaged, or of another run.
    """
    place = folder / FOLDERS[method.kind] / method.name if method.kind in FOLDERS else folder
    path = place / METRICS
    if not path.is_file():
        raise UserError(f"{path} is missing; measure it first: snakemake {path}")
    table = read_manifest(place / ("frames.parquet" if method.kind == "external" else "self.parquet"), "self")
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        # Others' methods have no training and no speed, which the page of an avatar asks for.
        problem = misfit(metrics) if method.kind != "external" else "" if isinstance(metrics, dict) else "no table"
    except (ValueError, RecursionError) as error:
        problem = f"not readable as JSON ({error})"
    if problem or metrics.get("frames") != len(table):
        raise UserError(f"{path} cannot be used ({problem or 'it is of another run than its table'}); measure it again")
    scores = table.table.to_pandas()
    return Compared(Measured(table.metadata["subject"], "", method, metrics), scores, table.metadata["block"])


def frames_to_show(folder: Path, table: Manifest, count: int) -> list[tuple[str, int]]:
    """Choose the test frames (clip, frame) that differ most in pose and expression."""
    clips, frames = table["clip"].astype(str), table["frame"]
    rows: list[list[np.ndarray]] = []
    for clip in dict.fromkeys(clips.tolist()):
        fit, at = ClipStore(folder / "clips" / clip).rows("fit", frames[clips == clip])
        rows.append([np.nan_to_num(fit[name][at]) for name in ("rotation", "expression")])
    chosen = most_different([np.concatenate(block) for block in zip(*rows, strict=True)], count)
    return [(str(clips[row]), int(frames[row])) for row in chosen]


class Page:
    """The images of the page, made of one subject's files."""

    def __init__(self, args: argparse.Namespace, compared: Sequence[Compared]) -> None:
        self._folder, self._width = args.folder, args.settings.image_px
        # Fig. 2 and 3 show one of each: that of as many images as the avatar's own.
        names = {one.method.name for one in compared}
        self._shown = [
            one
            for one in compared
            if f"{one.method.name}{SAME_IMAGES}" not in names and not one.method.name.endswith(SAME_MINUTES)
        ]
        self._avatars: dict[str, Avatar] = {}
        self._markers: dict[str, Marker] = {}
        self._marking = marking_of(args)

    def image(self, image: np.ndarray, what: str) -> Image:
        """Encode an image of the page; `what` is its alternative text."""
        return Image("", encode_jpeg(as_rgb8(image), self._width), "jpeg", what)

    def painted(self, image: np.ndarray, what: str, name: str) -> Image:
        """Encode an image that the avatar, or that of the variant `name`, painted, and mark it."""
        if name not in self._markers:
            path = self._place(name) / AVATAR
            self._markers[name] = Marker(Origin.of_file(path, read_avatar(path)), self._marking)
        marker = self._markers[name]
        data = encode_jpeg(marker.paint(scaled_down(as_rgb8(image), self._width)), self._width)
        return Image("", marker.sealed(data, title=what), "jpeg", what)

    def _by(self, method: Method, image: np.ndarray, what: str) -> Image:
        """Encode an image of a method; those of others are not this program's to sign."""
        if method.kind == "external":
            return self.image(image, what)
        return self.painted(image, what, method.name if method != OURS else "")

    def _place(self, name: str) -> Path:
        return self._folder / VARIANTS / name if name else self._folder

    def avatar(self, name: str) -> Avatar:
        """Load the avatar, or that of a variant."""
        from selfieavatar.avatar import Avatar

        if name not in self._avatars:
            self._avatars[name] = Avatar.load(self._place(name) / AVATAR)
        return self._avatars[name]

    def own(self, frames: Sequence[tuple[str, int]]) -> Strip:
        """Show truth and methods on test frames."""
        truth = [ClipStore(self._folder / "clips" / clip).image("frames", frame) for clip, frame in frames]
        rows = [("truth", [self.image(one, "truth") for one in truth])]
        for one in self._shown:
            paths = (self._painted(one.method, clip, frame) for clip, frame in frames)
            rows.append((one.label, [self._by(one.method, read_image(path), one.label) for path in paths]))
        return Strip([f"{clip} {frame}" for clip, frame in frames], rows)

    def _painted(self, method: Method, clip: str, frame: int) -> Path:
        if method.kind == "external":
            found = method_images(self._folder / EXTERNAL / method.name)
            return (found.get(clip) or found[""])[frame]
        return self._place(method.name if method.kind == "variant" else "") / SELF / clip / image_name(frame)

    def cross(self, drivers: dict[str, Path], count: int) -> Strip:
        """Show drivers and methods on the frames of each driver that differ most."""
        heads: list[str] = []
        columns: list[list[Image | None]] = []
        for driver, folder in drivers.items():
            table = read_manifest(self._folder / "reenact" / f"{driver}.parquet", "reenact")
            for row, painted in self._driven(driver, table, count):
                shown = read_image(folder / image_name(int(table["frame"][row])))
                heads.append(f"{driver} {table['frame'][row]}")
                columns.append([self.image(shown, "driver"), *painted])
        labels = ["driver", *(one.label for one in self._shown)]
        return Strip(heads, [(label, [column[k] for column in columns]) for k, label in enumerate(labels)])

    def _driven(self, driver: str, table: Manifest, count: int) -> Iterator[tuple[int, list[Image | None]]]:
        driven = np.flatnonzero(table["driven"])
        chosen = driven[most_different([table["rotation"][driven], table["expression"][driven]], count)]
        asked = [table[name][chosen].astype(float) for name in COEFFICIENTS]
        rows: list[list[Image | None]] = []
        for one in self._shown:
            if one.method.kind == "external":
                found = driver_images(self._folder / EXTERNAL / one.method.name, driver)
                paths = [found.get(int(frame)) for frame in table["frame"][chosen]]
                rows.append([self.image(read_image(path), one.label) if path else None for path in paths])
                continue
            painted, _ = self.avatar(one.method.name if one.method != OURS else "").drive(*asked)
            rows.append([self._by(one.method, image, one.label) for image in painted.permute(0, 2, 3, 1).numpy()])
        for k, row in enumerate(chosen.tolist()):
            yield row, [images[k] for images in rows]

    def masks(self, frames: Sequence[tuple[str, int]]) -> Strip | None:
        """Show truth, background, masks and images without and with ID-MRF and cosine; None without a variant of it."""
        names = {one.variant: one.method.name for one in self._shown}
        if WITHOUT_DETAIL in names:
            pair = names[WITHOUT_DETAIL], ""
        elif WITH_DETAIL in names:
            pair = "", names[WITH_DETAIL]
        else:
            return None
        rows = []
        for clip, frame in frames:
            store = ClipStore(self._folder / "clips" / clip)
            fit, at = store.rows("fit", np.array([frame]))
            asked = [np.nan_to_num(fit[name][at]).astype(float) for name in COEFFICIENTS]
            (bare, bare_mask), (image, mask) = (
                [one[0].permute(1, 2, 0).numpy() for one in self.avatar(name).drive(*asked)] for name in pair
            )
            plate = store.folder / "plate.png"
            shown = {
                "truth": store.image("frames", frame), "background": read_image(plate) if plate.is_file() else None,
                "matte": store.image("alpha", frame), "mask, without": bare_mask[..., 0], "mask, with": mask[..., 0],
            }  # fmt: skip
            row = [None if v is None else self.image(v, k) for k, v in shown.items()]
            heads = [*shown, "avatar, without", "avatar, with"]
            row += [self.painted(*of) for of in zip((bare, image), heads[-2:], pair, strict=True)]
            rows.append((f"{clip} {frame}", row))
        return Strip(heads, rows)


def run(args: argparse.Namespace) -> None:
    """Write the page."""
    if len(args.drivers) != len(args.driver_frames):
        raise UserError("--driver-frames must name one folder for each of --drivers")
    methods = [Method("external", name) for name in args.methods]
    methods += [*(Method("variant", name) for name in args.variants), OURS]
    compared = [read_compared(args.folder, method) for method in methods]
    import torch

    torch.set_num_threads(max(args.threads, 1))
    settings, page = args.settings, Page(args, compared)
    table = read_manifest(args.folder / "self.parquet", "self")
    frames = frames_to_show(args.folder, table, settings.frames)
    drivers = dict(zip(args.drivers, args.driver_frames, strict=True))
    masks = page.masks(frames[: max(len(frames) // 2, 1)])
    notes = [] if drivers else ["Fig. 2 shows no cross-reenactment: the sheet has no clip of anybody else"]
    for name, _, other in (pair.partition("=") for pair in args.alike):
        notes.append(f"{name} is {other or 'the avatar itself'}: its settings are the same")
    notes += (
        []
        if masks
        else [
            f"Fig. 3 is missing: there is neither the variant {WITHOUT_DETAIL} nor {WITH_DETAIL}; "
            "add one of them to paper.variants"
        ]
    )
    text = paper_page(
        table.metadata["subject"], compared, page.own(frames), page.cross(drivers, 2) if drivers else None, masks,
        notes, settings.image_px,
    )  # fmt: skip
    with atomic_file(args.out) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(build_parser(), run)
