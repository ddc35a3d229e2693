# What data sets bring along, found beside each clip's source: fitted coefficients and masks. Wiring only. What is missing
# or damaged is warned of here, and refused by the stage that needs it: other subjects are made all the same.

from functools import cache
from pathlib import Path
from snakemake.logging import logger

NOWHERE = "beside the demo actor"  # who brings nothing


@cache  # input functions are asked several times
def warn(sentence):
    """Say it once."""
    logger.warning(sentence)


def masks_folder(wildcards):
    """Params function: where the masks of the clip belong, if the matting takes them from there."""
    matting, clip = settings_of("matting", wildcards.subject), clip_of(wildcards)
    if matting.method != "given":
        return []
    return NOWHERE if clip.demo_seed is not None else str(beside(or_stop(expand, clip.source), matting.masks))


def given_masks(wildcards):
    """Input function: the folder of masks of the clip, if the matting takes them from there and it is there."""
    folder = masks_folder(wildcards)
    if not folder or Path(folder).is_dir():
        return folder
    warn(f"subject '{wildcards.subject}', clip '{wildcards.clip}' has no folder of masks {folder}: matting will fail")
    return []


def coefficients_path(subject, clip):
    """Where the coefficients that others have fitted to a clip belong, as a list; empty where the clip is to be fitted."""
    name = settings_of("fit", subject).coefficients
    if not name:
        return []
    return [NOWHERE if clip.demo_seed is not None else str(beside(or_stop(expand, clip.source), name))]


def coefficients_file(subject, clip):
    """`coefficients_path` if it is there."""
    fit, found = settings_of("fit", subject), coefficients_path(subject, clip)
    try:
        for path in found:
            check_coefficients(Path(path), fit.model, expand(fit.model_path), expand(clip.source))
    except UserError as error:
        warn(f"subject '{subject}', clip '{clip.clip}' will fail: {error}")
    return [path for path in found if Path(path).is_file()]


def coefficients(of):
    """Input or params function: `of` the clip."""
    return lambda wildcards: of(wildcards.subject, clip_of(wildcards))


def all_coefficients(of):
    """Input or params function: `of` the clips that the identity is of, together."""

    def paths(wildcards):
        clips = [or_stop(SHEET.clip, wildcards.subject, name) for name in identity_clips(wildcards.subject)]
        return [path for clip in clips for path in of(wildcards.subject, clip)]

    return paths


def imported_model(wildcards):
    """Input function: the face model that the rule fit needs again where coefficients are taken as they are."""
    return face_model(wildcards) if settings_of("fit", wildcards.subject).coefficients else []
