# What the rules ask the sheet of clips: which clips train, which measure, which drive. Wiring only.

from pathlib import Path


def face_model(wildcards):
    """Input function: the file or folder of the published face model, nothing for the personal one."""
    model = settings_of("fit", wildcards.subject)
    if model.model == "facemesh":
        return []
    path = or_stop(expand, model.model_path)
    if not path.exists():
        raise WorkflowError(
            f"fit.model_path {path.absolute()} does not exist; see docs/models.md for where models come from"
        )
    return str(path)


def train_clips(subject):
    """Names of the clips to train on."""
    return or_stop(SHEET.to_train, subject)


to_test, identity_clips = SHEET.to_test, SHEET.identity_clips


def all_clips(subject):
    """Names of all clips of the subject."""
    return [clip.clip for clip in SHEET.of(subject)]


def measured_clips(subject):
    """Names of the clips whose frames evaluation reads: those to train on give the baselines."""
    return train_clips(subject) + to_test(subject)


def roles_of_measured(subject):
    """Role of each of `measured_clips`."""
    return ["train"] * len(train_clips(subject)) + ["test"] * len(to_test(subject))


def held_out(wildcards):
    """Arguments --holdout and --gap-s: the share to measure on, of a subject without a clip to test on."""
    if to_test(wildcards.subject) or not SHEET.of(wildcards.subject, "train"):
        return ""
    samples = settings_of("samples", wildcards.subject)
    return f"--holdout {samples.holdout} --gap-s {samples.gap_s}"


def shown_clips(subject):
    """Names of the clips that evaluation may have measured frames of."""
    return to_test(subject) or train_clips(subject)


def of_clips(file, clips):
    """Input function: `file` of each clip of the subject that the function `clips` names."""
    return lambda wildcards: [f"<results>/{wildcards.subject}/clips/{name}/{file}" for name in clips(wildcards.subject)]


def for_identity(files):
    """`files`, a path or an input function, if the network that compares faces is given; else none."""
    return files if given_file("resnet50_vggface2").is_file() else []


def of_driver(file):
    """Input function: `file` of the clip that drives, or of its subject."""

    def path(wildcards):
        clip = or_stop(SHEET.driver, wildcards.driver)
        return f"<results>/{clip.subject}/{file.format(clip=Path('clips', clip.clip))}"

    return path
