"""docs/paper-map.md names modules, functions and keys that exist."""

import importlib
import re
from pathlib import Path

import pytest

from selfieavatar.settings.config import SECTIONS

TEXT = (Path(__file__).parent.parent / "docs" / "paper-map.md").read_text()
CODE = sorted(set(re.findall(r"`((?:stages|selfieavatar)(?:\.\w+)+)`", TEXT)))
KEYS = sorted(set(re.findall(r"`([a-z]+\.[a-z0-9_]+\*?)(?::[^`]*)?`", TEXT)) - set(CODE))


@pytest.mark.parametrize("name", CODE)
def test_code_exists(name):
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            if not name.startswith(error.name or ""):
                raise
            continue
        for attribute in parts[count:]:
            assert hasattr(found, attribute), f"{name}: {found} has no {attribute}"
            found = getattr(found, attribute)
        return
    pytest.fail(f"{name} does not exist")


@pytest.mark.parametrize("name", [key for key in KEYS if not key.endswith((".json", ".yaml", ".parquet"))])
def test_key_exists(name):
    stage, key = name.split(".")
    known = SECTIONS[stage].model_fields
    if key.endswith("*"):
        assert any(entry.startswith(key[:-1]) for entry in known)
    elif key:
        assert key in known


def test_no_text_holds_the_marks_of_a_merge():
    root = Path(__file__).parent.parent
    names = ("*.md", "docs/**/*.md", "config/**/*.*", "benchmarks/**/*.md")
    files = [path for name in names for path in root.glob(name)]
    marked = [path for path in files if re.search(r"^(<{7}|>{7}) ", path.read_text(), re.MULTILINE)]
    assert files and not marked
