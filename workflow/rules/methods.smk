# What stands in the table of results beside the avatars: variants and the methods of others. Wiring only.

from pathlib import Path
from snakemake.logging import logger
from selfieavatar.settings.methods import external_methods, made_variants, method_files, no_methods


def subject_folder(subject):
    """The subject's folder of results."""
    return Path(or_stop(expand, config["results"]), subject)


def table_variants(subject):
    """Variants that have been made, and those that this run is asked to make."""
    asked, folder = workflow.dag_settings.targets, subject_folder(subject)
    made = made_variants(folder)

    def is_asked(name):
        return "variants" in asked or any(target.startswith(f"{folder}/variants/{name}/") for target in asked)

    return [name for name in variant_names() if name in made or is_asked(name)]


def table_metrics(wildcards):
    """Input function: metrics.json of every avatar of the sheet, its variants, and others' methods."""
    folders = []
    for subject in SHEET.subjects():
        folders.append(subject)
        folders += [f"{subject}/variants/{name}" for name in table_variants(subject)]
        folders += [f"{subject}/external/{name}" for name in external_methods(subject_folder(subject))]
        for sentence in no_methods(subject_folder(subject)):
            logger.warning(f"passed over: {sentence}")
    asked = set(workflow.dag_settings.targets)
    # `make report` asks for the table and each that could be measured by name.
    if "--report" in sys.argv and str(subject_folder("table.md")) in asked:
        folders = [name for name in folders if str(subject_folder(name) / "metrics.json") in asked]
    return [f"<results>/{folder}/metrics.json" for folder in folders]


def method_folder(wildcards):
    """The folder of an external method's images."""
    return subject_folder(wildcards.subject) / "external" / wildcards.method


def pictures_of_method(wildcards):
    """Input function: every image of an external method, so that a changed or added one is measured again."""
    return [str(path) for path in method_files(method_folder(wildcards))[0]]


def others_of_method(wildcards):
    """Params function: what else lies there, as JSON; the stage refuses it."""
    return canonical_json(method_files(method_folder(wildcards))[1])
