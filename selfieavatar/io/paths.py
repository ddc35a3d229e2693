"""Lay out the folder of results: which rule makes which file, and where its log and its benchmark lie.

results/<subject>/
    source/demo-<seed>.mp4                      the procedural demo actor; footage stays where it is
    clips/<clip>/{frames,alpha,render,uv}/      numbered images of the clip, and a manifest of each stage
    identity.npz  avatar.pt  metrics.json ...   the subject's model, its avatar, and how good it is
    avatar.onnx  avatar.onnx.{json,npz} ...     the avatar for programs without torch
    variants/<variant>/                         the files of an ablation, as those of the avatar itself
    reenact/<subject>--<clip>.{mp4,parquet}     the avatar driven by a clip of the sheet
    external/<method>/                          images of another method, put there by hand, and their scores
    external/<method>/<subject>--<clip>/        its images of the frames that a driver's clip asks for
    logs/  benchmarks/  train/                  logs, times, and the state of trainings
results/.<subject>.lease                        who makes files of the subject at the moment
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMAGES = ("frames", "alpha", "render", "uv")  # folders of numbered images of a clip
VARIANTS, EXTERNAL, TRAIN, SELF = "variants", "external", "train", "self"
AVATAR, METRICS = "avatar.pt", "metrics.json"
EXPORT = ("avatar.onnx", "avatar.fp16.onnx", "avatar.onnx.npz", "avatar.onnx.json")

# What a rule makes one of for each subject -> folder of its files, name of its log and benchmark; {of} is the name of
# the one, empty for the subject (and for its own avatar, whose files lie in the subject's folder).
_SCOPES = {
    "subject": ("", "{rule}"),
    "seed": ("source/", "{rule}-{of}"),
    "clip": ("clips/{of}/", "{of}.{rule}"),
    "avatar": ("", "{rule}"),
    "driver": ("reenact/", "{of}.{rule}"),
    "method": (f"{EXTERNAL}/{{of}}/", "{of}.{rule}"),
}


@dataclass(frozen=True)
class Rule:
    """One rule of the workflow that makes files of a subject.

    Attributes:
        scope: what it runs for: the subject, a seed of the demo actor, a clip, an avatar (the subject's own or a
            variant), a driver, or an external method.
        outputs: files and folders that it makes, the first of which tells whether it has run.
        role: clips of this role the subject must have; empty if any will do.
        needed: the avatar's metrics depend on it.
        stage: the stage it belongs to, where that has another name.
        on_request: it runs where its file is asked for by name, and for nothing else.
    """

    name: str
    scope: str
    outputs: tuple[str, ...]
    role: str = ""
    needed: bool = True
    stage: str = ""
    on_request: bool = False

    def made(self, of: str = "") -> str:
        """Path of the first output, seen from the subject's folder."""
        folder = f"{VARIANTS}/{of}/" if of and self.scope == "avatar" else _SCOPES[self.scope][0]
        return f"{folder}{self.outputs[0]}".format(of=of)

    def log(self, of: str = "") -> str:
        """Path of the log, seen from the subject's folder."""
        return self._beside(of, "logs", ".log")

    def benchmark(self, of: str = "") -> str:
        """Path of Snakemake's benchmark, seen from the subject's folder."""
        return self._beside(of, "benchmarks", ".tsv")

    def _beside(self, of: str, folder: str, suffix: str) -> str:
        home = f"{VARIANTS}/{of}/" if of and self.scope == "avatar" else ""
        return f"{home}{folder}/{_SCOPES[self.scope][1].format(rule=self.name, of=of)}{suffix}"


# In the order of the data flow. A test compares this table with the rules.
RULES = {
    rule.name: rule
    for rule in (
        Rule("demo", "seed", ("demo-{of}.mp4", "demo-{of}.npz"), needed=False),
        Rule("decode", "clip", ("decode.parquet", "frames")),
        Rule("landmarks", "clip", ("landmarks.parquet",)),
        Rule("matting", "clip", ("matting.parquet", "alpha")),
        Rule("identity", "subject", ("identity.npz",)),
        Rule("fit", "clip", ("fit.parquet",)),
        Rule("render", "clip", ("render.parquet", "render", "uv")),
        Rule("overlay", "clip", ("contact.png", "overlay.mp4"), needed=False),
        Rule("tracking", "subject", ("tracking.html",), needed=False),
        Rule("capture", "subject", ("capture.html", "capture.json"), role="train", needed=False),
        Rule("samples", "subject", ("samples.parquet",), role="train"),
        Rule("test_samples", "subject", ("test_samples.parquet",), role="test", stage="samples"),
        Rule("train", "avatar", (AVATAR,), role="train"),
        Rule("evaluate", "avatar", (METRICS, "self.parquet", "self.mp4", SELF), role="train"),
        Rule("figures", "avatar", ("figures.html",), role="train", needed=False),
        Rule("export", "avatar", EXPORT, role="train", needed=False, on_request=True),
        Rule("reenact", "driver", ("{of}.mp4", "{of}.parquet"), needed=False, on_request=True),
        Rule("external", "method", (METRICS, "frames.parquet"), needed=False, on_request=True),
        Rule("paper", "subject", ("paper.html",), role="train", needed=False, on_request=True),
    )
}
STAGES = tuple(dict.fromkeys(rule.stage or rule.name for rule in RULES.values()))
AVATAR_FILES = tuple(rule.outputs[0] for rule in RULES.values() if rule.scope == "avatar" and not rule.on_request)


def targets(train: bool) -> tuple[str, ...]:
    """Name the files that a run makes of each subject without being asked; train: it has clips to train on."""
    return ("capture.html", *AVATAR_FILES, "tracking.html") if train else ("tracking.html",)


def avatar_folders(results: Path) -> Iterator[Path]:
    """Yield the folders of all subjects of the results and of their variants."""
    yield from sorted(path for pattern in ("*", f"*/{VARIANTS}/*") for path in results.glob(pattern))
