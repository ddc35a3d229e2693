"""Matte every frame of a clip to the person's soft alpha, with a clean background plate where the camera is static.

The clip's crop is streamed from the source at `matting.size_px`, since frames/ may be too small for hair. Alpha is
written as 8-bit images of the frame size (255 = person) with their manifest, for frames without a face too.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.footage.holdout import parts
from selfieavatar.footage.left_out import left_out
from selfieavatar.io.files import atomic_dir
from selfieavatar.io.foreign_image import decode_foreign
from selfieavatar.io.images import ImageWriter, list_images, write_image
from selfieavatar.io.manifest import Manifest, read_manifest, write_manifest
from selfieavatar.matting.colour_line import Plate
from selfieavatar.matting.plate import PlateBuilder
from selfieavatar.matting.refine import RefineOptions, refine
from selfieavatar.matting.rvm import RecurrentMatting
from selfieavatar.matting.segmenter import SelfieSegmenter
from selfieavatar.matting.temporal import TemporalBlend
from selfieavatar.settings.assets import asset_path
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.settings.sections import Matting
from selfieavatar.settings.typed_paths import composed
from selfieavatar.video.prefetch import Prefetch, in_order
from selfieavatar.video.reader import CropReader
from selfieavatar.video.window import cut_window

log = logging.getLogger("matting")


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "matting")
    parser.add_argument("--source", required=True, type=Path, help="video file or image folder")
    parser.add_argument("--start", type=int, help="first source frame (default: 0)")
    parser.add_argument("--end", type=int, help="source frame after the last (default: all)")
    parser.add_argument("--decode", required=True, type=Path, help="decode.parquet of the clip")
    parser.add_argument("--out-alpha", required=True, type=Path, help="folder for the alpha images")
    parser.add_argument("--manifest", required=True, type=Path, help="matting.parquet to write")
    parser.add_argument("--plate", type=Path, help="plate.png to write if a background plate is made")
    parser.add_argument(
        "--given", type=Path, nargs="?", help="method given: folder of precomputed masks, one a source frame"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Matte one clip and write alpha, plate and manifest."""
    settings, decode = args.settings, read_manifest(args.decode, "decode")
    frame_px, size_px = int(decode.metadata["size_px"]), int(settings.size_px)
    if size_px < frame_px:
        log.warning("matting.size_px %d is below decode.size_px %d: alpha is enlarged; raise it", size_px, frame_px)
    cv2.setNumThreads(1)  # frames run side by side instead
    reader = CropReader(args.source, args.start, args.end, tuple(decode.metadata["crop_px"]), size_px)
    plate = make_plate(reader, decode, settings) if args.plate else None
    rows: dict[str, list] = {"number": [], "coverage": [], "flicker": []}
    blend = TemporalBlend(settings.temporal if settings.method == "mediapipe" else 0.0)
    with ExitStack() as stack:
        folder = stack.enter_context(atomic_dir(args.out_alpha))
        writer = stack.enter_context(ImageWriter(folder, threads=1))
        alphas = matte(reader, decode, args, plate, stack)
        for number, rgb, alpha in progress(alphas, total=len(decode), desc="matting"):
            alpha, flicker = blend(rgb, alpha)
            alpha = to_frame_size(alpha, frame_px)
            writer.put(number, alpha)
            rows["number"].append(number)
            rows["coverage"].append(cv2.mean(alpha)[0] / 255.0)
            rows["flicker"].append(flicker)
        check_count(len(rows["number"]), decode, args.source)
    write_outputs(args, decode, rows, writer.hashes, plate, frame_px)


def matte(
    reader: CropReader, decode: Manifest, args: argparse.Namespace, plate: Plate | None, stack: ExitStack
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (number, image (S,S,3) uint8, alpha (S,S) float32) of the clip in order; `stack` closes what it opens."""
    settings: Matting = args.settings
    images = ((number, rgb) for number, _, rgb in reader)
    if settings.method == "given":
        precomputed = PrecomputedMasks(args.given, decode, args.source)
        return ((number, rgb, precomputed(number, rgb.shape[0])) for number, rgb in images)
    if settings.method == "alpha":
        shown = CropReader(reader.source.alpha_channel(), args.start, args.end, reader.crop_px, reader.size_px)
        alphas = (image[..., 0].astype(np.float32) / 255.0 for _, _, image in stack.enter_context(shown))
        return ((number, rgb, alpha) for (number, rgb), alpha in zip(images, alphas, strict=True))
    if settings.method == "rvm":
        network = RecurrentMatting(asset_path("rvm_mobilenetv3_fp32"), settings.rvm_downsample_ratio, args.threads)
        return recurrent(network, images, left_out(decode))
    segmenter = stack.enter_context(SelfieSegmenter())
    refine_one = refiner(settings, plate if settings.plate_correction else None)
    # The segmenter has a thread of its own: its graph serves one thread, and waits more than it works.
    masks = Prefetch(lambda: ((number, rgb, segmenter(rgb)) for number, rgb in images), max(1, args.threads))
    refined = in_order(lambda item: refine_one(*item[1:]), stack.enter_context(masks), args.threads)
    return ((number, rgb, alpha) for (number, rgb, _), alpha in stack.enter_context(closing(refined)))


def recurrent(
    network: RecurrentMatting, images: Iterator[tuple[int, np.ndarray]], gone: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Matte in order; the memory begins anew where frames that decode leaves out, `gone` (N,) bool, begin or end."""
    edges = set((np.flatnonzero(np.diff(gone)) + 1).tolist())
    for number, rgb in images:
        if number in edges:
            network.reset()
        yield number, rgb, network(rgb)


def refiner(settings: Matting, plate: Plate | None) -> Callable[..., np.ndarray]:
    """Make the function (image, mask) -> alpha of `matting.quality`."""
    if settings.quality == "none":
        return lambda rgb, mask: cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    options = RefineOptions(band_px=settings.band_px, hair_px=settings.hair_px)
    if settings.quality == "closed_form":
        from selfieavatar.matting.closed_form import closed_form

        return lambda rgb, mask: closed_form(rgb, mask, options)
    return lambda rgb, mask: refine(rgb, mask, options, plate)


def make_plate(reader: CropReader, decode: Manifest, settings: Matting) -> Plate | None:
    """Build the plate (S,S,3) uint8 and its mask (S,S) bool at the working size from frames neither held nor left out.

    None if `matting.plate` wants none, or no such frame is there.
    """
    if settings.plate == "off" or (settings.plate == "auto" and not decode.metadata["static_camera"]):
        return None
    rows = np.flatnonzero(~left_out(decode)[parts(decode)[0]])  # what is held out shows in no plate but its own
    if not len(rows):
        return None
    stride = max(1, -(-len(rows) // settings.plate_samples))
    builder = PlateBuilder(settings.plate_samples)
    with SelfieSegmenter() as segmenter:
        for _, _, rgb in reader.only(rows[::stride]):
            builder.add(rgb, segmenter(rgb))
    plate, seen = builder.plate()
    log.info("background plate of %d samples, %.0f %% of it seen", builder.sample_count, 100.0 * seen.mean())
    return plate, seen


class PrecomputedMasks:
    """Read the precomputed masks of a data set: one image per source frame, of the source's size.

    Masks of an image folder are found by the names of its images, in whichever form of Unicode, masks of a video by the
    order of their names.
    Grey or colour (the first channel), 8 or 16 bit, white = person.

    Raises:
        UserError: the folder is missing, or a mask is missing or has another size.
    """

    def __init__(self, folder: Path | None, decode: Manifest, source: Path) -> None:
        if folder is None or not folder.is_dir():
            raise UserError(
                f"matting.method 'given': there is no folder of masks {folder or '(--given)'}; put it there, name it "
                "by matting.masks, or choose another matting.method"
            )
        files, numbers = list_images(folder), decode["source_frame"].tolist()
        self._crop, self._source_size = tuple(decode.metadata["crop_px"]), tuple(decode.metadata["source_size"])
        if source.is_dir():
            images = list_images(source)
            masks = {composed(path.stem): path for path in files} | {path.stem: path for path in files}
            stems = [images[number].stem for number in numbers]
            stems = [stem if stem in masks else composed(stem) for stem in stems]
            missing = [stem for stem in stems if stem not in masks]
            if missing:
                raise UserError(
                    f"{folder} lacks masks of {len(missing)} of the clip's images, the first '{missing[0]}': there "
                    "must be one mask per source frame, with the name of its image"
                )
            self._files = [masks[stem] for stem in stems]
        elif max(numbers, default=-1) >= len(files):
            raise UserError(
                f"{folder} holds {len(files)} masks, but the clip uses source frame {max(numbers)}: there must be one "
                "mask per source frame"
            )
        else:
            self._files = [files[number] for number in numbers]

    def __call__(self, number: int, size_px: int) -> np.ndarray:
        """Read the alpha (size_px, size_px) float32 of frame `number` of the clip in the clip's crop."""
        path = self._files[number]
        mask = decode_foreign(path, str(path), managed=False).rgb[..., 0]
        if mask.shape[::-1] != self._source_size:
            raise UserError(
                f"{path} is {mask.shape[1]} x {mask.shape[0]} pixels, the source is "
                f"{self._source_size[0]} x {self._source_size[1]}: masks must have the size of the source"
            )
        cut = cut_window(np.ascontiguousarray(mask[..., None]), self._crop, size_px).reshape(size_px, size_px)
        return cut.astype(np.float32) / 255.0


def to_frame_size(alpha: np.ndarray, frame_px: int) -> np.ndarray:
    """Resample alpha (S,S) float32 to (frame_px, frame_px) uint8."""
    if alpha.shape[0] != frame_px:
        method = cv2.INTER_AREA if alpha.shape[0] > frame_px else cv2.INTER_LINEAR
        alpha = cv2.resize(alpha, (frame_px, frame_px), interpolation=method)
    return cv2.convertScaleAbs(alpha, alpha=255.0)  # rounds and saturates


def check_count(count: int, decode: Manifest, source: Path) -> None:
    """Check that the source still has the decoded number of frames; UserError otherwise."""
    if count != len(decode):
        raise UserError(
            f"{source} has {count} frames, but {len(decode)} were decoded: it has changed since, run decode again"
        )


def write_outputs(
    args: argparse.Namespace, decode: Manifest, rows: dict[str, list], hashes: dict[int, str], plate: Plate | None,
    frame_px: int,
) -> None:  # fmt: skip
    """Write the plate, or remove an outdated one, and the manifest."""
    metadata = {"method": args.settings.method, "size_px": frame_px, "plate": plate is not None}
    if args.plate:
        seen_path = args.plate.with_name(f"{args.plate.stem}_seen.png")
        if plate is None:
            args.plate.unlink(missing_ok=True)
            seen_path.unlink(missing_ok=True)
        else:
            size = (frame_px, frame_px)
            for path, image in ((args.plate, plate[0]), (seen_path, plate[1].astype(np.uint8) * 255)):
                write_image(path, cv2.resize(image, size, interpolation=cv2.INTER_AREA))
            metadata["plate_seen"] = float(plate[1].mean())
    columns = {
        "frame": decode["frame"],
        "alpha_hash": [hashes[number] for number in rows["number"]],
        "coverage": rows["coverage"],
        "flicker": rows["flicker"],
    }
    write_manifest(args.manifest, "matting", columns, metadata)
    flicker = np.asarray(rows["flicker"])
    known = flicker[np.isfinite(flicker)]
    if known.size:
        log.info("coverage %.3f, flicker %.5f", float(np.mean(rows["coverage"])), float(known.mean()))


if __name__ == "__main__":
    main(build_parser(), run)
