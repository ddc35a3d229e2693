"""Answer what the rules of the workflow ask: of which files a job is made, with which settings, on how many cores.

The rules make one `Wiring`, whose methods are their input, params and resource functions or make those. An error that
the user can fix is a UserError; Snakemake prints its sentence.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from snakemake.io import directory, local, temp
from snakemake.logging import logger

from selfieavatar.errors import UserError
from selfieavatar.interop.datasets.mead import clip_labels
from selfieavatar.io.files import beside, expand
from selfieavatar.io.paths import AVATAR, AVATAR_FILES, VARIANTS, targets
from selfieavatar.morphable.coefficient_files import check_coefficients
from selfieavatar.settings.assets import given_file, measuring_files, needed_files
from selfieavatar.settings.clip_sheet import Clip, read_sheet
from selfieavatar.settings.config import (
    PATHS,
    ROOT,
    canonical_json,
    check_config,
    read_section,
    variant_names,
)
from selfieavatar.settings.device import visible_gpus
from selfieavatar.settings.marking_section import Marking
from selfieavatar.settings.packaged import packaged_file
from selfieavatar.settings.sections import Storage
from selfieavatar.settings.typed_paths import why_missing
from selfieavatar.workflow.adapted_snakemake import adapt_snakemake
from selfieavatar.workflow.command import sheet_path
from selfieavatar.workflow.given_settings import Settings, settings_given
from selfieavatar.workflow.input_folders import as_input
from selfieavatar.workflow.run_lock import hold_run

Ask = Callable[[Any], Any]  # of Snakemake's wildcards
NOWHERE = "beside the demo actor"  # who brings nothing
warn = cache(logger.warning)  # once: input functions are asked several times


class Wiring:
    """Answer the rules from the configuration, the sheet of clips and the machine.

    Args:
        workflow: Snakemake's own, for the command line and the machine.
        config: the configuration, or that of the Snakefile that uses this one as a module.

    Raises:
        UserError: the configuration, the sheet or a file that these name cannot be used.
    """

    def __init__(self, workflow: Any, config: Mapping[str, Any]) -> None:
        self.workflow = workflow
        if workflow.is_main_process:
            hold_run(Path(".snakemake"))
            adapt_snakemake()
        self.config, overlay = settings_given(workflow, config)
        check_config(
            self.config, "the configuration (config/config.yaml, --configfile, or --config subjects=... results=...)"
        )
        self.results = expand(self.config.get("results", PATHS["results"]))
        self.sheet_file = sheet_path(self.config.get("subjects", PATHS["subjects"]))
        self.sheet = read_sheet(self.sheet_file)
        self._settings = Settings(self.config, overlay)
        for preset in dict.fromkeys(map(self.sheet.preset, self.sheet.everybody())):
            self._settings.check(preset)

    # Settings

    def section(self, stage: str, subject: str, variant: str = "") -> Any:
        """Layer and validate a stage's settings: config.yaml, the subject's preset, the command line, the variant."""
        return self._settings.section(stage, self.sheet.preset(subject), variant)

    def settings(self, stage: str) -> Ask:
        """Give params the stage's settings as one canonical JSON string, since Snakemake compares strings reliably."""

        def of_wildcards(wildcards: Any) -> str:
            variant = self.variant(wildcards)
            if variant:
                self._settings.check(self.sheet.preset(wildcards.subject), variant)
            return canonical_json(self.section(stage, wildcards.subject, variant))

        return of_wildcards

    def variant(self, wildcards: Any) -> str:
        """Name the variant (config/variants) that the wildcards ask for; empty for the avatar itself."""
        return wildcards.get("variant", "").removeprefix(f"/{VARIANTS}/")

    def avatar_labels(self, shows: str) -> Ask:
        """Label a file in the report: which avatar of a subject, and what it shows."""
        return lambda wildcards: {"avatar": self.variant(wildcards) or "the avatar", "shows": shows}

    def driver_labels(self, shows: str) -> Ask:
        """Label a video in the report: which avatar of a subject, by whom it is driven, and what it shows."""
        return lambda wildcards: {"driver": wildcards.driver} | self.avatar_labels(shows)(wildcards)

    def weights(self, stage: str) -> Ask:
        """Give the published weights that the stage's settings ask for; the rule `asset` downloads them."""

        def files(wildcards: Any) -> list[str]:
            section = self.section(stage, wildcards.subject, self.variant(wildcards))
            return [local(str(path)) for path in needed_files(section)]

        return files

    def weights_there(self, wildcards: Any) -> list[str]:
        """Give the published weights that measuring finds; a new one measures again, none is downloaded."""
        section = self.section("evaluate", wildcards.subject, self.variant(wildcards))
        return [local(str(path)) for path in measuring_files(section)]

    @property
    def storage(self) -> Storage:
        """What stays on the disk."""
        return read_section(Storage, self.config.get("storage") or {}, "storage")

    @property
    def marking(self) -> str:
        """Write how an avatar's images are marked, as arguments of a stage."""
        marking = read_section(Marking, self.config.get("marking") or {}, "marking")
        key = f"--signing-key {shlex.quote(str(expand(marking.key).absolute()))}" if marking.key else ""
        return " ".join(filter(None, ("" if marking.label else "--no-label", key)))

    def image_folder(self, path: str) -> Any:
        """Mark a folder of images, which Snakemake removes after its last use if storage.keep_pictures is false."""
        return directory(path) if self.storage.keep_pictures else temp(directory(path))

    # Clips of the sheet

    def names(self, which: str) -> Ask:
        """Give the names of `Sheet.names`, separated by spaces."""
        return lambda wildcards: " ".join(self.sheet.names(wildcards.subject, which))

    def roles(self, which: str) -> Ask:
        """Give the roles of `Sheet.names`, separated by spaces."""
        return lambda wildcards: " ".join(
            self.sheet.clip(wildcards.subject, name).role for name in self.sheet.names(wildcards.subject, which)
        )

    def clips(self, file: str, which: str) -> Ask:
        """Give `file` of each of `Sheet.names`."""
        return lambda wildcards: [
            f"<results>/{wildcards.subject}/clips/{name}/{file}" for name in self.sheet.names(wildcards.subject, which)
        ]

    def consent(self, wildcards: Any) -> str:
        """Write on what basis the subject is made into an avatar; all that its clips to train on state."""
        clips = self.sheet.of(wildcards.subject, "train")
        return "+".join(dict.fromkeys(clip.consent for clip in clips))

    def driver(self, file: str) -> Ask:
        """Give `file` of the clip that drives ({clip} is its folder), or of its subject."""

        def path(wildcards: Any) -> str:
            clip = self.sheet.driver(wildcards.driver)
            return f"<results>/{clip.subject}/{file.format(clip=f'clips/{clip.clip}')}"

        return path

    def measured_samples(self, wildcards: Any) -> str | list[str]:
        """Give the list of frames to measure, of a subject with clips to test on."""
        return "<subject>/test_samples.parquet" if self.sheet.to_test(wildcards.subject) else []

    def trained_ranges(self, wildcards: Any) -> str:
        """Write, of each clip to test on, the ranges of its source that are trained on, as JSON."""
        return canonical_json(self.sheet.trained_beside(wildcards.subject))

    def role_of_samples(self, wildcards: Any) -> str:
        """Tell whether the list of frames to train on holds out some to measure."""
        return "train" if self.sheet.to_test(wildcards.subject) else "holdout"

    def held_out(self, wildcards: Any) -> str:
        """Write --holdout and --gap-s, the share to measure on, of a subject without a clip to test on."""
        if self.sheet.to_test(wildcards.subject) or not self.sheet.of(wildcards.subject, "train"):
            return ""
        samples = self.section("samples", wildcards.subject)
        return f"--holdout {samples.holdout} --gap-s {samples.gap_s}"

    def only_trained(self, wildcards: Any) -> str:
        """Write --only for the one clip that a subject has to train on: two have two frames, however short they are."""
        trained = self.sheet.of(wildcards.subject, "train")
        return "--only" if [clip.clip for clip in trained] == [wildcards.clip] else ""

    def held_out_of(self, wildcards: Any) -> list[str]:
        """Find the sources of all clips to train on, of a subject of whose frames a share is held out."""
        if not self.held_out(wildcards):
            return []
        return [self._source(clip) for clip in self.sheet.of(wildcards.subject, "train")]

    def train_clips(self, wildcards: Any, sources: list[str]) -> str:
        """Write [source, start, end] of the clips that `held_out_of` has found, as JSON."""
        clips = self.sheet.of(wildcards.subject, "train") if sources else []
        return canonical_json(
            [[source, clip.start_frame, clip.end_frame] for source, clip in zip(sources, clips, strict=True)]
        )

    def for_identity(self, files: Any) -> Any:
        """Pass on `files`, a path or an input function, if painted faces are to be compared with the person; else none.

        For VGGFace2's network, which the user brought, always; for the one that is always there only as long as images
        stay, since it is not worth tracking clips again.
        """
        given, packaged = given_file("resnet50_vggface2").is_file(), packaged_file("dlib_face") is not None
        return files if given or (packaged and self.storage.keep_pictures) else []

    # One clip's source, and what a data set brings along beside it. What is missing or damaged there is warned of, and
    # refused by the stage that needs it: other subjects are made all the same. All that people bring is on this machine
    # (`local`), also where results are kept in an object store (docs/cluster.md).

    def _clip(self, wildcards: Any) -> Clip:
        return self.sheet.clip(wildcards.subject, wildcards.clip)

    def source(self, wildcards: Any) -> str:
        """Find the clip's footage, or the demo actor's video, which a rule makes.

        Raises:
            UserError: the footage is missing; names the row, which Snakemake would not.
        """
        return self._source(self._clip(wildcards))

    def _source(self, clip: Clip) -> str:
        if clip.demo_seed is not None:
            return f"<results>/{clip.subject}/source/demo-{clip.demo_seed}.mp4"
        path = expand(clip.source)
        if not path.exists():
            others = {one.source for one in self.sheet.clips if one.lacks_footage()} - {clip.source}
            more = f"; nor do {len(others)} more: {', '.join(sorted(others)[:20])}" if others else ""
            where = "" if path.is_absolute() else f" in the working directory {path.absolute().parent}"
            raise UserError(
                f"{self.sheet_file}: the source '{clip.source}' of subject '{clip.subject}', clip '{clip.clip}' does "
                f"not exist{where}{why_missing(clip.source)}{more}; fix the path"
            )
        return as_input(str(path))

    def frame_range(self, wildcards: Any) -> str:
        """Write --start and --end of a clip, as far as the sheet has them."""
        clip = self._clip(wildcards)
        ends = {"--start": clip.start_frame, "--end": clip.end_frame}
        return " ".join(f"{name} {value}" for name, value in ends.items() if value is not None)

    def crop_ranges(self, wildcards: Any) -> str:
        """Write the frame ranges that decide the crop of the clip's source, as JSON."""
        return canonical_json(self.sheet.ranges(wildcards.subject, self._clip(wildcards).source))

    def labels(self, wildcards: Any) -> str:
        """Write what the name of a clip of MEAD says that it shows, as JSON; metrics can be grouped by it."""
        clip = self._clip(wildcards)
        return canonical_json(clip_labels(clip.clip) if clip.dataset == "mead" else {})

    def masks_folder(self, wildcards: Any) -> str | list[str]:
        """Tell where the masks of the clip belong, if the matting takes them from there."""
        matting = self.section("matting", wildcards.subject)
        return _beside(self._clip(wildcards), matting.masks) if matting.method == "given" else []

    def given_masks(self, wildcards: Any) -> str | list[str]:
        """Find `masks_folder`; warn if it is missing."""
        folder = self.masks_folder(wildcards)
        if not isinstance(folder, str):
            return folder
        if Path(folder).is_dir():
            return as_input(folder)
        name = f"subject '{wildcards.subject}', clip '{wildcards.clip}'"
        warn(f"{name} has no folder of masks {folder}: matting will fail")
        return []

    def coefficients(self, wildcards: Any) -> list[str]:
        """Tell where fitted coefficients of others belong, of the clip or of all that the identity is learnt from."""
        name = self.section("fit", wildcards.subject).coefficients
        return [_beside(clip, name) for clip in self._fitted(wildcards)] if name else []

    def coefficients_there(self, wildcards: Any) -> list[str]:
        """Find those of `coefficients` that are there; warn of the others."""
        fit, found = self.section("fit", wildcards.subject), self.coefficients(wildcards)
        for clip, path in zip(self._fitted(wildcards), found, strict=False):
            try:
                check_coefficients(Path(path), fit.model, expand(fit.model_path), expand(clip.source))
            except UserError as error:
                warn(f"subject '{clip.subject}', clip '{clip.clip}' will fail: {error}")
        return [as_input(path) for path in found if Path(path).exists()]

    def _fitted(self, wildcards: Any) -> list[Clip]:
        if "clip" in wildcards.keys():
            return [self._clip(wildcards)]
        subject = wildcards.subject
        return [self.sheet.clip(subject, name) for name in self.sheet.names(subject, "identity")]

    def face_model(self, wildcards: Any) -> str | list[str]:
        """Find the file or folder of the published face model; nothing for the personal one."""
        fit = self.section("fit", wildcards.subject)
        if fit.model == "facemesh":
            return []
        path = expand(fit.model_path)
        if not path.exists():
            raise UserError(
                f"fit.model_path {path.absolute()} does not exist; see docs/models.md for where models come from"
            )
        return as_input(str(path))

    def imported_model(self, wildcards: Any) -> str | list[str]:
        """Find the face model again for the rule fit, where coefficients are taken as they are."""
        return self.face_model(wildcards) if self.section("fit", wildcards.subject).coefficients else []

    def start_from(self, wildcards: Any) -> str | list[str]:
        """Find the avatar that a training starts from; nothing for a variant, and for that avatar itself."""
        subject: str = wildcards.subject
        first = path = self._start_of(subject)
        if first is None or self.variant(wildcards):
            return []
        made = self._avatars
        asked = [subject]
        while path is not None and (other := made.get(path.resolve())) and other != asked[-1]:
            if other in asked:
                circle = " from ".join([*asked[asked.index(other) :], other])
                raise UserError(f"train.start_from goes in a circle: {circle}; leave it empty for one of them")
            asked.append(other)
            path = self._start_of(other)
        if other := made.get(first.resolve()):
            return [] if other == subject else f"<results>/{other}/{AVATAR}"
        if not first.is_file():
            raise UserError(f"train.start_from {first.absolute()} does not exist; name an avatar.pt, or leave it empty")
        return local(str(first))

    @cached_property
    def _avatars(self) -> dict[Path, str]:
        return {(self.results / one / AVATAR).resolve(): one for one in self.sheet.subjects()}

    def _start_of(self, subject: str) -> Path | None:
        name = self.section("train", subject).start_from
        return expand(name) if name else None

    # The machine or cluster

    @cached_property
    def _gpus(self) -> list[str]:
        return visible_gpus()  # once for all jobs: it may start a program

    def gpu(self, wildcards: Any) -> int:
        """Count the GPUs of a job that can use one: none on a machine without, else one, as on clusters."""
        return 1 if self._gpus or not self.workflow.local_exec else 0

    def photometric_gpu(self, wildcards: Any) -> int:
        """Ask for a GPU where the fit may refine on the images, for none where landmarks and light suffice."""
        asked = self.section("fit", wildcards.subject).photometric in ("auto", "full")
        return self.gpu(wildcards) if asked else 0

    def training_threads(self, wildcards: Any) -> int:
        """Share out cores to a training: all on the CPU; with GPUs one share for each and one for other jobs."""
        workflow = self.workflow
        if not workflow.local_exec:
            return 8  # of a node that is not known yet; --set-threads train=N asks for others
        if not workflow.is_main_process or not self.gpu(wildcards):
            return workflow.cores
        given = workflow.global_resources.get("gpu")
        gpus = len(self._gpus) if given is None else given.value
        return max(workflow.cores // (gpus + 1), min(workflow.cores, 4))

    # Beginning and end of a run

    def all_targets(self) -> list[str]:
        """List what the sheet asks for: each subject's avatar, measured, with its pages, and the table of results."""
        trained = self.sheet.subjects()
        files = {subject: targets(train=subject in trained) for subject in self.sheet.everybody()}
        asked = [f"<results>/{subject}/{name}" for subject, names in files.items() for name in names]
        return asked + (["<results>/table.md"] if trained else [])

    def variant_targets(self) -> list[str]:
        """List every variant of every avatar of the sheet, measured."""
        folders = [f"<results>/{name}/{VARIANTS}/{one}" for name in self.sheet.subjects() for one in variant_names()]
        return [f"{folder}/{file}" for folder in folders for file in AVATAR_FILES]

    def summarize(self, failed: bool) -> None:
        """Write results/summary.* and print them, each in a process of its own: the run ends as it would without."""
        jobs = self.workflow.dag.jobs
        asked = [str(file) for job in jobs if "subject" in job.wildcards_dict for file in job.output]
        if not asked:
            return  # published weights alone
        if failed and any(job.rule.name == "compare" for job in jobs):
            self._call("stages.compare")  # the rule waits for all; this is the table of those that could be measured
        self._call("stages.summary", "--after-run", said="\n".join(asked))

    def _call(self, module: str, *options: str, said: str = "") -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", module, *options, "--subjects", str(self.sheet_file)]
        command += ["--results", str(self.results)]
        subprocess.run(command, input=said, text=True, env=os.environ | {"PYTHONPATH": path}, check=False)


def _beside(clip: Clip, name: str) -> str:
    return NOWHERE if clip.demo_seed is not None else str(beside(expand(clip.source), name))
