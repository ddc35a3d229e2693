"""docs/architecture.md names every package in the order of the layers, every stage, and files that exist."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()


def layers():
    """The contract of pyproject.toml, one list of modules for each layer."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [contract for contract in contracts if contract["type"] == "layers"]
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


def test_every_package_stands_in_the_order_of_the_layers():
    rows = re.findall(r"^\|[^|`]*\|[^|`]*`(\w+)` \|", TEXT, re.MULTILINE)
    place = {name.removeprefix("selfieavatar."): number for number, layer in enumerate(layers()) for name in layer}
    assert sorted(rows) == sorted(place)
    assert [place[row] for row in rows] == sorted(place.values())
    assert {path.parent.name for path in ROOT.glob("selfieavatar/*/__init__.py")} <= set(place)


def test_every_stage_is_named():
    stages = [path.stem for path in ROOT.glob("stages/*.py") if path.stem != "__init__"]
    assert [name for name in stages if not re.search(rf"\b{name}\b", TEXT)] == []


def test_files_exist():
    names = re.findall(r"`((?:selfieavatar|stages|tools|workflow)/[\w./]*|pyproject\.toml)`", TEXT)
    assert names and [name for name in names if not (ROOT / name).exists()] == []
