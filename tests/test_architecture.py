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


def test_layers_stand_in_the_order_of_the_contract():
    rows = re.findall(r"^\|[^|]*\| `((?:selfieavatar\.)?\w+)` \|", TEXT, re.MULTILINE)
    place = {name: number for number, layer in enumerate(layers()) for name in layer}
    assert sorted(rows) == sorted(place)
    assert [place[row] for row in rows] == sorted(place.values())


def test_every_package_and_every_stage_is_named():
    packages = [f"selfieavatar.{path.parent.name}" for path in ROOT.glob("selfieavatar/*/__init__.py")]
    assert [name for name in packages if f"`{name}`" not in TEXT] == []
    stages = [path.stem for path in ROOT.glob("stages/*.py") if path.stem != "__init__"]
    assert [name for name in stages if not re.search(rf"\b{name}\b", TEXT)] == []


def test_files_exist():
    names = re.findall(r"`((?:selfieavatar|stages|tools|workflow)/[\w./]*|pyproject\.toml)`", TEXT)
    assert names and [name for name in names if not (ROOT / name).exists()] == []
