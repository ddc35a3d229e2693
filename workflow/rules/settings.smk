# The settings of the stages: layered, validated, and handed to the rules as one string each. Wiring only.


def settings_of(stage, subject, variant=""):
    """Validated settings of a stage: config.yaml, then the subject's preset, the command line, and last the variant."""
    preset = or_stop(load_preset, or_stop(SHEET.preset, subject))
    layers = [layer.get(stage) or {} for layer in (config, preset, OVERLAY, or_stop(load_variant, variant))]
    return or_stop(stage_settings, stage, *layers)


def check_subject(subject, variant=""):
    """Stop where the settings of the stages do not go together."""
    found = {stage: settings_of(stage, subject, variant) for stage in STAGES}
    or_stop(check_choices, found["landmarks"], found["fit"], found["train"])
    or_stop(refuse_sizes, found["train"], found["decode"].size_px)


for subject in dict.fromkeys(clip.subject for clip in SHEET.clips):
    check_subject(subject)


def variant_of(wildcards):
    """Name of the variant (config/variants) that the wildcards ask for; empty for the avatar itself."""
    return wildcards.get("variant", "").removeprefix("/variants/")


def avatar_labels(shows):
    """Labels function of the report: which avatar of a subject, and what the file shows."""
    return lambda wildcards: {"avatar": variant_of(wildcards) or "the avatar", "shows": shows}


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
        return [str(path) for path in or_stop(needed_files, settings)]

    return files


def weights_there(wildcards):
    """Input function: the published weights that measuring finds; one that is new measures again, none is downloaded."""
    settings = settings_of("evaluate", wildcards.subject, variant_of(wildcards))
    return [str(path) for path in or_stop(measuring_files, settings)]


def image_folder(path):
    """Output of a folder of images, which Snakemake removes after its last use where storage.keep_pictures says so."""
    settings = or_stop(stage_settings, "storage", config.get("storage") or {})
    return directory(path) if settings.keep_pictures else temp(directory(path))
