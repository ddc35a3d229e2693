"""Format rows of the sheet of clips, and add them to a sheet that may have some of them already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_file
from selfieavatar.settings.clip_sheet import COLUMNS, Clip, read_sheet
from selfieavatar.settings.sheet_rows import DELIMITERS, delimiter_of, sheet_text


def as_text(clips: Sequence[Clip]) -> str:
    """Format the rows, tab separated, each with its line end.

    Raises:
        UserError: a cell holds a tab or a line break.
    """
    rows = [["" if cell is None else str(cell) for cell in astuple(clip)] for clip in clips]
    for row in rows:
        if any(set(cell) & set("\t\r\n") for cell in row):
            raise UserError(f"the path {row[COLUMNS.index('source')]!r} holds a tab or a line break; rename the file")
    return "".join("\t".join(row) + "\n" for row in rows)


def as_comment(text: str) -> str:
    """Format a comment line of the sheet; nothing for no text."""
    return f"# {' '.join(text.split())}\n" if text else ""


def add_to_sheet(path: Path, clips: Sequence[Clip], comment: str = "") -> int:
    """Add the clips that the sheet lacks, creating it where needed; returns how many were added.

    Args:
        path: of the sheet.
        clips: to be added.
        comment: written as `# comment` before new rows, if there are any.

    Raises:
        UserError: the sheet has another clip of the same name, or would become invalid; it is left unchanged.
    """
    text, known = "\t".join(COLUMNS) + "\n", {}
    if path.exists():
        known = {(clip.subject, clip.clip): clip for clip in read_sheet(path).clips}
        text = sheet_text(path)
        if (delimiter := delimiter_of(text)) != "\t":
            raise UserError(f"{path} is separated by {DELIMITERS[delimiter]}s; save it with tabs to add rows to it")
        header = next(line for line in text.split("\n") if line.strip() and not line.startswith("#"))
        if tuple(cell.strip() for cell in header.split("\t")) != COLUMNS:
            raise UserError(f"{path} has its columns in another order; make it {', '.join(COLUMNS)}")
        text += "" if text.endswith("\n") else "\n"
    for clip in clips:
        before = known.get((clip.subject, clip.clip), clip)
        if before != clip:
            raise UserError(
                f"{path} has a clip '{clip.clip}' of subject '{clip.subject}' already, and it differs ({before.role}, "
                f"{before.source}); remove its row, or write to another sheet"
            )
    new = [clip for clip in clips if (clip.subject, clip.clip) not in known]
    if new:
        with atomic_file(path) as temporary:
            temporary.write_text(text + as_comment(comment) + as_text(new), encoding="utf-8")
            try:
                read_sheet(temporary)
            except UserError as error:
                raise UserError(str(error).replace(str(temporary), str(path))) from error
    return len(new)
