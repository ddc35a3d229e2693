"""Choose and number the frames to export, and map a method's images back to them by a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from selfieavatar.errors import UserError
from selfieavatar.io.manifest import Manifest
from selfieavatar.settings.clip_sheet import DRIVER, NAME

SPLITS = {"train": ("train", "val"), "test": ("test",), "all": ("train", "val", "test")}
COLUMNS = ("number", "subject", "clip", "frame", "split", "images")
_WHOLE, _DIGEST = re.compile(r"[0-9]{1,9}"), re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class ExportedFrame:
    """Hold a frame under its running number; `split` is train, val or test, `images` the digest of the clip's."""

    number: int
    subject: str
    clip: str
    frame: int
    split: str
    images: str


def choose_frames(samples: Sequence[Manifest], split: str) -> tuple[list[ExportedFrame], Counter[str]]:
    """Choose the usable frames of a split and count the others by reason.

    The numbers run from 0 over all frames of `split`, clip after clip, in the order of the manifests `samples`.
    """
    chosen: list[ExportedFrame] = []
    left_out: Counter[str] = Counter()
    for table in samples:
        columns = (table[name].tolist() for name in ("clip", "frame", "split", "used", "reason"))
        for clip, frame, part, used, reason in zip(*columns, strict=True):
            if part not in SPLITS[split]:
                continue
            if used:
                facts = table.metadata
                chosen.append(ExportedFrame(len(chosen), facts["subject"], clip, frame, part, facts["pictures"][clip]))
            else:
                left_out[reason] += 1
    return chosen, left_out


def as_table(frames: Iterable[ExportedFrame]) -> str:
    """Format frames.tsv: tab separated, a header, a row for each frame."""
    rows = [COLUMNS, *([str(getattr(frame, name)) for name in COLUMNS] for frame in frames)]
    return "".join("\t".join(row) + "\n" for row in rows)


def parse_table(text: str, where: str, subject: str) -> list[ExportedFrame]:
    """Parse and validate frames.tsv, since its names become paths.

    Args:
        text: of `as_table`.
        where: the file's name, for errors.
        subject: that the table must be about.

    Raises:
        UserError: a line is wrong; the error says which and how.
    """
    lines = text.splitlines()
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise UserError(f"{where} is not a table of frames: its first line must be {', '.join(COLUMNS)} between tabs")
    frames = [_parse_row(line, f"{where}, line {number}", subject) for number, line in enumerate(lines[1:], start=2)]
    for what in (lambda frame: frame.number, lambda frame: (frame.clip, frame.frame)):
        twice = [key for key, count in Counter(map(what, frames)).items() if count > 1]
        if twice:
            raise UserError(f"{where} names {twice[0]} twice; use the exported frames.tsv unchanged")
    return frames


def _parse_row(line: str, where: str, subject: str) -> ExportedFrame:
    cells = line.split("\t")
    if len(cells) != len(COLUMNS):
        raise UserError(f"{where}: {len(cells)} cells instead of {len(COLUMNS)}; keep the tabs between the columns")
    row = dict(zip(COLUMNS, cells, strict=True))
    for name, fits in (("number", _WHOLE), ("frame", _WHOLE), ("clip", NAME), ("images", _DIGEST)):
        if not fits.fullmatch(row[name]):
            raise UserError(f"{where}: '{row[name]}' is not a valid {name}; use the exported frames.tsv unchanged")
    if row["subject"] != subject:
        raise UserError(f"{where}: the table is about subject '{row['subject']}', not '{subject}'; name the right one")
    if row["split"] not in SPLITS["all"]:
        raise UserError(f"{where}: unknown split '{row['split']}'; known: {', '.join(SPLITS['all'])}")
    return ExportedFrame(int(row["number"]), subject, row["clip"], int(row["frame"]), row["split"], row["images"])


def refuse_other_clips(frames: Sequence[ExportedFrame], split: str, driver: str, where: str) -> None:
    """Check that the frames of `split` are the driver's, or, without one, the subject's own.

    Raises:
        UserError: the table `where` lists others; the folder of a driver's images is told by its name.
    """
    for clip in dict.fromkeys(frame.clip for frame in frames if frame.split in SPLITS[split]):
        if driver and clip != driver:
            raise UserError(f"{where} lists frames of '{clip}', not of the driver '{driver}'; name the frames.tsv that "
                            "was exported with --driver")  # fmt: skip
        if not driver and DRIVER.fullmatch(clip):
            raise UserError(f"{where} lists frames of '{clip}', which is named as a driver is; add --driver {clip}, or "
                            "rename the clip in the sheet")  # fmt: skip


def refuse_outdated(frames: Sequence[ExportedFrame], now: Sequence[ExportedFrame], split: str) -> None:
    """Check that the frames of `split` are still those that `choose_frames` gives `now`.

    Raises:
        UserError: clips have been tracked again since, or other frames chosen.
    """
    old, new = ({(f.clip, f.frame, f.images) for f in rows if f.split in SPLITS[split]} for rows in (frames, now))
    if old != new:
        clip, frame, _ = min(old ^ new)
        raise UserError(f"the frames of split '{split}' have changed since the export (clip '{clip}', frame {frame}); "
                        "export the subject again and train the method on that")  # fmt: skip


def pair(frames: Sequence[ExportedFrame], names: Sequence[str], split: str, by: str) -> list[tuple[ExportedFrame, str]]:
    """Match the images of a method to the frames of `split`.

    Args:
        frames: all rows of the table.
        names: file names in natural order.
        split: a key of SPLITS.
        by: "number", the last digits in the name are the running number; or "order", the k-th image is the k-th frame
            of the split.

    Raises:
        UserError: a frame has no image or two, or an image no frame.
    """
    wanted = [frame for frame in frames if frame.split in SPLITS[split]]
    if not wanted:
        raise UserError(f"the table of frames has none of split '{split}'; choose another --split")
    if by == "order":
        if len(names) != len(wanted):
            raise UserError(f"there are {len(names)} images for the {len(wanted)} frames of split '{split}'; in "
                            "order every frame needs one image, and no other may lie among them")  # fmt: skip
        return list(zip(wanted, names, strict=True))
    numbered: dict[int, str] = {}
    for name in names:
        digits = re.findall(r"[0-9]+", name.rsplit(".", 1)[0])
        if not digits or not _WHOLE.fullmatch(digits[-1].lstrip("0") or "0"):
            raise UserError(f"the name of {name} has no running number; name images 000000.png, or pair by order")
        other = numbered.setdefault(int(digits[-1]), name)
        if other != name:
            raise UserError(f"{other} and {name} have the same running number; leave one image for each frame")
    known = {frame.number for frame in frames}
    foreign = [name for number, name in numbered.items() if number not in known]
    if foreign:
        raise UserError(f"{len(foreign)} images have numbers that the table of frames lacks, the first is "
                        f"{foreign[0]}; where the method numbers its images itself, pair by order")  # fmt: skip
    missing = [frame.number for frame in wanted if frame.number not in numbered]
    if missing:
        raise UserError(f"{len(missing)} of the {len(wanted)} frames of split '{split}' have no image, the first is "
                        f"number {missing[0]}; let the method paint all of them")  # fmt: skip
    return [(frame, numbered[frame.number]) for frame in wanted]
