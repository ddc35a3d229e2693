"""Compare whatever was made as the paper's Table I does: subjects x methods, with intervals and reasons.

Reads, for every subject that the sheet makes an avatar of, metrics.json of the avatar (with the baselines in it), of
its variants and of others' methods, and for clips with labels (MEAD's emotion and level) the tables of single frames.
What is missing is found out here and written as a dash with its reason, so that an unfinished batch has a table, too:

    python -m stages.compare --results results --subjects config/subjects.tsv

Out: table.md to read and table.parquet to work with, in the folder of the results. Seconds, little memory.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from selfieavatar.errors import UserError
from selfieavatar.evaluation.metrics_file import DEFINITIONS
from selfieavatar.evaluation.summary_text import WORDS, outdated
from selfieavatar.io.files import atomic_file, end_of
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.io.paths import AVATAR, EXTERNAL, METRICS, RULES, VARIANTS
from selfieavatar.io.shared_text import without_folders
from selfieavatar.reporting.comparison import INSIDE, OURS, TRACKED, Cell, Measured, Method, group_cells, missing_cells
from selfieavatar.reporting.comparison_page import page
from selfieavatar.reporting.job_states import sentence as said_by
from selfieavatar.settings.cli import main, stage_parser
from selfieavatar.settings.clip_sheet import Sheet, read_sheet
from selfieavatar.settings.methods import external_methods, made_variants, no_methods
from selfieavatar.workflow.command import snakemake_command

log = logging.getLogger(__name__)

GROUPS = ("emotion", "level")  # labels of clips that scores are grouped by
FOLDERS = {"variant": VARIANTS, "external": EXTERNAL}
LARGEST = 16 << 20  # bytes of a metrics.json
Command = Callable[[Path], str]  # file of the results -> what makes it


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "compare")
    parser.add_argument("--results", required=True, type=Path, help="folder of the results; the table goes there, too")
    parser.add_argument("--subjects", required=True, type=Path, help="the sheet of clips")
    return parser


def folder_of(method: Method) -> str:
    """Tell where a method's files lie in the subject's folder; baselines are in the avatar's own metrics.json."""
    return f"{FOLDERS[method.kind]}/{method.name}/" if method.kind in FOLDERS else ""


def read_metrics(path: Path, subject: str) -> dict[str, Any]:
    """Read a metrics.json.

    Raises:
        UserError: it is damaged, or of another subject.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable ({error}); delete it and run the workflow again") from error
    if not isinstance(content, dict) or content.get("subject") != subject:
        raise UserError(f"{path} is not of subject '{subject}'; delete it and run the workflow again")
    return content


def shared(text: str, results: Path, sheet: Sheet, subject: str) -> str:
    """Take the folders of the results and of the subject's footage out of a sentence."""
    return without_folders(text, results.absolute().parent, *sheet.folders(subject))


def why_not(results: Path, sheet: Sheet, subject: str, log: str) -> str:
    """Tell why a step has made nothing, as far as its log says."""
    log_file = Path(subject, log)
    text = end_of(results / log_file)
    if text is None:
        return "its step has not run"
    said = said_by(text)
    return f"{shared(said, results, sheet, subject)} ({log_file})" if said else f"see {log_file}"


def first_missing(results: Path, sheet: Sheet, subject: str) -> str:
    """Name the first missing file on the way to the avatar's metrics.json, and why; empty if there is none."""
    clips = [clip.clip for clip in sheet.of(subject, "train", "test")]
    for rule in (rule for rule in RULES.values() if rule.needed and sheet.of(subject, *filter(None, [rule.role]))):
        for of in clips if rule.scope == "clip" else [""]:
            if not (results / subject / rule.made(of)).is_file():
                why = why_not(results, sheet, subject, rule.log(of))
                return f"not made: {subject}/{rule.made(of)} is missing; {why}"
    return ""


def why_missing(results: Path, sheet: Sheet, subject: str, method: Method) -> tuple[str, bool]:
    """Tell why a method that others have lacks its metrics.json, and whether it was ever asked for."""
    place = f"{subject}/{folder_of(method)}"
    if method.kind == "external":
        if not (results / place).is_dir():
            return f"no images of it in {place}", False
        why = why_not(results, sheet, subject, RULES["external"].log(method.name))
        return f"not measured: {place}{METRICS} is missing; {why}", True
    if method.kind == "variant" and (results / subject / METRICS).is_file():
        logs = [RULES[name].log(method.name) for name in ("train", "evaluate")]
        tried = [path for path in logs if (results / subject / path).is_file()]
        why = f"; {why_not(results, sheet, subject, tried[-1])}" if tried else ""
        return f"not made: {place}{METRICS} is missing{why}", bool(tried)
    return first_missing(results, sheet, subject), method == OURS


def measured(results: Path, sheet: Sheet, subject: str, methods: list[Method], command: Command) -> Iterator[Measured]:
    """Yield what is known of each method on a subject."""
    dataset = sheet.dataset(subject)
    for method in methods:
        path, content, reason, asked = results / subject / folder_of(method) / METRICS, {}, "", True
        if path.is_file():
            try:
                content = read_metrics(path, subject)
            except UserError as error:
                reason = shared(str(error), results, sheet, subject)
        else:
            reason, asked = why_missing(results, sheet, subject, method)
        if content and method.kind == "baseline" and not content.get("baselines"):
            content, reason = {}, "left out by evaluate.baselines: false"
        if method == TRACKED and not content.get(TRACKED.name):
            continue  # left out, or no torso was followed
        if content and method.kind in ("ours", "variant") and not path.with_name(AVATAR).is_file():
            reason = "avatar.pt is not there: these scores may be of an earlier one"  # new trainings remove it
        elif content and method.kind in ("ours", "variant") and outdated(content, path.with_name(AVATAR)):
            make = without_folders(f"snakemake {path}", results.parent)
            reason = f"these scores are of an avatar from before; {make} measures the present one"
        if reason and asked and method.kind not in INSIDE:
            log.warning("%s, %s: %s", subject, method.label, reason)
        makes = "" if content or method.kind != "variant" else without_folders(command(path), results.parent)
        yield Measured(subject, dataset, method, content, reason, asked, makes)


def all_measured(results: Path, sheet: Sheet, command: Command) -> list[Measured]:
    """List each method of a data set on every subject of it, in the order of the table; command makes a file."""
    found: dict[str, set[Method]] = {}
    for subject in sheet.subjects():
        folder, methods = results / subject, found.setdefault(sheet.dataset(subject), {OURS, TRACKED})
        methods.update(Method("baseline", name) for name in WORDS)
        methods.update(Method("variant", name) for name in made_variants(folder))
        methods.update(Method("external", name) for name in external_methods(folder))
        for sentence in no_methods(folder):
            log.warning("passed over: %s", sentence)
    ordered = {dataset: sorted(several, key=lambda method: method.place) for dataset, several in found.items()}
    subjects = sorted(sheet.subjects(), key=lambda subject: list(found).index(sheet.dataset(subject)))
    own = {subject: ordered[sheet.dataset(subject)] for subject in subjects}
    return [one for subject in subjects for one in measured(results, sheet, subject, own[subject], command)]


def groups_of(results: Path, one: Measured, labels: dict[str, dict[str, str]]) -> list[Cell]:
    """Score a method by the labels of the clips; none of those of which single frames are not kept."""
    if one.method.kind in INSIDE or not any(labels.values()):
        return []
    if not one.metrics:
        return missing_cells(one, labels, one.reason)
    name = "frames.parquet" if one.method.kind == "external" else "self.parquet"
    try:
        table = read_manifest(results / one.subject / folder_of(one.method) / name, "self")
        block = table.metadata["block"]
        clips = set(table["clip"].tolist())
        if not isinstance(block, int) and not (isinstance(block, dict) and clips <= set(block)):
            raise UserError(f"{name} does not say how many frames a second of its clips has; measure again")
    except UserError as error:
        log.warning("%s, %s: %s", one.subject, one.method.label, error)
        return missing_cells(one, labels, without_folders(str(error), results.absolute().parent))
    return group_cells(one, table, labels, block)


def labels_of(results: Path, sheet: Sheet, subject: str) -> dict[str, dict[str, str]]:
    """Read the labels of each clip that the subject is measured on from its decode.parquet."""
    found = {}
    for clip in sheet.of(subject, "test") or sheet.of(subject, "train"):
        path = results / subject / RULES["decode"].made(clip.clip)
        try:
            labels = read_manifest(path, "decode").metadata.get("labels") or {} if path.is_file() else {}
        except UserError as error:
            log.warning("%s, %s has no labels: %s", subject, clip.clip, error)
            labels = {}
        found[clip.clip] = {name: str(labels[name]) for name in GROUPS if name in labels}
    return found


def run(args: argparse.Namespace) -> None:
    """Compare what is there and write both tables."""
    sheet = read_sheet(args.subjects)
    if not sheet.subjects():
        raise UserError(f"{args.subjects} makes no avatar to compare; give a subject a clip of role 'train'")
    if not args.results.is_dir():
        raise UserError(f"the folder of results {args.results} does not exist; run the workflow first")
    found = all_measured(args.results, sheet, partial(snakemake_command, subjects=args.subjects, results=args.results))
    labels = {subject: labels_of(args.results, sheet, subject) for subject in sheet.subjects()}
    groups = [cell for one in found for cell in groups_of(args.results, one, labels[one.subject])]
    cells = [cell for one in found for cell in one.cells()] + groups
    columns = {name: [getattr(cell, name) for cell in cells] for name in Cell._fields}
    text = page(found, groups)
    with atomic_file(args.results / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_manifest(args.results / "table.parquet", "table", columns, {"definitions": DEFINITIONS})
    asked = [one for one in found if one.asked and one.method.kind not in INSIDE]
    made = Counter("measured" if one.metrics else "missing" for one in asked)
    log.info("%s: %d measured, %d missing", args.results / "table.md", made["measured"], made["missing"])


if __name__ == "__main__":
    main(build_parser(), run)
