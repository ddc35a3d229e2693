"""Take this machine's folders out of sentences that go into what people share: metrics, tables, report pages."""

from __future__ import annotations

import os
import re
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[2]
# Where no list of folders tells, a name may hold single spaces, apostrophes within words and whole parentheses; but
# `x.mp4 and ...`, `; ...`, `, ...` and `: ...` end a path, as an option (` --x`) or another path does.
_MARKS = r"\s/\"'`<>|()"
_WORD = rf"(?:[^{_MARKS}]|(?<=\w)'(?=\w)|\([^\s/()]*\))+"
_GOES_ON = r"(?<![;,:])(?<!\.[A-Za-z]\w)(?<!\.[A-Za-z]\w\w)(?<!\.[A-Za-z]\w\w\w)(?<!\.parquet) (?!-)"
_NAME = rf"{_WORD}(?:{_GOES_ON}{_WORD})*"
_START = r"(?<![\w.~/$*-])"
_FOLDERS = re.compile(rf"{_START}/(?:{_NAME}/)+")
_OTHER_NAME = _NAME.replace(_MARKS, rf"{_MARKS}\\")
_OF_WINDOWS = re.compile(rf"{_START}(?:[A-Za-z]:[\\/]+|\\\\)(?:{_OTHER_NAME}[\\/]+)*")


def without_folders(text: str, *folders: Path) -> str:
    """Write paths relative to these folders, the working directory or the clone; of others, the name alone is left.

    Only folders that are named are sure to be found: where others begin is plain, but a name may hold any mark.
    """
    inner_first = sorted(folders, key=lambda folder: -len(folder.parts))
    for folder in (*inner_first, Path.cwd(), _CLONE):
        if folder.is_absolute() and str(folder) in text:
            text = re.sub(rf"{_START}{re.escape(str(folder))}/", "", text)
    if len(home := os.path.expanduser("~")) > 1:
        text = re.sub(rf"{_START}{re.escape(home)}/", "/home/", text)
        text = re.sub(rf"{_START}{re.escape(home)}(?![\w-])", "~", text)
    return _FOLDERS.sub("", _OF_WINDOWS.sub("", text))
