"""Tell what of Snakemake's configuration is this workflow's, alone or as a module; layer the settings of subjects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfieavatar.networks.sizes import refuse_sizes
from selfieavatar.settings.config import PATHS, SECTIONS, check_choices, load_preset, load_variant, stage_settings


def settings_given(workflow: Any, config: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the configuration, and what of it the command line says, which outweighs presets.

    As a module, keys that are none of ours belong to the Snakefile that uses it and are passed over. A section of that
    file's configuration (`config: config["avatar"]`) is all configuration: the command line speaks of the whole file.
    """
    overlay, modifier = workflow.config_settings.overwrite_config, workflow.modifier
    if modifier.is_main_snakefile():
        return config, overlay
    own = {key: config[key] for key in (*PATHS, *SECTIONS) if key in config}
    part = modifier.skip_configfile and config is not modifier.parent_modifier.globals["config"]
    return own, {} if part else {key: value for key, value in overlay.items() if key in own}


class Settings:
    """Settings of subjects and their variants: config.yaml, the preset, the command line, the variant.

    Each section is validated once: a thousand subjects share a few presets, and each has twenty jobs.
    """

    def __init__(self, config: Mapping[str, Any], overlay: Mapping[str, Any]) -> None:
        self._config, self._overlay = config, overlay
        self._known: dict[tuple[str, str, str], Any] = {}

    def section(self, stage: str, preset: str, variant: str = "") -> Any:
        """Layer and validate a stage's settings; raises as `stage_settings`."""
        key = (stage, preset, variant)
        if key not in self._known:
            layers = (self._config, load_preset(preset), self._overlay, load_variant(variant))
            self._known[key] = stage_settings(stage, *(layer.get(stage) or {} for layer in layers))
        return self._known[key]

    def check(self, preset: str, variant: str = "") -> None:
        """Refuse settings that cannot work together; raises UserError."""
        found = {stage: self.section(stage, preset, variant) for stage in SECTIONS}
        check_choices(found["landmarks"], found["fit"], found["train"])
        refuse_sizes(found["train"], found["decode"].size_px)
