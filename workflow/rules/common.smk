# Wiring that all rules share: the sheet of clips, the settings of each stage, wildcards, targets. No science here.

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from stages.core.assets import ASSETS, asset_folder, needed_files
from stages.core.config import PATHS, STAGES, canonical_json, check_choices, check_config, load_preset, stage_settings
from stages.core.device import visible_cards
from stages.core.errors import UserError
from stages.core.provenance import code_digest
from stages.core.subjects import NAME, read_sheet

# Stages are run as modules of this project by the Python that runs Snakemake, from whichever folder. Threads that wait
# must sleep: spinning ones would slow down the other jobs of the machine several times. A prefix takes the place of
# Snakemake's own, so it has to make the pipe into `tee` fail when the stage fails.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(workflow.basedir)}${{{{PYTHONPATH:+:$PYTHONPATH}}}} PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    " OMP_WAIT_POLICY=PASSIVE; "
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
        else Path(config["subjects"]).expanduser()
    )


or_stop(check_config, config, "the configuration (config/config.yaml and --configfile)")
SHEET = or_stop(read_sheet, sheet_path())
OVERLAY = workflow.config_settings.overwrite_config


pathvars:
    results=str(Path(config["results"]).expanduser()),
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
    or_stop(check_choices, {stage: settings_of(stage, subject) for stage in STAGES})


def stage_params(stage):
    """Params function: the stage's settings as one canonical JSON string (Snakemake compares strings reliably)."""
    return lambda wildcards: canonical_json(settings_of(stage, wildcards.subject))


def weights_of(stage):
    """Input function: the published weights that the stage's settings ask for; the rule `asset` downloads them."""
    return lambda wildcards: [str(path) for path in needed_files(stage, settings_of(stage, wildcards.subject))]


def clip_of(wildcards):
    """The row of the sheet that the wildcards name."""
    return or_stop(SHEET.clip, wildcards.subject, wildcards.clip)


def source_of(wildcards):
    """Path of the clip's footage, or of the demo actor's video, which a rule makes."""
    clip = clip_of(wildcards)
    if clip.demo_seed is None:
        return str(Path(clip.source).expanduser())
    return f"<results>/{clip.subject}/source/demo-{clip.demo_seed}.mp4"


def source_input(wildcards):
    """Input function: what Snakemake should watch. A missing file gets our error, with its row, not Snakemake's."""
    source = source_of(wildcards)
    clip = clip_of(wildcards)
    if clip.demo_seed is None and not Path(source).exists():
        raise WorkflowError(
            f"{sheet_path()}: the source '{clip.source}' of subject '{clip.subject}', clip '{clip.clip}' does not "
            f"exist (looked for {Path(source).absolute()}); mend the path, which counts from the working directory"
        )
    return source


def frame_range(wildcards):
    """Arguments --start and --end of a clip; nothing where the sheet leaves them empty."""
    clip = clip_of(wildcards)
    ends = {"--start": clip.start_frame, "--end": clip.end_frame}
    return " ".join(f"{name} {value}" for name, value in ends.items() if value is not None)


def crop_ranges(wildcards):
    """Frame ranges that decide the crop of the clip's source, as JSON."""
    return canonical_json(SHEET.ranges(wildcards.subject, clip_of(wildcards).source))


def identity_clips(subject):
    """Names of the clips that the identity is learnt from: those to train on, or all of a pure driver."""
    return [clip.clip for clip in SHEET.of(subject, "train") or SHEET.of(subject)]


def train_clips(subject):
    """Names of the clips to train on."""
    return or_stop(SHEET.to_train, subject)


def measured_clips(subject):
    """Names of the clips whose frames evaluation reads: those to train on give the baselines."""
    return train_clips(subject) + test_clips(subject)


def held_out(wildcards):
    """Arguments --holdout and --gap-s: the share to measure on, of a subject without a clip to test on."""
    if test_clips(wildcards.subject) or not SHEET.of(wildcards.subject, "train"):
        return ""
    samples = settings_of("samples", wildcards.subject)
    return f"--holdout {samples['holdout']} --gap-s {samples['gap_s']}"


def test_clips(subject):
    """Names of the clips to measure on; none when a share of the training clips is held out."""
    return [clip.clip for clip in SHEET.of(subject, "test")]


def of_clips(file, clips):
    """Input function: `file` of each clip of the subject that the function `clips` names."""
    return lambda wildcards: [f"<results>/{wildcards.subject}/clips/{name}/{file}" for name in clips(wildcards.subject)]


def gpu_need():
    """GPUs of a GPU rule: none on a machine without a card, one otherwise and on clusters."""
    return 1 if visible_cards() or not workflow.local_exec else 0


def all_targets():
    """What the sheet asks for: each subject's avatar and metrics, and pictures of the tracking of every clip."""
    avatars = [f"<results>/{subject}/{name}" for subject in SHEET.subjects() for name in ("avatar.pt", "metrics.json")]
    return avatars + [f"<results>/{clip.subject}/clips/{clip.clip}/contact.png" for clip in SHEET.clips]
