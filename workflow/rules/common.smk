# Wiring that all rules share: the configuration, the settings of each stage, paths and wildcards. No science here.

import sys
from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from stages.core.assets import ASSETS, asset_folder, needed_files
from stages.core.config import STAGES, canonical_json, check_choices, check_config, load_preset, stage_settings
from stages.core.device import visible_cards
from stages.core.errors import UserError
from stages.core.files import beside, expand
from stages.core.provenance import code_digest
from stages.core.subjects import NAME, read_sheet
from stages.core.workflow import sheet_path, shell_prefix
from stages.datasets.mead import clip_labels
from stages.face.imported import check_coefficients
from stages.nets.sizes import refuse_sizes

shell.prefix(shell_prefix(workflow.basedir))


def or_stop(function, *args, **kwargs):
    """Call `function`; an error that the user can mend ends the workflow with its one sentence."""
    try:
        return function(*args, **kwargs)
    except UserError as error:
        raise WorkflowError(str(error)) from None


or_stop(check_config, config, "the configuration (config/config.yaml and --configfile)")
SHEET_FILE = or_stop(sheet_path, config["subjects"], workflow.basedir)
SHEET = or_stop(read_sheet, SHEET_FILE)
OVERLAY = workflow.config_settings.overwrite_config


pathvars:
    results=str(or_stop(expand, config["results"])),
    subject="<results>/{subject}",
    clip="<results>/{subject}/clips/{clip}",
    log="<results>/{subject}/logs",
    bench="<results>/{subject}/benchmarks",
    assets=str(asset_folder()),


wildcard_constraints:
    subject=NAME.pattern,
    clip=NAME.pattern,
    seed=r"\d+",


def settings_of(stage, subject):
    """Validated settings of a stage for a subject: config.yaml, then its preset, then the command line."""
    preset = or_stop(load_preset, or_stop(SHEET.preset, subject))
    layers = [layer.get(stage) or {} for layer in (config, preset, OVERLAY)]
    return or_stop(stage_settings, stage, *layers)


for subject in dict.fromkeys(clip.subject for clip in SHEET.clips):
    found = {stage: settings_of(stage, subject) for stage in STAGES}
    or_stop(check_choices, found)
    or_stop(refuse_sizes, found["train"], found["decode"]["size_px"])


def stage_params(stage):
    """Params function: the stage's settings as one canonical JSON string (Snakemake compares strings reliably)."""
    return lambda wildcards: canonical_json(settings_of(stage, wildcards.subject))


def weights_of(stage):
    """Input function: the published weights that the stage's settings ask for; the rule `asset` downloads them."""
    return lambda wildcards: [str(path) for path in needed_files(stage, settings_of(stage, wildcards.subject))]


def gpu_need():
    """GPUs of a GPU rule: none on a machine without a card, one otherwise and on clusters."""
    return 1 if visible_cards() or not workflow.local_exec else 0


def photometric_gpu(wildcards):
    """Resource function: a card where the fit may refine on the pictures, none for landmarks and light alone."""
    return gpu_need() if settings_of("fit", wildcards.subject)["photometric"] in ("auto", "full") else 0
