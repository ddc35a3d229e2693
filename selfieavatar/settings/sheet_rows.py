"""Read the rows of a sheet as editors and spreadsheets save it: tabs, semicolons or commas, UTF-8 or UTF-16, quotes."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path

from selfieavatar.errors import UserError

DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma"}
LONGEST_ROW = 100_000  # characters; a row has one path, of some thousands at most, and short cells


def sheet_text(path: Path) -> str:
    """Read a sheet's text, without byte order mark and with plain line ends.

    Raises:
        UserError: it is neither UTF-8 nor, with a byte order mark, UTF-16.
    """
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Excel's "Unicode Text"
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a UTF-8 text file; save the sheet as tab-separated UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def delimiter_of(text: str) -> str:
    """Tell what separates the columns: the one that the first row has most of."""
    header = next((line for line in text.split("\n") if line.strip() and not line.startswith("#")), "")
    return max(DELIMITERS, key=header.count)


def rows_of(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | int]]:
    """Yield (number of the line from 1, its cells), or, of a line that is no row but too long, how long it is.

    splitlines() would also split at rare Unicode marks, which are part of names.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_ROW:
            yield number, len(line)
            continue
        # Between tabs a quotation mark may be part of a name, so that only whole cells are taken out of theirs.
        tabs = delimiter == "\t"
        cells = line.split("\t") if tabs else next(csv.reader([line], delimiter=delimiter), [])
        yield number, [_unquoted(cell.strip()) if tabs else cell.strip() for cell in cells]


def _unquoted(cell: str) -> str:
    """Take a cell out of the quotes that spreadsheets put round a comma or a quotation mark, which they double."""
    inner = cell[1:-1]
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"').strip() if quoted else cell


def shown(text: str, most: int = 80) -> str:
    """Shorten what a sentence repeats of a cell."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
