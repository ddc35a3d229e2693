# Wiring that all rules share: the configuration, the settings of each stage, paths and wildcards. No science here.

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from stages.core.assets import ASSETS, asset_folder, needed_files
from stages.core.config import PATHS, STAGES, canonical_json, check_choices, check_config, load_preset, stage_settings
from stages.core.device import visible_cards
from stages.core.errors import UserError
from stages.core.files import beside, expand
from stages.core.provenance import code_digest
from stages.core.subjects import NAME, read_sheet
from stages.datasets.mead import clip_labels
from stages.face.imported import check_coefficients
from stages.nets.sizes import refuse_sizes

# Stages are run as modules of this project by the Python that runs Snakemake, from whichever folder. Threads that wait
# must sleep: spinning ones would slow down the other jobs of the machine several times. glibc gives pictures back to the
# kernel and fetches them anew for every frame, a sixth of the renderer's time, unless told to keep up to 256 MB. A
# prefix takes the place of Snakemake's own, so it has to make the pipe into `tee` fail when the stage fails.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(workflow.basedir)}${{{{PYTHONPATH:+:$PYTHONPATH}}}} PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    " OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=268435456; "
)


def or_stop(function, *args, **kwargs):
    """Call `function`; an error that the user can mend ends the workflow with its one sentence."""
    try:
        return function(*args, **kwargs)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def sheet_path():
    """The sheet given by --config, as seen from the working directory, or the one of this project."""
    return (
        Path(workflow.basedir, PATHS["subjects"])
        if config["subjects"] == PATHS["subjects"]
        else or_stop(expand, config["subjects"])
    )


or_stop(check_config, config, "the configuration (config/config.yaml and --configfile)")
SHEET = or_stop(read_sheet, sheet_path())
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
