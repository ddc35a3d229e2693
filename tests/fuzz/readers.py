"""Everything that reads files of others, each with small whole files to damage."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import specimens
from tests.fuzz.mutations import damage_json, damage_zip
from tests.fuzz.pages import check_page

Inner = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Reader:
    """A reader of others' files.

    Attributes:
        make: writes specimens, each a folder below the given one.
        read: reads the entry of a specimen.
        entry: pattern of the entry in the specimen's folder; "." is the folder.
        damaged: pattern of the files that are damaged, one at a time.
        inner: what damages the inside of files, by ending.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    entry: str = "*"
    damaged: str = "**/*"
    inner: dict[str, Inner] = field(default_factory=dict)


def read_video(path: Path) -> None:
    from selfieavatar.video.reader import open_source

    source = open_source(path)
    for _ in source.read(range(min(source.count, 200))):
        pass


def read_image(path: Path) -> None:
    from selfieavatar.io.foreign_image import read_foreign

    read_foreign(path, path.name)


def read_masks(path: Path) -> None:
    import pyarrow as pa

    from selfieavatar.io.manifest import Manifest
    from stages.matting import PrecomputedMasks

    numbers = np.arange(sum(1 for _ in path.iterdir()))
    facts = {"crop_px": [0.0, 0.0, 48.0], "source_size": [48, 48]}
    decode = Manifest("decode", pa.table({"source_frame": numbers}), facts)
    masks = PrecomputedMasks(path, decode, path / "none.mp4")
    for number in numbers.tolist():
        masks(number, 32)


def read_sheet(path: Path) -> None:
    from selfieavatar.settings import clip_sheet

    for clip in clip_sheet.read_sheet(path).clips:
        str(clip)


def read_config(path: Path) -> None:
    import yaml

    from selfieavatar.errors import UserError
    from selfieavatar.settings.config import check_config

    try:  # Snakemake reads --configfile so
        values = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, TypeError, LookupError) as error:
        raise UserError("Snakemake refuses it") from error
    if isinstance(values, dict):
        check_config(values, path.name)


def read_manifest(path: Path) -> None:
    from selfieavatar.io.manifest import read_manifest

    manifest = read_manifest(path, path.stem)
    for name in manifest.table.column_names:
        manifest[name]


def run_samples(path: Path) -> None:
    """The stage that reads all manifests of a clip."""
    from selfieavatar.settings.sections import Samples
    from stages import samples

    words = [word for kind in samples.KINDS for word in (f"--{kind}", str(path / f"{kind}.parquet"))]
    line = ["--subject", "x", "--clips", "a", "--role", "train", "--out", str(path / "out.parquet"), "--trained", "{}"]
    args = samples.build_parser().parse_args(line + words)
    args.settings = Samples()
    samples.run(args)


def run_summary(path: Path) -> None:
    """The page and the table of a batch."""
    from stages import summary

    line = ["--subjects", str(path / "sheet.tsv"), "--results", str(path / "results")]
    summary.run(summary.build_parser().parse_args(line))
    check_page(path / "results/summary.html")


def read_identity(path: Path) -> None:
    from selfieavatar.identity import Identity

    Identity.load(path)


def read_avatar(path: Path) -> None:
    from selfieavatar.avatar import Avatar

    avatar = Avatar.load(path)
    avatar.identity.to_arrays()


def read_start(path: Path) -> None:
    from selfieavatar.training.start import read_start
    from tests.live.avatars import SIZE
    from tests.training.makers import settings

    read_start(path, settings(), SIZE, "facemesh")


def read_export(path: Path) -> None:
    from selfieavatar.runtime.exported_avatar import ExportedAvatar

    ExportedAvatar.load(path)


def reader_of_model(name: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from selfieavatar.morphable.published import load_model

        packed = path / "model.npz"
        load_model(name, packed if packed.is_file() else path)

    return read


def reader_of_coefficients(model: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from selfieavatar.morphable.coefficient_files import read_coefficients

        read_coefficients(path, model)

    return read


def read_dlib(path: Path) -> None:
    from selfieavatar.io.dlib_file import read_dlib_layers

    read_dlib_layers(path)


def ingest_mead(path: Path) -> None:
    from tools import ingest

    line = ["mead", str(path), "--consent", "licence", "--out", str(path / "sheet.tsv"), "--unpack", str(path / "out")]
    ingest.run(ingest.build_parser().parse_args(line))


def ingest_imavatar(path: Path) -> None:
    from tools import ingest

    line = ["imavatar", str(path / "data"), "--consent", "licence", "--out", str(path / "sheet.tsv"), "--train", "one"]
    ingest.run(ingest.build_parser().parse_args(line))


def read_marks(path: Path) -> None:
    from selfieavatar.marking.reading import read_marks

    read_marks(path)


ZIP, JSON, TABLE = damage_zip, damage_json, specimens.damage_parquet

FILE_READERS = {
    "video": Reader(specimens.make_videos, read_video),
    "image": Reader(specimens.make_folders, read_image),
    "image folder": Reader(specimens.make_folders, read_video, entry="."),
    "masks": Reader(specimens.make_folders, read_masks, entry="."),
    "sheet": Reader(specimens.make_sheets, read_sheet),
    "configuration": Reader(specimens.make_configs, read_config, inner={".yaml": specimens.damage_yaml}),
    "manifest": Reader(specimens.make_single_manifests, read_manifest, inner={".parquet": TABLE}),
    "manifests, stage samples": Reader(specimens.make_manifests, run_samples, entry=".", inner={".parquet": TABLE}),
    "results, stage summary": Reader(
        specimens.make_subject, run_summary, entry=".", inner={".json": JSON, ".parquet": TABLE}
    ),
    "identity.npz": Reader(specimens.make_identities, read_identity, inner={".npz": ZIP}),
    "avatar.pt": Reader(specimens.make_avatars, read_avatar, inner={".pt": specimens.damage_avatar}),
    "avatar.pt to start from": Reader(specimens.make_avatars, read_start, inner={".pt": specimens.damage_avatar}),
    "avatar.onnx": Reader(specimens.make_exports, read_export, entry="avatar.onnx", inner={".json": JSON, ".npz": ZIP}),
    "coefficients, FLAME": Reader(specimens.make_flame_params, reader_of_coefficients("flame"), inner={".json": JSON}),
    "coefficients, FaceVerse": Reader(specimens.make_faceverse_rows, reader_of_coefficients("faceverse")),
    "coefficients, FaceVerse, a folder": Reader(specimens.make_faceverse_folders, reader_of_coefficients("faceverse")),
    "model, FLAME": Reader(specimens.make_flame, reader_of_model("flame"), entry="."),
    "model, FaceVerse": Reader(specimens.make_faceverse, reader_of_model("faceverse")),
    "model, BFM": Reader(specimens.make_bfm, reader_of_model("bfm"), entry="."),
    "model, ICT": Reader(specimens.make_ict, reader_of_model("ict"), entry=".", inner={".npz": ZIP}),
    "dlib network": Reader(specimens.make_dlib, read_dlib),
    "MEAD, tar": Reader(specimens.make_tars, ingest_mead, entry=".", damaged="*.tar"),
    "IMAvatar": Reader(specimens.make_imavatar, ingest_imavatar, entry=".", inner={".json": JSON}),
    "marks": Reader(specimens.make_marked, read_marks),
}
