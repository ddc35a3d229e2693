"""Answer what the rules ask about what stands beside an avatar: its variants, others' methods and drivers.

One `Comparison` answers for the table of results and for the pages of the paper; the rest is in `wiring`.
"""

from __future__ import annotations

import sys
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from snakemake.io import local
from snakemake.logging import logger

from selfieavatar.io.paths import AVATAR, EXTERNAL, METRICS, VARIANTS
from selfieavatar.settings.clip_sheet import Clip
from selfieavatar.settings.config import SAME_IMAGES, SAME_MINUTES, VARIANT_STAGES, canonical_json, variant_names
from selfieavatar.settings.methods import external_methods, made_variants, method_files, no_methods
from selfieavatar.workflow.wiring import Ask, Wiring

BEST_TO_DRIVE = ("drive", "test", "train")  # roles of clips, the first to be shown first


class Comparison:
    """Answer the rules that measure, compare and show several avatars or methods."""

    def __init__(self, wiring: Wiring) -> None:
        self._wf, self._workflow = wiring, wiring.workflow
        self._variants_rule = self._workflow.modifier.modify_rulename("variants")

    # The table of results

    def table_variants(self, subject: str) -> list[str]:
        """Name the variants that have been made, and those that this run is asked to make."""
        asked, folder = self._workflow.dag_settings.targets, self._wf.results / subject
        made = made_variants(folder)

        def is_asked(name: str) -> bool:
            mine = f"{folder}/{VARIANTS}/{name}/"
            return self._variants_rule in asked or any(target.startswith(mine) for target in asked)

        return [name for name in variant_names() if name in made or is_asked(name)]

    def table_metrics(self, wildcards: Any) -> list[str]:
        """Give metrics.json of every avatar of the sheet, its variants, and others' methods."""
        folders = []
        for subject in self._wf.sheet.subjects():
            folders.append(subject)
            folders += [f"{subject}/{VARIANTS}/{name}" for name in self.table_variants(subject)]
            folders += [f"{subject}/{EXTERNAL}/{name}" for name in external_methods(self._wf.results / subject)]
            for sentence in no_methods(self._wf.results / subject):
                logger.warning(f"passed over: {sentence}")
        asked = set(self._workflow.dag_settings.targets)
        # `make report` asks for the table and each that could be measured by name.
        if "--report" in sys.argv and str(self._wf.results / "table.md") in asked:
            folders = [name for name in folders if str(self._wf.results / name / METRICS) in asked]
        return [f"<results>/{folder}/{METRICS}" for folder in folders]

    def datasets(self, wildcards: Any) -> str:
        """Write the data set that each avatar is measured on, as JSON."""
        return canonical_json({name: self._wf.sheet.dataset(name) for name in self._wf.sheet.subjects()})

    # The methods of others

    def _method_files(self, wildcards: Any) -> tuple[list[Path], list[str]]:
        return method_files(self._wf.results / wildcards.subject / EXTERNAL / wildcards.method)

    def method_images(self, wildcards: Any) -> list[str]:
        """List the images of an external method, so that a changed or added one is measured again."""
        return [local(str(path)) for path in self._method_files(wildcards)[0]]

    def method_others(self, wildcards: Any) -> str:
        """List what else lies there, as JSON; the stage refuses it."""
        return canonical_json(self._method_files(wildcards)[1])

    # The paper of one subject

    def counted(self, wildcards: Any) -> str | list[str]:
        """Give the avatar whose images or minutes a variant is trained for, if its name says so."""
        same = self._wf.variant(wildcards).endswith((SAME_IMAGES, SAME_MINUTES))
        return f"<results>/{wildcards.subject}/{AVATAR}" if same else []

    def budget(self, wildcards: Any) -> str:
        """Tell which of both ends the training of a variant that `counted` gives an avatar for."""
        return "minutes" if self._wf.variant(wildcards).endswith(SAME_MINUTES) else "images"

    def alike(self, wildcards: Any) -> list[str]:
        """Name the variants of the paper whose settings are the avatar's own, or those of a variant before them.

        So it is without a loss that the avatar lacks, too. As name=other, where other is empty for the avatar itself.
        """
        seen = [("", self._settings_of(wildcards.subject))]
        found = []
        for name in self._wf.section("paper", wildcards.subject).variants:
            mine = self._settings_of(wildcards.subject, name)
            same = [other for other, settings in seen if settings == mine]
            if same:
                found.append(f"{name}={same[0]}")
            seen.append((name, mine))
        return found

    def _settings_of(self, subject: str, variant: str = "") -> list[Any]:
        return [self._wf.section(stage, subject, variant) for stage in VARIANT_STAGES]

    def variants(self, wildcards: Any) -> list[str]:
        """Name the variants of the paper but for `alike`, then those trained by the budget that is not the avatar's."""
        paper = self._wf.section("paper", wildcards.subject)
        alike = [pair.partition("=")[0] for pair in self.alike(wildcards)]
        names = [name for name in paper.variants if name not in alike]
        other = SAME_IMAGES if self._wf.section("train", wildcards.subject).minutes else SAME_MINUTES
        return names + [f"{name}{other}" for name in names if paper.both_budgets]

    def methods(self, wildcards: Any) -> list[str]:
        """Name the methods of others whose images of the subject are there."""
        return external_methods(self._wf.results / wildcards.subject)

    def drivers(self, wildcards: Any) -> list[str]:
        """Name clips of others that drive the avatar: one of each subject of the sheet, then a second of each.

        Those that lack their footage, or were tracked by other landmarks, are passed over, as are the procedural actors
        of the demo where the avatar is a person's.
        """
        sheet, subject = self._wf.sheet, wildcards.subject
        real = sheet.dataset(subject) != "demo"
        detector = self._wf.section("landmarks", subject).detector
        others = [name for name in sheet.everybody() if name != subject]
        others = [name for name in others if self._wf.section("landmarks", name).detector == detector]
        rows: list[list[Clip]] = [
            [
                clip
                for role in BEST_TO_DRIVE
                for clip in sheet.of(name, role)
                if not clip.lacks_footage() and not (real and clip.dataset == "demo")
            ]
            for name in others
        ]
        taken = [clip for clip in chain.from_iterable(zip_longest(*rows)) if clip is not None]
        return [f"{clip.subject}--{clip.clip}" for clip in taken[: self._wf.section("paper", subject).drivers]]

    def avatars(self, file: str) -> Ask:
        """Give `file` of the avatar and of the variants of the paper."""
        return lambda wildcards: [
            f"<results>/{wildcards.subject}/{folder}{file}"
            for folder in ("", *(f"{VARIANTS}/{name}/" for name in self.variants(wildcards)))
        ]

    def external(self, file: str) -> Ask:
        """Give `file` of each method of others."""
        return lambda wildcards: [
            f"<results>/{wildcards.subject}/{EXTERNAL}/{name}/{file}" for name in self.methods(wildcards)
        ]

    def reenacted(self, wildcards: Any) -> list[str]:
        """Give the table of coefficients of each of `drivers`."""
        return [f"<results>/{wildcards.subject}/reenact/{name}.parquet" for name in self.drivers(wildcards)]

    def driver_frames(self, wildcards: Any) -> list[str]:
        """Give the folder of the frames of each of `drivers`."""
        clips = [self._wf.sheet.driver(name) for name in self.drivers(wildcards)]
        return [f"<results>/{clip.subject}/clips/{clip.clip}/frames" for clip in clips]

    def listed(self, names: Ask) -> Ask:
        """Write the names that `names` gives, separated by spaces."""
        return lambda wildcards: " ".join(names(wildcards))
