"""Take this machine's folders out of sentences that go into what people share: metrics, tables, report pages."""

from __future__ import annotations

import re
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[2]
_FOLDERS = re.compile(r"(?<![\w.~/$*-])/(?:[^\s/'\"`;,()<>|]+/)+")


def without_folders(text: str, *folders: Path) -> str:
    """Write paths relative to these folders, the working directory or the clone; of others, the name alone is left."""
    for folder in (*folders, Path.cwd(), _CLONE):
        if folder.is_absolute():
            text = re.sub(rf"(?<![\w.~/$*-]){re.escape(str(folder))}/", "", text)
    return _FOLDERS.sub("", text)
