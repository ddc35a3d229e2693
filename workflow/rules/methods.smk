# What stands in the table of results beside the avatars: variants and the methods of others. Wiring only.

from pathlib import Path
from stages.core.methods import external_methods, made_variants, method_pictures


def subject_folder(subject):
    """The subject's folder of results."""
    return Path(or_stop(expand, config["results"]), subject)


def table_variants(subject):
    """Variants that have been made, and those that this run is asked to make."""
    asked, folder = workflow.dag_settings.targets, subject_folder(subject)
    made = made_variants(folder)
    return [
        name
        for name in variant_names()
        if name in made or "variants" in asked or f"{folder}/variants/{name}/metrics.json" in asked
    ]


def table_metrics(wildcards):
    """Input function: metrics.json of every avatar of the sheet, its variants, and others' methods."""
    folders = []
    for subject in SHEET.subjects():
        folders.append(subject)
        folders += [f"{subject}/variants/{name}" for name in table_variants(subject)]
        folders += [f"{subject}/external/{name}" for name in or_stop(external_methods, subject_folder(subject))]
    return [f"<results>/{folder}/metrics.json" for folder in folders]


def pictures_of_method(wildcards):
    """Input function: every picture of an external method, so that a changed or added one is measured again."""
    folder = subject_folder(wildcards.subject) / "external" / wildcards.method
    found = or_stop(method_pictures, folder)
    return [str(path) for pictures in found.values() for path in pictures.values()]


def truth_clips(subject):
    """Names of the clips that hold the frames to measure on."""
    return to_test(subject) or train_clips(subject)
