"""Write config/config.yaml and the table of keys of config/README.md from the sections of the settings."""

from __future__ import annotations

import argparse
import json
import logging
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from selfieavatar.settings.config import CONFIG_FILE, PATHS, SECTIONS

README_FILE = CONFIG_FILE.with_name("README.md")
TABLE_START, TABLE_END = "<!-- table: start -->", "<!-- table: end -->"


def keys_of(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield each key of a section with its default as JSON and its description on one line."""
    for key, field in SECTIONS[name].model_fields.items():
        yield key, json.dumps(field.default), _one_line(field.description)


def _one_line(text: Any) -> str:
    return " ".join(text.split())


def config_yaml() -> str:
    """Write the text of config/config.yaml: every key with its default and its description as a comment."""
    lines = [
        "# Settings of the workflow: one section per stage, `marking` and `storage`. Written from the settings by",
        "# `python -m tools.config_docs --write`; edit values, or better: overlay them with --configfile.",
        "",
        f"subjects: {PATHS['subjects']}  # sheet of clips; see config/README.md",
        f"results: {PATHS['results']}  # folder for everything that runs make",
    ]
    for name, section in SECTIONS.items():
        lines += ["", f"# {_one_line(section.__doc__)}", f"{name}:"]
        for key, default, text in keys_of(name):
            lines += [f"  # {line}" for line in textwrap.wrap(text, 110)]
            lines.append(f"  {key}: {default}")
    return "\n".join(lines) + "\n"


def readme_with_table(text: str) -> str:
    """Renew the table of all keys between its two marks in the text of config/README.md."""
    lines = [TABLE_START, "| key | default | meaning |", "|---|---|---|"]
    for name in SECTIONS:
        for key, default, meaning in keys_of(name):
            lines.append(f"| `{name}.{key}` | `{default}` | {meaning.replace('|', chr(92) + '|')} |")
    table = "\n".join([*lines, TABLE_END])
    return re.sub(re.escape(TABLE_START) + ".*?" + re.escape(TABLE_END), lambda _: table, text, flags=re.DOTALL)


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(prog="python -m tools.config_docs", description=__doc__)
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s")
    CONFIG_FILE.write_text(config_yaml())
    README_FILE.write_text(readme_with_table(README_FILE.read_text()))
    logging.getLogger(__name__).info("wrote %s and the table of %s", CONFIG_FILE, README_FILE)


if __name__ == "__main__":
    main()
