# What data sets bring along, found beside each clip's source: fitted coefficients and masks. Wiring only.


def given_masks(wildcards):
    """Input function: the folder of masks of the clip, if the matting takes them from there."""
    matting, clip = settings_of("matting", wildcards.subject), clip_of(wildcards)
    if matting["method"] != "given":
        return []
    folder = None if clip.demo_seed is not None else beside(or_stop(expand, clip.source), matting["masks"])
    if folder is None or not folder.is_dir():
        raise WorkflowError(
            f"matting.method 'given': subject '{clip.subject}', clip '{clip.clip}' has no folder of masks "
            f"{folder or 'beside the demo actor'}; put it there, name it by matting.masks, or choose another matting.method"
        )
    return str(folder)


def coefficients_file(subject, clip):
    """Path of the coefficients that others have fitted to a clip, as a list; empty where the clip is to be fitted."""
    fit = settings_of("fit", subject)
    if not fit["coefficients"]:
        return []
    if clip.demo_seed is not None:
        raise WorkflowError(
            f"fit.coefficients: the demo actor (subject '{subject}', clip '{clip.clip}') has none; leave it empty"
        )
    path = beside(or_stop(expand, clip.source), fit["coefficients"])
    or_stop(check_coefficients, path, fit["model"], or_stop(expand, fit["model_path"]), or_stop(expand, clip.source))
    return [str(path)]


def coefficients(wildcards):
    """Input function: the file of coefficients of the clip, if it is not to be fitted."""
    return coefficients_file(wildcards.subject, clip_of(wildcards))


def all_coefficients(wildcards):
    """Input function: the files of coefficients of the clips that the identity is of, if they are not to be fitted."""
    clips = [or_stop(SHEET.clip, wildcards.subject, name) for name in identity_clips(wildcards.subject)]
    return [path for clip in clips for path in coefficients_file(wildcards.subject, clip)]


def imported_model(wildcards):
    """Input function: the face model that the rule fit needs again where coefficients are taken as they are."""
    return face_model(wildcards) if settings_of("fit", wildcards.subject)["coefficients"] else []
