# Wiring that all rules share: the configuration, the settings of each stage, paths and wildcards. No science here.

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from stages.core.assets import ASSETS, asset_folder, needed_files
from stages.core.config import (
    PATHS,
    STAGES,
    canonical_json,
    check_choices,
    check_config,
    load_preset,
    load_variant,
    stage_settings,
    variant_names,
)
from stages.core.device import visible_cards
from stages.core.errors import UserError
from stages.core.files import expand
from stages.core.provenance import code_digest
from stages.core.subjects import NAME, read_sheet
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


def settings_of(stage, subject, variant=""):
    """Validated settings of a stage: config.yaml, then the subject's preset, the command line, and last the variant."""
    preset = or_stop(load_preset, or_stop(SHEET.preset, subject))
    layers = [layer.get(stage) or {} for layer in (config, preset, OVERLAY, or_stop(load_variant, variant))]
    return or_stop(stage_settings, stage, *layers)


def check_subject(subject, variant=""):
    """Stop where the settings of the stages do not go together."""
    found = {stage: settings_of(stage, subject, variant) for stage in STAGES}
    or_stop(check_choices, found)
    or_stop(refuse_sizes, found["train"], found["decode"]["size_px"])


for subject in dict.fromkeys(clip.subject for clip in SHEET.clips):
    check_subject(subject)


def variant_of(wildcards):
    """Name of the variant (config/variants) that the wildcards ask for; empty for the avatar itself."""
    return wildcards.get("variant", "").removeprefix("/variants/")


def stage_params(stage):
    """Params function: the stage's settings as one canonical JSON string (Snakemake compares strings reliably)."""

    def of_wildcards(wildcards):
        variant = variant_of(wildcards)
        if variant:
            check_subject(wildcards.subject, variant)
        return canonical_json(settings_of(stage, wildcards.subject, variant))

    return of_wildcards


def weights_of(stage):
    """Input function: the published weights that the stage's settings ask for; the rule `asset` downloads them."""

    def files(wildcards):
        settings = settings_of(stage, wildcards.subject, variant_of(wildcards))
        return [str(path) for path in or_stop(needed_files, stage, settings)]

    return files


def gpu_need():
    """GPUs of a GPU rule: none on a machine without a card, one otherwise and on clusters."""
    return 1 if visible_cards() or not workflow.local_exec else 0


def photometric_gpu(wildcards):
    """Resource function: a card where the fit may refine on the pictures, none for landmarks and light alone."""
    return gpu_need() if settings_of("fit", wildcards.subject)["photometric"] in ("auto", "full") else 0
