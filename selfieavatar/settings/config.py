"""Settings: a JSON schema per stage, presets, overlays, and one validated section for each stage.

The schemas in settings/schemas/<stage>.schema.yaml are the only place where a key is declared. They hold its type,
default and description; `config/config.yaml` and the table of `config/README.md` are written from them:

    python -m selfieavatar.settings.config --write

Order of precedence: schema default < config/config.yaml < the subject's preset < `--configfile` of the command line <
the variant.
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import math
import re
import textwrap
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from selfieavatar.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FOLDER = Path(__file__).parent / "schemas"
CONFIG_FILE = ROOT / "config" / "config.yaml"
PRESET_FOLDER = ROOT / "config" / "presets"
VARIANT_FOLDER = ROOT / "config" / "variants"
README_FILE = ROOT / "config" / "README.md"

# In the order of the data flow, which is also the order of the sections in config.yaml.
STAGES = (
    "demo", "decode", "landmarks", "matting", "fit", "render", "overlay", "capture", "samples", "train", "evaluate",
    "reenact",
)  # fmt: skip
# What a variant of an avatar may change: it shares the results of all other stages with the avatar itself.
VARIANT_STAGES = ("train", "evaluate")
# Sections of the configuration: one of each stage, and one that holds for a whole run.
SECTIONS = (*STAGES, "storage")
# Keys of the top level that are not a section.
PATHS = {"subjects": "config/subjects.tsv", "results": "results"}


@lru_cache
def stage_schema(stage: str) -> dict[str, Any]:
    """JSON schema of a stage's section, read from selfieavatar/settings/schemas."""
    path = SCHEMA_FOLDER / f"{stage}.schema.yaml"
    if not path.is_file():
        return {"type": "object", "additionalProperties": False, "properties": {}}
    return yaml.safe_load(path.read_text())


def stage_defaults(stage: str) -> dict[str, Any]:
    """Default of every key of a stage."""
    return {key: entry["default"] for key, entry in stage_schema(stage).get("properties", {}).items()}


def stage_settings(stage: str, *overlays: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Defaults of a stage with overlays on top, validated.

    Args:
        where: the file that the overlays come from, named in the error.

    Raises:
        UserError: an unknown key (with the nearest known one) or a value that does not fit.
    """
    settings: dict[str, Any] = {}
    for overlay in (stage_defaults(stage), *overlays):
        _refuse_unknown(overlay, stage_defaults(stage), f"{stage}.", where)
        settings |= {key: _plain(value, f"{stage}.{key}", where) for key, value in overlay.items()}
    try:
        jsonschema.validate(settings, stage_schema(stage))
    except jsonschema.ValidationError as error:
        key = ".".join([stage, *map(str, error.absolute_path)])
        said = error.message
        if isinstance(error.instance, bool) and "off" in error.schema.get("enum", []):
            said = 'YAML reads a plain off as false: write "off" in quotes'
        raise UserError(f"config key '{key}'{_in(where)}: {said}; see config/README.md") from error
    return settings


def _plain(value: Any, key: str, where: str) -> Any:
    """40.0 is 40, so that writing it otherwise reruns nothing; what JSON cannot hold is refused."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"config key '{key}'{_in(where)} must be a finite number, not {value}")
        return int(value) if value.is_integer() else value
    return value


def _refuse_unknown(found: Mapping[str, Any], known: Mapping[str, Any], prefix: str, where: str) -> None:
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), n=1)
            hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
            raise UserError(f"unknown config key '{prefix}{key}'{_in(where)}; {hint}")


def _in(where: str) -> str:
    return f" in {where}" if where else ""


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Check the sections and keys of a whole configuration or overlay.

    Raises:
        UserError: a section or key is unknown, or a value does not fit.
    """
    _refuse_unknown(config, {**PATHS, **dict.fromkeys(SECTIONS)}, "", where)
    for key in PATHS:
        if key in config and (not isinstance(config[key], str) or not config[key].strip()):
            raise UserError(f"config key '{key}'{_in(where)} must be a path, not {config[key]!r}")
    for name in SECTIONS:
        section = {} if config.get(name) is None else config[name]
        if not isinstance(section, Mapping):
            raise UserError(f"config section '{name}'{_in(where)} must hold keys and values, not {section!r}")
        stage_settings(name, section, where=where)


def check_choices(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse settings of different stages that cannot work together, before time is spent.

    Args:
        settings: section of each stage.

    Raises:
        UserError: says which keys and how to fix them.
    """
    if settings["landmarks"]["detector"] == "face_alignment" and settings["fit"]["model"] == "facemesh":
        raise UserError(
            "landmarks.detector 'face_alignment' gives 68 flat points, too few for fit.model 'facemesh'; "
            "set landmarks.detector to 'mediapipe'"
        )
    check_training(settings["train"])
    fit = settings["fit"]
    if fit["model"] == "bfm" and settings["landmarks"]["detector"] == "mediapipe":
        raise UserError("fit.model 'bfm' has places for 68 landmarks only; set landmarks.detector to 'face_alignment'")
    if fit["model"] != "facemesh" and not fit["model_path"]:
        raise UserError(
            f"fit.model '{fit['model']}' is published by others; set fit.model_path to its file or folder "
            "(docs/models.md)"
        )
    if fit["model"] == "facemesh" and fit["focal"] == "estimate":
        raise UserError(
            "fit.model 'facemesh' is learnt from the landmarks and leaves none to tell the focal length; set "
            "fit.focal: fixed, or choose another fit.model"
        )
    _check_coefficients(fit)


def check_training(train: Mapping[str, Any]) -> None:
    """Refuse a section `train` without an end or without a loss.

    Raises:
        UserError: says which keys to set.
    """
    if not train["images"] and not train["minutes"]:
        raise UserError("train.images and train.minutes are both 0, so that training would never end; set one of them")
    weights = ("weight_l1", "weight_mask", "weight_mrf", "weight_cos", "weight_gan")
    if not any(train[name] for name in weights):
        raise UserError(f"all losses are off, so that nothing would be learnt; set one of train.{', '.join(weights)}")


def _check_coefficients(fit: Mapping[str, Any]) -> None:
    """Refuse settings of the fit that leave nothing of given coefficients."""
    if not fit["coefficients"]:
        return
    if fit["model"] not in ("flame", "faceverse"):
        raise UserError(
            f"fit.coefficients '{fit['coefficients']}' are of FLAME or FaceVerse, not of fit.model '{fit['model']}'; "
            "set fit.model to 'flame' or 'faceverse' with its fit.model_path, or leave fit.coefficients empty"
        )
    if fit["photometric"] in ("full", "auto"):
        raise UserError(
            f"fit.photometric '{fit['photometric']}' would change the coefficients that fit.coefficients takes as they "
            "are; set fit.photometric to 'light' or 'off'"
        )
    if fit["focal"] == "estimate":
        raise UserError(
            "fit.focal 'estimate' contradicts fit.coefficients, whose file says the focal length; set fit.focal: fixed"
        )


def preset_names() -> list[str]:
    """Names of the presets in config/presets."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


@lru_cache
def load_preset(name: str) -> dict[str, Any]:
    """A preset's overlay; the empty name is the empty overlay.

    Raises:
        UserError: there is no such preset, it is not valid, or changes what holds for all subjects.
    """
    overlay = _load_overlay(name, PRESET_FOLDER, "preset", preset_names()) if name else {}
    if "storage" in overlay:
        raise UserError(
            f"config/presets/{name}.yaml changes 'storage', which holds for all subjects of a run; put it into "
            "config.yaml or an overlay (--configfile)"
        )
    return overlay


def variant_names() -> list[str]:
    """Names of the variants in config/variants."""
    return sorted(path.stem for path in VARIANT_FOLDER.glob("*.yaml"))


@lru_cache
def load_variant(name: str) -> dict[str, Any]:
    """The overlay of an ablation or baseline; the empty name is the empty overlay, the avatar itself.

    Raises:
        UserError: there is no such variant, it is not valid, or changes a stage that it shares with the avatar itself.
    """
    if not name:
        return {}
    overlay = _load_overlay(name, VARIANT_FOLDER, "variant", variant_names())
    other = [stage for stage in overlay if stage not in VARIANT_STAGES]
    if other:
        raise UserError(
            f"config/variants/{name}.yaml changes '{other[0]}', but a variant may change only "
            f"{' and '.join(VARIANT_STAGES)}; for the rest, give the clips another subject and preset in the sheet"
        )
    return overlay


def _load_overlay(name: str, folder: Path, kind: str, known: list[str]) -> dict[str, Any]:
    if name not in known:
        raise UserError(f"there is no {kind} '{name}'; known {kind}s: {', '.join(known)}")
    path = folder / f"{name}.yaml"
    where = str(path.relative_to(ROOT))
    try:
        overlay = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not readable YAML ({' '.join(str(error).split())}); fix it") from error
    if not isinstance(overlay, dict):
        raise UserError(f"{where} must hold sections such as `train:` with keys below, not {overlay!r}")
    check_config(overlay, where)
    return overlay


def canonical_json(value: Any) -> str:
    """The one way to write a value: sorted keys, no spaces. Equal settings give equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


# ---------------------------------------------------------------------------------------------------------------------
# config.yaml and the table of config/README.md, written from the schemas.

TABLE_START, TABLE_END = "<!-- table: start -->", "<!-- table: end -->"


def config_yaml() -> str:
    """Text of config/config.yaml: every key with its default and its description as a comment."""
    lines = [
        "# Settings of the workflow: one section per stage, and `storage`. Written from the schemas of the settings by",
        "# `python -m selfieavatar.settings.config --write`; edit values, or better: overlay them with --configfile.",
        "",
        f"subjects: {PATHS['subjects']}  # sheet of clips; see config/README.md",
        f"results: {PATHS['results']}  # folder for everything that runs make",
    ]
    for stage in SECTIONS:
        schema = stage_schema(stage)
        lines += ["", f"# {schema.get('description', '').strip()}".rstrip(), f"{stage}:"]
        for key, entry in schema.get("properties", {}).items():
            text = " ".join(entry["description"].split())
            lines += [f"  # {line}" for line in textwrap.wrap(text, 110)]
            lines.append(f"  {key}: {json.dumps(entry['default'])}")
        if not schema.get("properties"):
            lines[-1] += " {}"
    return "\n".join(lines) + "\n"


def config_table() -> str:
    """The table of all keys for config/README.md."""
    lines = [TABLE_START, "| key | default | meaning |", "|---|---|---|"]
    for stage in SECTIONS:
        for key, entry in stage_schema(stage).get("properties", {}).items():
            text = " ".join(entry["description"].split()).replace("|", "\\|")
            lines.append(f"| `{stage}.{key}` | `{json.dumps(entry['default'])}` | {text} |")
    return "\n".join([*lines, TABLE_END])


def readme_with_table(text: str) -> str:
    """`text` with the table between its two marks renewed."""
    pattern = re.compile(re.escape(TABLE_START) + ".*?" + re.escape(TABLE_END), re.DOTALL)
    return pattern.sub(lambda _: config_table(), text)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m selfieavatar.settings.config", description="Write config.yaml and the table."
    )
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s")
    CONFIG_FILE.write_text(config_yaml())
    README_FILE.write_text(readme_with_table(README_FILE.read_text()))
    logging.getLogger(__name__).info("wrote %s and the table of %s", CONFIG_FILE, README_FILE)


if __name__ == "__main__":
    _main()
