"""Export the tracked frames of one subject to the formats of other methods, and import their images.

Run by hand, once the workflow has made samples.parquet (and test_samples.parquet, where the subject has clips to test
on). `styleavatar`, `transforms` (NeRFace, INSTA) and `imavatar` write a folder with a README.txt and frames.tsv, which
maps each running number to its frame. `collect` puts a method's images of the test frames where they are measured,
results/<subject>/external/<method>/<clip>/. The exported frames are those that the avatar itself trains on or is
measured on; with --driver <subject>--<clip>, those that a driver's clip asks of the subject (docs/handover.md).
"""

from __future__ import annotations

import argparse
import logging
import math
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import cv2

from selfieavatar.errors import UserError
from selfieavatar.interop.exporters import imavatar, styleavatar, transforms
from selfieavatar.interop.exporters.frames import (
    SPLITS,
    ExportedFrame,
    as_table,
    pair,
    parse_table,
    refuse_other_clips,
    refuse_outdated,
)
from selfieavatar.interop.exporters.image import external_image
from selfieavatar.interop.exporters.imavatar import ImavatarData
from selfieavatar.interop.exporters.readme import readme, reasons
from selfieavatar.interop.exporters.subject import Subject
from selfieavatar.interop.exporters.transforms import METHODS, SCALE, TransformsData
from selfieavatar.io.disk import refuse_full_disk
from selfieavatar.io.files import atomic_dir
from selfieavatar.io.images import ImageWriter, list_images
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.shading import default_light
from selfieavatar.settings.cli import main, progress
from selfieavatar.settings.clip_sheet import NAME
from selfieavatar.settings.methods import EXTERNAL, only_drivers
from selfieavatar.video.prefetch import in_order

log = logging.getLogger("handover")

TABLE, README = "frames.tsv", "README.txt"


def build_parser() -> argparse.ArgumentParser:
    """Build the command line: the action, then its options."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.handover", description=__doc__, formatter_class=layout)
    parser.set_defaults(stage="handover", section="handover", settings="{}")
    words = parser.add_subparsers(dest="what", required=True, metavar="styleavatar | transforms | imavatar | collect")
    for word, module in (("styleavatar", styleavatar), ("transforms", transforms), ("imavatar", imavatar)):
        text = module.__doc__ or ""
        one = words.add_parser(word, help=text.split("\n")[0], description=text, formatter_class=layout)
        _common(one)
        one.add_argument("--out", type=Path, required=True, help="folder to create; it must be missing or empty")
        one.add_argument(
            "--split",
            choices=list(SPLITS),
            default="all",
            help="which frames (all); train includes val, a driver's are all test",
        )
        if word == "transforms":
            one.add_argument("--peer", choices=METHODS, default=METHODS[0], help="method that reads it (nerface)")
            one.add_argument("--scale", type=float, default=SCALE, help="world units of a centimetre (0.01: metres)")
        if word == "imavatar":
            one.add_argument("--model-path", type=Path, help="FLAME's file or folder, as fit.model_path names it")
    back = words.add_parser("collect", help="import a method's images, to be measured", description=collect.__doc__)
    _common(back)
    back.add_argument("--method", required=True, help="name of the method and of its folder in external/")
    back.add_argument("--from", dest="pictures", type=Path, required=True, help="folder of the method's images")
    back.add_argument("--frames", type=Path, required=True, help="the exported frames.tsv")
    back.add_argument("--split", choices=list(SPLITS), default="test", help="split of the images (test)")
    back.add_argument(
        "--by", choices=["number", "order"], default="number",
        help="match images to frames by the last number in their names, or by their order (number)",
    )  # fmt: skip
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", help="name of the subject")
    parser.add_argument("--driver", default="", help="<subject>--<clip>: not the subject's own frames, but those that "
                        "this clip asks of it, by results/<subject>/reenact/<driver>.parquet")  # fmt: skip
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results (results)")
    parser.add_argument("--threads", type=int, default=2, help="CPU cores to use (2)")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])


def refuse_taken(out: Path) -> None:
    """Check that the folder is missing or empty; UserError otherwise."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder; choose another one, or remove its content")


def write_all(
    out: Path, frames: list[ExportedFrame], files_of: Callable[[ExportedFrame], dict[str, bytes]],
    rest: Callable[[], dict[str, bytes]], threads: int,
) -> None:  # fmt: skip
    """Write the files of all frames, and then the rest, as one folder that appears only when it is complete."""
    with atomic_dir(out) as folder:

        def write(files: dict[str, bytes]) -> int:
            for name, data in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
            return sum(map(len, files.values()))

        cv2.setNumThreads(1)
        with closing(in_order(files_of, frames, threads)) as made:
            for done, (_, files) in enumerate(progress(made, total=len(frames), desc="handover")):
                size = write(files)
                if done == 0:
                    refuse_full_disk(out, size * len(frames), "free some space, or choose another --out or --split")
        write(rest())


def export_styleavatar(
    args: argparse.Namespace, subject: Subject, frames: list[ExportedFrame], left: Counter[str]
) -> None:
    """Write StyleAvatar's folders, with the face rendered at their size."""
    kind = subject.samples[0].metadata.get("light", "fixed")
    lit, light = kind == "fitted", default_light() if kind == "fixed" else None
    renderer = Renderer(subject.identity, styleavatar.RENDER_PX, light=light)
    known = subject.coefficients(frames)

    def files_of(frame: ExportedFrame) -> dict[str, bytes]:
        row = known[frame.number]
        shown = row.get("light") if lit else None
        face = renderer.render(row["rotation"], row["translation"], row["expression"], row["gaze"], shown)
        return styleavatar.frame_files(frame.number, frame.split, face, subject.images(frame))

    def rest() -> dict[str, bytes]:
        text = readme("styleavatar", frames, left, args.out, {"size": subject.size_px}, args.driver)
        return {TABLE: as_table(frames).encode(), README: text.encode()}

    write_all(args.out, frames, files_of, rest, args.threads)


def export_transforms(
    args: argparse.Namespace, subject: Subject, frames: list[ExportedFrame], left: Counter[str]
) -> None:
    """Write transforms files with what they name."""
    if not (math.isfinite(args.scale) and args.scale > 0):
        raise UserError(f"--scale {args.scale} must be a number above 0")
    data, known = TransformsData(*subject.model(), args.peer, args.scale), subject.coefficients(frames)

    def files_of(frame: ExportedFrame) -> dict[str, bytes]:
        return data.frame_files(frame.number, known[frame.number], subject.images(frame))

    def rest() -> dict[str, bytes]:
        text = readme(args.peer, frames, left, args.out, data.facts(), args.driver)
        backgrounds = subject.backgrounds(frames) if args.peer == "nerface" else {}
        words = {TABLE: as_table(frames).encode(), README: text.encode()}
        return words | data.shared_files(numbers_of(args.split, frames)) | backgrounds

    write_all(args.out, frames, files_of, rest, args.threads)


def export_imavatar(
    args: argparse.Namespace, subject: Subject, frames: list[ExportedFrame], left: Counter[str]
) -> None:
    """Write IMAvatar's folders, with the coefficients of FLAME."""
    if "image" in f"{args.out}/{subject.name}":
        raise UserError(f"IMAvatar replaces each 'image' in a path to find its masks; choose an --out without (not "
                        f"{args.out}) and a subject without (not '{subject.name}')")  # fmt: skip
    data = ImavatarData(subject.name, imavatar.load_flame(subject.identity, args.model_path), *subject.model())
    known = subject.coefficients(frames)

    def files_of(frame: ExportedFrame) -> dict[str, bytes]:
        return data.frame_files(frame.number, frame.split, known[frame.number], subject.images(frame))

    def rest() -> dict[str, bytes]:
        text = readme("imavatar", frames, left, args.out, data.facts(), args.driver)
        words = {TABLE: as_table(frames).encode(), README: text.encode()}
        return words | data.shared_files(numbers_of(args.split, frames), args.out)

    write_all(args.out, frames, files_of, rest, args.threads)


def numbers_of(split: str, frames: list[ExportedFrame]) -> dict[str, list[int]]:
    """List the running numbers of each part of a split."""
    return {name: [frame.number for frame in frames if frame.split == name] for name in SPLITS[split]}


EXPORTS = {"styleavatar": export_styleavatar, "transforms": export_transforms, "imavatar": export_imavatar}


def collect(args: argparse.Namespace, subject: Subject) -> None:
    """Import a method's images under the numbers of the frames that they show; those of drivers lie beside others."""
    place = subject.folder / EXTERNAL / args.method
    if not NAME.fullmatch(args.method):
        raise UserError(f"--method '{args.method}' must be made of letters, digits, _ and -")
    taken = place / args.driver
    if taken.exists() and (args.driver or not only_drivers(place)):
        raise UserError(f"{taken} is there already; remove it first, or choose another --method")
    if not args.frames.is_file():
        raise UserError(f"there is no file {args.frames}; name the exported frames.tsv")
    if not args.pictures.is_dir():
        raise UserError(f"there is no folder {args.pictures}; name the folder of the method's images")
    try:
        frames = parse_table(args.frames.read_text(encoding="utf-8"), str(args.frames), subject.name)
    except UnicodeDecodeError as error:
        raise UserError(f"{args.frames} is not a text; name the exported frames.tsv") from error
    refuse_other_clips(frames, args.split, args.driver, str(args.frames))
    refuse_outdated(frames, subject.chosen(args.split)[0], args.split)
    pairs = pair(frames, [path.name for path in list_images(args.pictures)], args.split, args.by)
    clips = dict.fromkeys(frame.clip for frame, _ in pairs)
    with ExitStack() as stack:
        stack.callback(lambda: any(place.iterdir()) or place.rmdir())
        folders = {clip: stack.enter_context(atomic_dir(place / clip)) for clip in clips}
        writers = {clip: stack.enter_context(ImageWriter(folders[clip], args.threads)) for clip in clips}
        read = in_order(lambda one: external_image(args.pictures / one[1]), pairs, args.threads)
        for (frame, _), image in progress(stack.enter_context(closing(read)), total=len(pairs), desc="collect"):
            writers[frame.clip].put(frame.frame, image)
    then = "there is no truth to measure" if args.driver else f"measure them: snakemake {place / 'metrics.json'}"
    log.info("%s: %d images of %d clips; %s", taken, len(pairs), len(clips), then)


def run(args: argparse.Namespace) -> None:
    """Export or import, as the command's first word says."""
    subject = Subject.find(args.subject, args.results, args.driver)
    if args.driver and args.split == "train":
        raise UserError("a driver's frames are all of split `test`; leave --split out, or --driver")
    args.split = "test" if args.driver else args.split
    if args.what == "collect":
        return collect(args, subject)
    refuse_taken(args.out)
    args.out = args.out.absolute()
    frames, left_out = subject.chosen(args.split)
    EXPORTS[args.what](args, subject, frames, left_out)
    log.info("%s: %d frames; left out: %s", args.out, len(frames), reasons(left_out))


if __name__ == "__main__":
    main(build_parser(), run)
