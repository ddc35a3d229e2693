"""Tell what of Snakemake's configuration is this workflow's, alone or as a module of another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfieavatar.settings.config import PATHS, SECTIONS


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
