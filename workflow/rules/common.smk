# Wiring that all rules share: the configuration, the sheet, paths and wildcards. No science here.

import sys
from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from selfieavatar.settings.assets import ASSETS, asset_folder, given_file, measuring_files, needed_files
from selfieavatar.settings.config import (
    STAGES,
    canonical_json,
    check_choices,
    check_config,
    load_preset,
    load_variant,
    stage_settings,
    variant_names,
)
from selfieavatar.errors import UserError
from selfieavatar.io.files import beside, expand
from selfieavatar.settings.provenance import code_digest
from selfieavatar.settings.subjects import NAME, read_sheet
from selfieavatar.settings.workflow import sheet_path, shell_prefix
from selfieavatar.interop.datasets.mead import clip_labels
from selfieavatar.morphable.coefficient_files import check_coefficients
from selfieavatar.networks.sizes import refuse_sizes

shell.prefix(shell_prefix(workflow.basedir))


def or_stop(function, *args, **kwargs):
    """Call `function`; an error that the user can fix ends the workflow with its one sentence."""
    try:
        return function(*args, **kwargs)
    except UserError as error:
        raise WorkflowError(str(error)) from None


or_stop(
    check_config, config, "the configuration (config/config.yaml, --configfile, or --config subjects=... results=...)"
)
SHEET_FILE = or_stop(sheet_path, config["subjects"], workflow.basedir)
SHEET = or_stop(read_sheet, SHEET_FILE)
OVERLAY = workflow.config_settings.overwrite_config


# Constraints stand in the path variables: Snakemake applies its section `wildcard_constraints` before it fills these in.
SUBJECT, CLIP = f"{{subject,{NAME.pattern}}}", f"{{clip,{NAME.pattern}}}"
VARIANT = f"{{variant,(/variants/{NAME.pattern})?}}"


pathvars:
    results=str(or_stop(expand, config["results"])),
    subject=f"<results>/{SUBJECT}",
    clip=f"<results>/{SUBJECT}/clips/{CLIP}",
    avatar=f"<results>/{SUBJECT}{VARIANT}",
    log=f"<results>/{SUBJECT}/logs",
    bench=f"<results>/{SUBJECT}/benchmarks",
    assets=str(asset_folder()),


wildcard_constraints:
    seed=r"\d+",
