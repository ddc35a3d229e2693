"""Read settings: presets, variants and overlays on top of the defaults, validated into one section for each stage.

The keys are declared in `sections`, `capture_section` and `train_section` alone. Order of precedence: default of the
section < config/config.yaml < the subject's preset < `--configfile` of the command line < the variant.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from selfieavatar.errors import UserError
from selfieavatar.settings.capture_section import Capture
from selfieavatar.settings.marking_section import Marking
from selfieavatar.settings.sections import (
    Decode,
    Demo,
    Evaluate,
    Fit,
    Landmarks,
    Matting,
    Overlay,
    Paper,
    Reenact,
    Render,
    Samples,
    Section,
    Storage,
)
from selfieavatar.settings.train_section import Train
from selfieavatar.settings.typed_paths import fault_of

ROOT = Path(__file__).resolve().parents[2]
CONFIG_FILE = ROOT / "config" / "config.yaml"
PRESET_FOLDER = ROOT / "config" / "presets"
VARIANT_FOLDER = ROOT / "config" / "variants"

# In the order of the data flow, as in config.yaml: one for each stage, and those of `WHOLE_RUN`.
SECTIONS: dict[str, type[Section]] = {
    section.__name__.lower(): section
    for section in (
        Demo, Decode, Landmarks, Matting, Fit, Render, Overlay, Capture, Samples, Train, Evaluate, Reenact, Paper,
        Marking, Storage
    )
}  # fmt: skip
WHOLE_RUN = ("marking", "storage")  # hold for all subjects of a run
# What a variant of an avatar may change: it shares the results of all other stages with the avatar itself.
VARIANT_STAGES = ("train", "evaluate")
# A variant of this ending has the settings of the one without, and trains on as many images as the avatar itself did.
# Ends of the names of variants that are trained on as many images as the avatar was, or as long.
SAME_IMAGES, SAME_MINUTES = "_same_images", "_same_minutes"
# Keys that are no more, and what says the same.
REPLACED = {"train.cos_vggface2": "train.cos_network: vggface2 (was true) or resnet50 (was false)"}
# Keys of the top level that are not a section.
PATHS = {"subjects": "config/subjects.tsv", "results": "results"}

AnySection = TypeVar("AnySection", bound=Section)


def shown(value: Any) -> str:
    """Write a value for a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_section(section: type[AnySection], values: Mapping[str, Any], name: str, where: str = "") -> AnySection:
    """Validate the values of a section; keys left out take their defaults.

    The error names the section by `name` and the file that the values come from by `where`.

    Raises:
        UserError: an unknown key (with the nearest known one) or a value that does not fit.
    """
    _refuse_unknown(values, section.model_fields, f"{name}.", where)
    try:
        return section(**values)
    except ValidationError as invalid:
        error = invalid.errors()[0]
        key, value = ".".join([name, *map(str, error["loc"])]), error["input"]
        said = f" must{error['msg'].split('should', 1)[-1].split(' after validation')[0]}, not {shown(value)}"
        if value is False and "'off'" in error.get("ctx", {}).get("expected", ""):
            said = ': YAML reads a plain off as false: write "off" in quotes'
        raise UserError(f"config key '{key}'{_in(where)}{said}; see config/README.md") from invalid


def stage_settings(stage: str, *overlays: Mapping[str, Any], where: str = "") -> Section:
    """Lay overlays over the defaults of a stage, the last on top, and validate them; raises as `read_section`.

    A stage without a section of its own takes no keys.
    """
    values = {key: value for overlay in overlays for key, value in overlay.items()}
    return read_section(SECTIONS.get(stage, Section), values, stage, where)


def _refuse_unknown(found: Iterable[str], known: Iterable[str], prefix: str, where: str) -> None:
    for key in found:
        if key not in known:
            if f"{prefix}{key}" in REPLACED:
                raise UserError(f"config key '{prefix}{key}'{_in(where)} is now {REPLACED[f'{prefix}{key}']}")
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
            raise UserError(f"unknown config key '{prefix}{key}'{_in(where)}; {hint}")


def _in(where: str) -> str:
    return f" in {where}" if where else ""


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Check the sections and keys of a whole configuration or overlay.

    Raises:
        UserError: a section or key is unknown, or a value does not fit.
    """
    _refuse_unknown(config, [*PATHS, *SECTIONS], "", where)
    for key in PATHS:
        if key in config and (not isinstance(config[key], str) or not config[key].strip()):
            raise UserError(f"config key '{key}'{_in(where)} must be a path, not {shown(config[key])}")
        if key in config and (fault := fault_of(config[key])):
            raise UserError(f"config key '{key}'{_in(where)}: the path {shown(config[key])} {fault}")
    for name in SECTIONS:
        section = {} if config.get(name) is None else config[name]
        if not isinstance(section, Mapping):
            raise UserError(f"config section '{name}'{_in(where)} must hold keys and values, not {shown(section)}")
        stage_settings(name, section, where=where)


def check_choices(landmarks: Landmarks, fit: Fit, train: Train) -> None:
    """Refuse settings that cannot work together, before time is spent.

    Raises:
        UserError: says which keys and how to fix them.
    """
    if landmarks.detector == "face_alignment" and fit.model == "facemesh":
        raise UserError(
            "landmarks.detector 'face_alignment' gives 68 flat points, too few for fit.model 'facemesh'; "
            "set landmarks.detector to 'mediapipe'"
        )
    check_training(train)
    if fit.model == "bfm" and landmarks.detector == "mediapipe":
        raise UserError("fit.model 'bfm' has places for 68 landmarks only; set landmarks.detector to 'face_alignment'")
    if fit.model != "facemesh" and not fit.model_path:
        raise UserError(
            f"fit.model '{fit.model}' is published by others; set fit.model_path to its file or folder (docs/models.md)"
        )
    if fit.model == "facemesh" and fit.focal == "estimate":
        raise UserError(
            "fit.model 'facemesh' is learnt from the landmarks and leaves none to tell the focal length; set "
            "fit.focal: fixed, or choose another fit.model"
        )
    _check_coefficients(fit)


def check_training(train: Train) -> None:
    """Refuse a section `train` without an end, without a loss, or with weights that a network does not have.

    Raises:
        UserError: says which keys to set.
    """
    if not train.images and not train.minutes:
        raise UserError("train.images and train.minutes are both 0, so that training would never end; set one of them")
    weights = ("weight_l1", "weight_mask", "weight_mrf", "weight_cos", "weight_gan")
    if not any(getattr(train, name) for name in weights):
        raise UserError(f"all losses are off, so that nothing would be learnt; set one of train.{', '.join(weights)}")
    if train.weight_cos and (train.backbone_weights, train.cos_network) == ("packaged", "resnet50"):
        raise UserError(
            "train.backbone_weights 'packaged' brings no ResNet50 for train.cos_network 'resnet50'; set "
            "train.cos_network to dlib_face, or train.weight_cos to 0"
        )


def _check_coefficients(fit: Fit) -> None:
    """Refuse settings of the fit that leave nothing of given coefficients."""
    if not fit.coefficients:
        return
    if fit.model not in ("flame", "faceverse"):
        raise UserError(
            f"fit.coefficients '{fit.coefficients}' are of FLAME or FaceVerse, not of fit.model '{fit.model}'; "
            "set fit.model to 'flame' or 'faceverse' with its fit.model_path, or leave fit.coefficients empty"
        )
    if fit.photometric in ("full", "auto"):
        raise UserError(
            f"fit.photometric '{fit.photometric}' would change the coefficients that fit.coefficients takes as they "
            "are; set fit.photometric to 'light' or 'off'"
        )
    if fit.focal == "estimate":
        raise UserError(
            "fit.focal 'estimate' contradicts fit.coefficients, whose file says the focal length; set fit.focal: fixed"
        )


def preset_names() -> list[str]:
    """List the presets in config/presets."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


@lru_cache
def load_preset(name: str) -> dict[str, Any]:
    """Load a preset's overlay; the empty name is the empty overlay.

    Raises:
        UserError: there is no such preset, it is not valid, or changes what holds for all subjects.
    """
    overlay = _load_overlay(name, PRESET_FOLDER, "preset", preset_names()) if name else {}
    for section in WHOLE_RUN:
        if section in overlay:
            raise UserError(
                f"config/presets/{name}.yaml changes '{section}', which holds for all subjects of a run; put it into "
                "config.yaml or an overlay (--configfile)"
            )
    return overlay


def variant_names() -> list[str]:
    """List the variants in config/variants."""
    return sorted(path.stem for path in VARIANT_FOLDER.glob("*.yaml"))


def plain_variant(name: str) -> str:
    """Strip SAME_IMAGES or SAME_MINUTES from the name of a variant."""
    return name.removesuffix(SAME_IMAGES).removesuffix(SAME_MINUTES)


@lru_cache
def load_variant(name: str) -> dict[str, Any]:
    """Load the overlay of an ablation or baseline; the empty name is the empty overlay, the avatar itself.

    A name that ends in SAME_IMAGES or SAME_MINUTES has the overlay of the name without.

    Raises:
        UserError: there is no such variant, it is not valid, or changes a stage that it shares with the avatar itself.
    """
    name = plain_variant(name)
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
        raise UserError(f"{where} must hold sections such as `train:` with keys below, not {shown(overlay)}")
    check_config(overlay, where)
    return overlay


def canonical_json(value: Any) -> str:
    """Write a value or section with sorted keys and no spaces, so that equal settings give equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)
