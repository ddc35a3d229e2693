# What the rules ask the sheet of clips: where a clip's footage lies, which clips train, which measure. Wiring only.


def clip_of(wildcards):
    """The row of the sheet that the wildcards name."""
    return or_stop(SHEET.clip, wildcards.subject, wildcards.clip)


def source_of(wildcards):
    """Path of the clip's footage, or of the demo actor's video, which a rule makes."""
    clip = clip_of(wildcards)
    if clip.demo_seed is None:
        return str(or_stop(expand, clip.source))
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


def face_model(wildcards):
    """Input function: the file or folder of the published face model, nothing for the personal one."""
    model = settings_of("fit", wildcards.subject)
    if model["model"] == "facemesh":
        return []
    path = or_stop(expand, model["model_path"])
    if not path.exists():
        raise WorkflowError(
            f"fit.model_path {path.absolute()} does not exist; see docs/models.md for where models come from"
        )
    return str(path)


def frame_range(wildcards):
    """Arguments --start and --end of a clip; nothing where the sheet leaves them empty."""
    clip = clip_of(wildcards)
    ends = {"--start": clip.start_frame, "--end": clip.end_frame}
    return " ".join(f"{name} {value}" for name, value in ends.items() if value is not None)


def crop_ranges(wildcards):
    """Frame ranges that decide the crop of the clip's source, as JSON."""
    return canonical_json(SHEET.ranges(wildcards.subject, clip_of(wildcards).source))


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


def held_out(wildcards):
    """Arguments --holdout and --gap-s: the share to measure on, of a subject without a clip to test on."""
    if to_test(wildcards.subject) or not SHEET.of(wildcards.subject, "train"):
        return ""
    samples = settings_of("samples", wildcards.subject)
    return f"--holdout {samples['holdout']} --gap-s {samples['gap_s']}"


def of_clips(file, clips):
    """Input function: `file` of each clip of the subject that the function `clips` names."""
    return lambda wildcards: [f"<results>/{wildcards.subject}/clips/{name}/{file}" for name in clips(wildcards.subject)]


def all_targets():
    """What the sheet asks for: each subject's avatar and metrics, and the page about the tracking of its clips."""
    avatars = [f"<results>/{subject}/{name}" for subject in SHEET.subjects() for name in ("avatar.pt", "metrics.json")]
    everybody = dict.fromkeys(clip.subject for clip in SHEET.clips)
    return avatars + [f"<results>/{subject}/tracking.html" for subject in everybody]


def variant_targets():
    """Every variant of every avatar of the sheet, measured."""
    folders = [f"<results>/{subject}/variants/{name}" for subject in SHEET.subjects() for name in variant_names()]
    return [f"{folder}/{file}" for folder in folders for file in ("avatar.pt", "metrics.json")]
