"""Which frames are handed to a peer, under which running numbers, and the table that leads their images back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from selfieavatar.errors import UserError
from selfieavatar.io.manifest import Manifest
from selfieavatar.settings.subjects import NAME

SPLITS = {"train": ("train", "val"), "test": ("test",), "all": ("train", "val", "test")}
COLUMNS = ("number", "subject", "clip", "frame", "split", "images")
_WHOLE, _DIGEST = re.compile(r"[0-9]{1,9}"), re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Handed:
    """A frame under the peer's running number; `split` is train, val or test, `images` the digest of the clip's."""

    number: int
    subject: str
    clip: str
    frame: int
    split: str
    images: str


def choose_frames(samples: Sequence[Manifest], split: str) -> tuple[list[Handed], Counter[str]]:
    """The usable frames of a split, and how many others were left out for which reason.

    The numbers run from 0 over all frames of `split`, clip after clip, in the order of the manifests `samples`.
    """
    handed: list[Handed] = []
    left_out: Counter[str] = Counter()
    for table in samples:
        columns = (table[name].tolist() for name in ("clip", "frame", "split", "used", "reason"))
        for clip, frame, part, used, reason in zip(*columns, strict=True):
            if part not in SPLITS[split]:
                continue
            if used:
                facts = table.metadata
                handed.append(Handed(len(handed), facts["subject"], clip, frame, part, facts["pictures"][clip]))
            else:
                left_out[reason] += 1
    return handed, left_out


def as_table(frames: Iterable[Handed]) -> str:
    """The content of frames.tsv: tab separated, a header, a row for each frame."""
    rows = [COLUMNS, *([str(getattr(frame, name)) for name in COLUMNS] for frame in frames)]
    return "".join("\t".join(row) + "\n" for row in rows)


def parse_table(text: str, where: str, subject: str) -> list[Handed]:
    """The inverse of `as_table`, checked: names become paths.

    Args:
        where: the file's name, for errors. subject: whom the table must be about.

    Raises:
        UserError: the line that is wrong, and how.
    """
    lines = text.splitlines()
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise UserError(f"{where} is no table of frames: its first line must be {', '.join(COLUMNS)} between tabs")
    frames = [_parse_row(line, f"{where}, line {number}", subject) for number, line in enumerate(lines[1:], start=2)]
    for what in (lambda frame: frame.number, lambda frame: (frame.clip, frame.frame)):
        twice = [key for key, count in Counter(map(what, frames)).items() if count > 1]
        if twice:
            raise UserError(f"{where} names {twice[0]} twice; take the frames.tsv that was handed over, unchanged")
    return frames


def _parse_row(line: str, where: str, subject: str) -> Handed:
    cells = line.split("\t")
    if len(cells) != len(COLUMNS):
        raise UserError(f"{where}: {len(cells)} cells instead of {len(COLUMNS)}; keep the tabs between the columns")
    row = dict(zip(COLUMNS, cells, strict=True))
    for name, fits in (("number", _WHOLE), ("frame", _WHOLE), ("clip", NAME), ("images", _DIGEST)):
        if not fits.fullmatch(row[name]):
            raise UserError(f"{where}: '{row[name]}' is no {name}; take the frames.tsv that was handed over, unchanged")
    if row["subject"] != subject:
        raise UserError(f"{where}: the table is about subject '{row['subject']}', not '{subject}'; name the right one")
    if row["split"] not in SPLITS["all"]:
        raise UserError(f"{where}: unknown split '{row['split']}'; known: {', '.join(SPLITS['all'])}")
    return Handed(int(row["number"]), subject, row["clip"], int(row["frame"]), row["split"], row["images"])


def refuse_outdated(frames: Sequence[Handed], now: Sequence[Handed], split: str) -> None:
    """Nothing, where the frames of `split` are still those that `choose_frames` gives `now`.

    Raises:
        UserError: clips have been tracked anew since, or other frames chosen.
    """
    old, new = ({(f.clip, f.frame, f.images) for f in rows if f.split in SPLITS[split]} for rows in (frames, now))
    if old != new:
        clip, frame, _ = min(old ^ new)
        raise UserError(f"the frames of split '{split}' are no longer those that were handed over (clip '{clip}', "
                        f"frame {frame}); hand the subject over again and let the method train on that")  # fmt: skip


def pair(frames: Sequence[Handed], names: Sequence[str], split: str, by: str) -> list[tuple[Handed, str]]:
    """Which image of a peer shows which frame of `split`.

    Args:
        frames: all rows of the table. names: file names in natural order. by: "number", the last digits in the name
            are the running number; or "order", the k-th image is the k-th frame of the split.

    Raises:
        UserError: frames without an image, images without a frame, or two for one.
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
                        f"{foreign[0]}; was it numbered anew? then pair by order")  # fmt: skip
    missing = [frame.number for frame in wanted if frame.number not in numbered]
    if missing:
        raise UserError(f"{len(missing)} of the {len(wanted)} frames of split '{split}' have no image, the first is "
                        f"number {missing[0]}; let the method paint all of them")  # fmt: skip
    return [(frame, numbered[frame.number]) for frame in wanted]
