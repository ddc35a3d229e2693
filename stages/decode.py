"""Decode a clip, choose one fixed square crop around the head, and write the cropped frames with their manifest.

The crop is computed from frames sampled over ranges of the source (`--ranges`: those the subject trains on), so that
all clips of one source have the same crop and background. What is held out to measure on takes no part in it. Frames
without a face, repeated frames, and frames that do not show the person who is followed are marked.
"""

import argparse
import json
import logging
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.detection.face_finder import FaceFinder
from selfieavatar.errors import UserError
from selfieavatar.footage import person
from selfieavatar.footage.crop_search import deciding_frames, find_crop, refuse_too_few, sampled_frames
from selfieavatar.footage.holdout import cut_facts, hold_out
from selfieavatar.footage.left_out import FACT, ranges_of, sentences
from selfieavatar.footage.observer import Observer, shrink
from selfieavatar.io.disk import refuse_images
from selfieavatar.io.files import atomic_dir
from selfieavatar.io.images import ImageWriter
from selfieavatar.io.manifest import write_manifest
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.video.prefetch import in_order
from selfieavatar.video.reader import CropReader, clip_range, open_source
from selfieavatar.video.sources import VideoSource
from selfieavatar.video.stillness import COMPARE_PX

log = logging.getLogger(__name__)

_STILL_COUNT = 24  # images kept in memory to detect a static camera
_LEAST_TRAINED = 2  # frames, under which samples.min_frames cannot be set


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "decode")
    parser.add_argument("--source", type=Path, required=True, help="video file or folder of images")
    parser.add_argument("--start", type=int, help="first source frame of the clip (default: 0)")
    parser.add_argument("--end", type=int, help="source frame after the clip's last (default: all)")
    parser.add_argument(
        "--ranges", default="[]", help="JSON list of [start, end] for the crop (default: the clip's own)"
    )
    parser.add_argument("--holdout", type=float, default=0.0, help="last share of all frames to train on that measures")
    parser.add_argument("--gap-s", type=float, default=0.0, help="seconds before them to leave out, too")
    parser.add_argument(
        "--train-clips", type=json.loads, default=[], help="JSON list of [source, start, end] that the share is of"
    )
    parser.add_argument("--only", action="store_true", help="the subject has no other clip to train on")
    parser.add_argument("--labels", type=json.loads, default={}, help="JSON object: what the clip shows, for metrics")
    parser.add_argument("--out-frames", type=Path, required=True, help="folder for the frames, 000000.png and so on")
    parser.add_argument("--manifest", type=Path, required=True, help="decode.parquet")
    return parser


def held_out(source: VideoSource, args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Cut the clips to train on where `--holdout` begins.

    Returns:
        Which source frames (source.count,) are held out, with the gap before them, and how each of them is used in this
        clip: "train", "gap" or "test" (all "train" where it is not among those clips).

    Raises:
        UserError: too few are left to train on.
    """
    held, split = np.zeros(source.count, dtype=bool), np.full(source.count, "train", dtype=object)
    if args.holdout <= 0 or not args.train_clips:
        return held, split
    opened = {str(source.path): source}  # what is odd about a source is said once
    for path, _, _ in args.train_clips:
        opened[path] = opened.get(path) or open_source(Path(path), args.settings.folder_fps)
    clips = [(opened[path], clip_range(opened[path], start, end)) for path, start, end in args.train_clips]
    timed = [(np.array([clip.time(number) for number in chosen]), clip.fps) for clip, chosen in clips]
    splits = hold_out(timed, args.holdout, args.gap_s)
    if (left := sum(int((mine == "train").sum()) for mine in splits)) < _LEAST_TRAINED:
        raise UserError(
            f"the clips to train on have {sum(map(len, splits))} frames in all, of which samples.holdout "
            f"({args.holdout:g}) and samples.gap_s ({args.gap_s:g}) leave {left}; give longer clips or a clip of role "
            "test, or lower both"
        )
    for (clip, chosen), mine in zip(clips, splits, strict=True):
        if clip.path == source.path:
            held[chosen.start : chosen.stop] |= mine != "train"
            if chosen == clip_range(source, args.start, args.end):
                split[chosen.start : chosen.stop] = mine
    return held, split


def write_frames(reader: CropReader, observer: Observer, size_px: int, folder: Path, threads: int) -> tuple[dict, list]:
    """Write all frames of the clip as PNG and measure them; returns ({number: hash}, [time in s])."""
    times = []
    with (
        ImageWriter(folder, threads=threads) as writer,
        closing(in_order(lambda item: observer.detect(item[2]), reader, threads)) as detected,
    ):
        for (number, time_s, image), found in progress(detected, total=len(reader), desc="decode"):
            writer.put(number, image if image.shape[0] == size_px else shrink(image, size_px))
            observer.add(image, *found)
            times.append(time_s)
    return writer.hashes, times


def parse_ranges(text: str, start: int | None, end: int | None) -> list[list[int | None]]:
    """Parse `--ranges`; an empty list stands for the clip's own range."""
    try:
        ranges = [[a, b] for a, b in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise UserError(f"--ranges {text!r} is not a JSON list like [[0,100],[200,null]]: write it so") from error
    return ranges or [[start, end]]


def frame_count(source: VideoSource, args: argparse.Namespace) -> int:
    """Count the frames of the clip.

    Raises:
        UserError: it ends beyond the source, or is one frame and all there is to train on.
    """
    if args.end is not None and args.end > source.count:
        raise UserError(
            f"{args.source} has {source.count} frames: end_frame {args.end} is beyond the end, lower it or leave it "
            "empty"
        )
    count = len(clip_range(source, args.start, args.end))
    if args.only and count < _LEAST_TRAINED:
        raise UserError(
            f"the clip to train on, {args.source}, is one photo or frame, which cannot train an avatar; give a video, "
            "a folder of images or a longer range"
        )
    return count


def run(args: argparse.Namespace) -> None:
    """Decode one clip and write frames and manifest."""
    settings, size_px = args.settings, args.settings.size_px
    cv2.setNumThreads(args.threads)
    source = open_source(args.source, settings.folder_fps)
    # Report a wrong range or a full disk before the detector starts.
    count = frame_count(source, args)
    refuse_images(args.out_frames, count, size_px)
    ranges = parse_ranges(args.ranges, args.start, args.end)
    held, split = held_out(source, args)
    with FaceFinder(settings.face_confidence) as finder:
        numbers = sampled_frames(deciding_frames(source, ranges, held), settings.sample_count)
        looks = person.Looks(source)
        crop, followed, faces_max = find_crop(source, numbers, settings.crop_scale, finder, looks, min(args.threads, 4))
        face = np.median(followed.boxes, axis=0)
        log.info("%s: crop %s of %dx%d, face height %.0f px", args.source, crop, *source.size, face[3] - face[1])
        # The detector and the comparisons need at least COMPARE_PX; a whole factor makes shrinking exact.
        work_px = size_px * -(-COMPARE_PX // size_px)
        with CropReader(source, args.start, args.end, crop, work_px) as reader, atomic_dir(args.out_frames) as folder:
            expected = (face - np.array([crop[0], crop[1]] * 2)) * (size_px / crop[2])
            kept = int((split[reader.frames] == "train").sum()) or len(reader)
            observer = Observer(finder, size_px, expected, kept, max(1, kept // _STILL_COUNT), count)
            hashes, times = write_frames(reader, observer, size_px, folder, min(args.threads, 4))
            split = split[np.array(reader.source_frames, dtype=int)]
            columns = {
                "frame": np.arange(len(times), dtype=np.int32),
                "time_s": np.array(times),
                "source_frame": np.array(reader.source_frames, dtype=np.int32),
                "picture_hash": np.array([hashes[number] for number in range(len(times))]),
            } | observer.columns(split)
            reason = leave_out(columns, observer, source, followed, crop, split, looks)
            if not columns["face"].any():
                raise UserError(f"{args.source}: no face in any of {len(times)} frames: choose another range or clip")
            facts = {
                "source": str(args.source),
                "fps": source.fps,
                "size_px": size_px,
                "crop_px": [float(v) for v in crop],
                "source_size": list(source.size),
                "reader": source.reader,
                "labels": args.labels,
                "faces_per_frame_max": int(max(observer.faces_max, faces_max)),
                "person_chosen": followed.chosen,
                "static_camera": observer.static_camera(columns["face"]),
                FACT: ranges_of(reason),
            } | cut_facts(split)
        write_manifest(args.manifest, "decode", columns, facts)
    _report(columns, reason != "", facts, source)


def leave_out(
    columns: dict[str, np.ndarray], observer: Observer, source: VideoSource, followed: person.Followed,
    crop: tuple[int, int, int], split: np.ndarray, looks: person.Looks,
) -> np.ndarray:  # fmt: skip
    """Mark the frames that do not show the person followed as without a face; returns why, (N,) of str, "" where kept.

    Raises:
        UserError: too few frames are kept.
    """
    scale, number = crop[2] / observer.size_px, columns["source_frame"]
    boxes = columns["face_box_px"].astype(np.float64) * scale + np.array([crop[0], crop[1]] * 2)
    starts = person.track_starts(boxes, np.array([mean for mean, _ in observer.changes]), source.fps)
    rows = [row for row in observer.faces if columns["face"][row]]
    to_small = COMPARE_PX / observer.size_px
    seen = {row: looks.of_image(observer.faces[row], observer.boxes[row] * to_small) for row in rows if len(rows) > 1}
    starts = person.part_people(starts, seen, number, boxes, looks)
    if len(starts) > 1:  # what is held out is judged by itself
        starts = np.union1d(starts, np.flatnonzero(split[1:] != split[:-1]) + 1)
    reason = person.reasons(followed, crop, source.size, number, boxes, starts, looks)
    gone = reason != ""
    columns["face"][gone], columns["face_box_px"][gone] = False, np.nan
    if gone.any():
        refuse_too_few(source, int(columns["face"].sum()), len(gone), "frames")
        for sentence in sentences(ranges_of(reason), number):
            log.warning("%s: %s", source.path, sentence)
    return reason


def _report(columns: dict[str, np.ndarray], left_out: np.ndarray, facts: dict, source: VideoSource) -> None:
    count, faces, gone = len(columns["face"]), int(columns["face"].sum()), int(left_out.sum())  # why was said before
    log.info(
        "%d frames, %d with a face, %d left out, %d repeated, camera %s, read by %s",
        count, faces, gone, int(columns["duplicate"].sum()), "static" if facts["static_camera"] else "moving",
        source.reader,
    )  # fmt: skip
    if faces + gone < count:
        log.warning("%d of %d frames have no face: later stages leave them out", count - faces - gone, count)
    if not facts["static_camera"]:
        log.warning("the camera or background moves: the avatar has one static background, which will be blurred")


if __name__ == "__main__":
    main(build_parser(), run)
