"""Read, check and query the sheet of clips, config/subjects.tsv."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from selfieavatar.errors import UserError
from selfieavatar.io.files import expand
from selfieavatar.io.images import IMAGE_SUFFIXES
from selfieavatar.settings.config import preset_names
from selfieavatar.settings.sheet_rows import DELIMITERS, delimiter_of, rows_of, sheet_text, shown
from selfieavatar.settings.typed_paths import as_on_disk, fault_of

COLUMNS = ("subject", "clip", "role", "source", "start_frame", "end_frame", "dataset", "consent", "preset")
ROLES = ("train", "test", "drive")
DATASETS = ("selfie", "mead", "imavatar", "demo")
ENDS = ("start_frame", "end_frame")
CONSENTS = ("self", "written", "licence", "synthetic")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
DRIVER = re.compile(f"{NAME.pattern}--{NAME.pattern}")  # <subject>--<clip>
DEMO = re.compile(r"demo:([0-9]{1,9})")
OWN_FOLDERS = ("logs",)  # of the workflow, beside those of the subjects
LONGEST_NAME = 100  # characters of a subject or clip: some files are named after two clips
MOST_SAID = 10  # wrong rows that are named


@dataclass(frozen=True)
class Clip:
    """One row of the sheet. Frames are source frame numbers, half-open; None means from the start or to the end."""

    subject: str
    clip: str
    role: str
    source: str
    start_frame: int | None
    end_frame: int | None
    dataset: str
    consent: str
    preset: str

    @property
    def demo_seed(self) -> int | None:
        """Seed of the procedural actor, or None for footage."""
        match = DEMO.fullmatch(self.source)
        return int(match.group(1)) if match else None

    def lacks_footage(self) -> bool:
        """Tell whether the source is footage that is not there."""
        return self.demo_seed is None and not expand(self.source).exists()


class Sheet:
    """All clips of the sheet, in its order."""

    def __init__(self, clips: Iterable[Clip]) -> None:
        self.clips = list(clips)
        self._own: dict[str, list[Clip]] = {}
        for clip in self.clips:
            self._own.setdefault(clip.subject, []).append(clip)

    @cached_property
    def _of_place(self) -> dict[tuple[str, Path], list[Clip]]:
        """Index clips by subject and source: thousands of clips ask for those that share their crop."""
        found: dict[tuple[str, Path], list[Clip]] = {}
        for clip in self.clips:
            found.setdefault((clip.subject, _place(clip.source)), []).append(clip)
        return found

    def everybody(self) -> list[str]:
        """Name all subjects."""
        return list(self._own)

    def subjects(self) -> list[str]:
        """Name the subjects that have something to train on."""
        return list(dict.fromkeys(clip.subject for clip in self.clips if clip.role == "train"))

    def of(self, subject: str, *roles: str) -> list[Clip]:
        """List the clips of a subject, of the given roles or of all."""
        return [clip for clip in self._own.get(subject, []) if clip.role in (roles or ROLES)]

    def folders(self, subject: str) -> list[Path]:
        """List the folders that the footage of a subject lies in."""
        found = (expand(clip.source).absolute().parent for clip in self.of(subject) if clip.demo_seed is None)
        return list(dict.fromkeys(found))

    def clip(self, subject: str, name: str) -> Clip:
        """Find the clip of that name.

        Raises:
            UserError: the sheet has no such subject or clip.
        """
        clips = self._known(subject)
        for clip in clips:
            if clip.clip == name:
                return clip
        raise UserError(f"subject '{subject}' has no clip '{name}'; it has: {', '.join(clip.clip for clip in clips)}")

    def driver(self, text: str) -> Clip:
        """Find the clip that `<subject>--<clip>` names.

        Raises:
            UserError: there is no such clip, or the text can be read in two ways.
        """
        found = [clip for clip in self.clips if f"{clip.subject}--{clip.clip}" == text]
        if len(found) == 1:
            return found[0]
        if found:
            both = " and ".join(f"clip '{clip.clip}' of '{clip.subject}'" for clip in found)
            raise UserError(f"'{text}' could be {both}; rename one of them in the sheet")
        known = ", ".join(f"{clip.subject}--{clip.clip}" for clip in self.clips)
        raise UserError(f"no clip of the sheet is called '{text}' (subject, two dashes, clip); it has: {known}")

    def ranges(self, subject: str, source: str) -> list[list[int | None]]:
        """List [start, end] of the clips that decide the one crop of a source: those to train on, else all.

        Test clips of the same source follow that crop, so that adding one changes no other clip.
        """
        clips = self._of_place.get((subject, _place(source)), [])
        deciding = [clip for clip in clips if clip.role == "train"] or clips
        return [[clip.start_frame, clip.end_frame] for clip in deciding]

    def trained_beside(self, subject: str) -> dict[str, list[list[int | None]]]:
        """Map clips to test on to [start, end] of the clips to train on that are cut from the same source."""
        return {
            test.clip: [
                [clip.start_frame, clip.end_frame]
                for clip in self._of_place[subject, _place(test.source)]
                if clip.role == "train"
            ]
            for test in self.of(subject, "test")
        }

    def names(self, subject: str, which: str) -> list[str]:
        """Name the clips of a subject that a stage works on.

        Args:
            subject: its name.
            which: all; train and test, those of that role; identity, those that the identity is learnt from (to train
                on, or all of a pure driver); measured, those whose frames evaluation reads (to train on, for the
                baselines, and to test on); shown, those that it may have measured frames of.

        Raises:
            UserError: clips to train on are needed, and there is none.
        """
        if which in ("all", "identity"):
            own = self.of(subject, "train") if which == "identity" else []
            return [clip.clip for clip in own or self.of(subject)]
        test = [] if which == "train" else self.to_test(subject)
        if which == "test" or (which == "shown" and test):
            return test
        return self.to_train(subject) + test

    def to_test(self, subject: str) -> list[str]:
        """Name the clips to measure on; none when a share of the training clips is held out."""
        return [clip.clip for clip in self.of(subject, "test")]

    def dataset(self, subject: str) -> str:
        """Name the data set that the subject is measured on; several, where its clips are of several, joined by +."""
        return "+".join(dict.fromkeys(clip.dataset for clip in self.of(subject, "test") or self.of(subject, "train")))

    def preset(self, subject: str) -> str:
        """Name the subject's preset; empty if it has none.

        Raises:
            UserError: the sheet has no such subject.
        """
        return self._known(subject)[0].preset

    def to_train(self, subject: str) -> list[str]:
        """Name the clips to train on.

        Raises:
            UserError: there is none, or no such subject.
        """
        names = [clip.clip for clip in self._known(subject) if clip.role == "train"]
        if not names:
            raise UserError(f"subject '{subject}' has no clip of role 'train' in the sheet; an avatar needs one")
        return names

    def _known(self, subject: str) -> list[Clip]:
        clips = self.of(subject)
        if not clips:
            known = ", ".join(dict.fromkeys(clip.subject for clip in self.clips))
            raise UserError(f"there is no subject '{subject}' in the sheet; it has: {known}")
        return clips


def _place(source: str) -> Path:
    """Spell a source in one way: `v.mp4`, `./v.mp4` and the absolute path are the same video."""
    return _resolved(source, os.getcwd())


@cache  # thousands of clips ask for one another's places
def _resolved(source: str, _folder: str) -> Path:
    match = DEMO.fullmatch(source)
    if match:
        return Path(f"demo:{int(match.group(1))}")
    try:
        return expand(source).resolve()
    except (RuntimeError, OSError) as error:
        raise UserError(f"the source '{source}' is no usable path ({error}); write it out in full") from error


def read_sheet(path: Path | str) -> Sheet:
    """Read and check a sheet of clips.

    Raises:
        UserError: names the rows (counted as in a text editor) and the columns to fix.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the sheet of clips {path} does not exist; see config/README.md for its columns")
    text = sheet_text(path)
    delimiter = delimiter_of(text)
    clips: list[tuple[Clip, int]] = []
    faults: list[tuple[int, str]] = []
    numbered: list[tuple[int, list[str]]] = []
    for number, row in rows_of(text, delimiter):
        if isinstance(row, int):
            faults.append((number, f"it has {row} characters, more than any path takes; is a line break missing?"))
        elif any(row) and not row[0].startswith("#"):
            numbered.append((number, row))
    if faults and not (numbered and numbered[0][0] < faults[0][0]):  # in place of the header
        raise UserError(f"{path}, row {faults[0][0]}: {faults[0][1]}")
    if not numbered:
        raise UserError(f"{path} is empty; its first row names the columns: {', '.join(COLUMNS)}")
    header = numbered.pop(0)[1]
    _check_header(path, header)
    if not numbered and not faults:
        raise UserError(f"{path} has no clips below its header; add one row per clip")
    for number, row in numbered:
        cells = _cells(header, row)
        if cells is None:
            count, between = f"{len(row)} cell{'s' * (len(row) != 1)}", DELIMITERS[delimiter]
            wrong = [f"{count} under {len(header)} columns; put one {between} between columns, not spaces, as in the "
                     "header, and two where a cell between is empty"]  # fmt: skip
        elif (wrong := list(_faults(cells))) and len(row) < len(header):
            count = f"{len(row)} cells under {len(header)} columns"
            wrong = [f"{count}: is a {DELIMITERS[delimiter]} missing? As it stands: {'; '.join(wrong)}"]
        elif not wrong:
            ends: dict[str, Any] = {name: int(cells[name]) if cells[name] else None for name in ENDS}
            clips.append((Clip(**(cells | ends | {"source": as_on_disk(cells["source"])})), number))
        faults += [(number, said) for said in wrong]
    faults += [*_unlike(clips), *_overlapping(clips)]
    if faults:  # said together: a long sheet is fixed in one go
        said = [f"{path}, row {row}: {said}" for row, said in sorted(faults, key=lambda fault: fault[0])]
        more = [f"and {len(said) - MOST_SAID} more faults"] if len(said) > MOST_SAID else []
        raise UserError("\n".join(said[:MOST_SAID] + more))
    return Sheet(clip for clip, _ in clips)


def _check_header(path: Path, header: list[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in COLUMNS if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1} - set(unknown))
    if len(header) == 1 and len(header[0].split()) > 1:
        raise UserError(f"{path} is separated by spaces; save the sheet with one tab between the columns")
    if unknown or missing or twice:
        said = [f"unknown column '{shown(name)}'" for name in unknown] + [
            f"column '{name}' is missing" for name in missing
        ]
        said += [f"column '{name}' stands twice" for name in twice]
        raise UserError(f"{path}: {'; '.join(said)}; the columns are: {', '.join(COLUMNS)}")


def _cells(header: list[str], row: list[str]) -> dict[str, str] | None:
    """Map columns to cells; None where there are too many or too few."""
    if len(row) > len(header) or len(row) < len(header) - 1:  # editors drop a last cell that is empty
        return None
    return dict(zip(header, row + [""] * (len(header) - len(row)), strict=True))


def _faults(row: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with a row by itself, in sentences."""
    cells = {column: shown(cell) for column, cell in row.items()}
    for column in ("subject", "clip"):
        if len(row[column]) > LONGEST_NAME:
            count = len(row[column])
            yield f"{column} '{cells[column]}' has {count} characters; it names files, so take at most {LONGEST_NAME}"
        elif not NAME.fullmatch(row[column]):
            yield (
                f"{column} '{cells[column]}' must be made of letters, digits, _ and -, and begin with a letter or digit"
            )
    if row["subject"].lower() in OWN_FOLDERS:
        yield f"subject '{cells['subject']}' is the name of a folder that all subjects share; choose another name"
    for column, known in (("role", ROLES), ("dataset", DATASETS)):
        if row[column] not in known:
            yield f"unknown {column} '{cells[column]}'; known: {', '.join(known)}"
    if cells["consent"] not in CONSENTS:
        said = f"unknown consent '{cells['consent']}'" if cells["consent"] else "consent is empty"
        yield f"{said}; nobody is made into an avatar without a stated basis: write {', '.join(CONSENTS)}"
    if row["preset"] and row["preset"] not in preset_names():
        yield f"unknown preset '{cells['preset']}'; known: {', '.join(preset_names())}"
    if not cells["source"]:
        yield "source is empty; name a video file, an image folder, or demo:<seed>"
    if fault := fault_of(row["source"]):
        yield f"source '{cells['source']}' {fault}"
    if cells["source"].startswith("demo:") and not DEMO.fullmatch(cells["source"]):
        yield f"source '{cells['source']}' must be demo:<seed> with a whole number"
    if cells["role"] == "train" and Path(cells["source"]).suffix.lower() in IMAGE_SUFFIXES:
        yield f"source '{cells['source']}' is one image, which trains no avatar; name a video or a folder of images"
    try:
        _place("" if fault else row["source"])
    except UserError as error:
        yield str(error)
    ends = [cells[column] for column in ENDS]
    odd = [not re.fullmatch(r"[0-9]{0,9}", text) for text in ends]
    for column, text, wrong in zip(ENDS, ends, odd, strict=True):
        if wrong:
            yield f"{column} '{text}' must be a whole number from 0, or empty"
    if ends[1] and not any(odd) and int(ends[1]) <= int(ends[0] or 0):
        yield f"end_frame {int(ends[1])} must be greater than start_frame {int(ends[0] or 0)} (half-open range)"


def _overlapping(clips: list[tuple[Clip, int]]) -> Iterator[tuple[int, str]]:
    """Yield rows that would measure frames that they or others train on."""
    trained: dict[tuple[str, Path], list[tuple[Clip, int]]] = {}
    tested = {clip.subject for clip, _ in clips if clip.role == "test"}
    for clip, row in clips:
        others = trained.setdefault((clip.subject, _place(clip.source)), [])
        if clip.role == "train":
            for other, at in others if clip.subject not in tested else []:
                if _overlap(clip, other):
                    message = (
                        f"clips '{clip.clip}' and '{other.clip}' (row {at}) share frames, and of a subject without a "
                        "test clip the last share is held out: it would be trained on, too; cut the ranges of the "
                        "source so that they do not overlap"
                    )
                    yield row, message
            others.append((clip, row))
    for test, row in clips:
        for train, at in trained[test.subject, _place(test.source)] if test.role == "test" else []:
            if _overlap(test, train):
                message = (
                    f"clip '{test.clip}' measures frames that clip '{train.clip}' in row {at} trains on; cut the "
                    "ranges of the source so that they do not overlap"
                )
                yield row, message


def _overlap(one: Clip, other: Clip) -> bool:
    far = 1 << 62
    begin = max(one.start_frame or 0, other.start_frame or 0)
    return begin < min(one.end_frame or far, other.end_frame or far)


def _unlike(clips: list[tuple[Clip, int]]) -> Iterator[tuple[int, str]]:
    """Yield rows that do not go together with one before."""
    seen: dict[tuple[str, str], int] = {}
    first: dict[str, tuple[Clip, int]] = {}
    for clip, row in clips:
        # Names become folders, which many file systems do not tell apart by case.
        key = (clip.subject.lower(), clip.clip.lower())
        if key in seen:
            message = (
                f"clip '{clip.clip}' of subject '{clip.subject}' stands in row {seen[key]} already; clip names of a "
                "subject must differ in more than case"
            )
            yield row, message
        seen.setdefault(key, row)
        before, at = first.setdefault(clip.subject.lower(), (clip, row))
        if clip.subject != before.subject:
            message = (
                f"subject '{clip.subject}' differs only in case from '{before.subject}' in row {at}; write both the "
                "same, or choose another name"
            )
            yield row, message
        if clip.preset != before.preset:
            message = (
                f"subject '{clip.subject}' has preset '{clip.preset}' here and '{before.preset}' in row {at}; all "
                "clips of a subject share one preset"
            )
            yield row, message
