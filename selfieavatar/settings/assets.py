"""Find weights that others publish: where they come from, what they must hash to, and where they lie.

Nothing is bundled and nothing is fetched silently: the workflow's rule `asset` downloads on request, once, into
resources/assets (or the folder named by SELFIEAVATAR_ASSETS), and every use verifies the file. What packages bring is
found by `packaged`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.settings.sections import Evaluate, Landmarks, Matting, Section
from selfieavatar.settings.train_section import Train

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Asset:
    """A published file; `sha256` is its whole digest.

    torchvision, torch-fidelity and face-alignment publish the first digits in the file's name; the others are those
    that several projects name for it.
    """

    file: str
    url: str
    sha256: str
    licence: str


_TORCHVISION = "https://download.pytorch.org/models/"
_FACE_ALIGNMENT = "https://www.adrianbulat.com/downloads/python-fan/"

ASSETS: dict[str, Asset] = {
    "vgg19_imagenet": Asset(
        "vgg19-dcbb9e9d.pth",
        f"{_TORCHVISION}vgg19-dcbb9e9d.pth",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        "BSD-3-Clause",
    ),
    "resnet50_imagenet": Asset(
        "resnet50-0676ba61.pth",
        f"{_TORCHVISION}resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        "BSD-3-Clause",
    ),
    "alexnet_imagenet": Asset(
        "alexnet-owt-7be5be79.pth",
        f"{_TORCHVISION}alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "BSD-3-Clause",
    ),
    "inception_fid": Asset(
        "weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "Apache-2.0",
    ),
    "rvm_mobilenetv3_fp32": Asset(
        "rvm_mobilenetv3_fp32.onnx",
        "https://github.com/PeterL1n/RobustVideoMatting/releases/download/v1.0.0/rvm_mobilenetv3_fp32.onnx",
        "88d4531297118f595bf2fd60f6f566aec2e559393802d1f436c380f0cbbd2828",
        "GPL-3.0",
    ),
    "face_alignment_2d": Asset(
        "2DFAN4-11f355bf06.pth.tar",
        f"{_FACE_ALIGNMENT}2DFAN4-11f355bf06.pth.tar",
        "11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
        "BSD-3-Clause",
    ),
    "face_alignment_sfd": Asset(
        "s3fd-619a316812.pth",
        f"{_FACE_ALIGNMENT}s3fd-619a316812.pth",
        "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        "BSD-3-Clause",
    ),
}

# The files of ICT-FaceKit light at one commit of its repository, as `sha256sum` lists them.
_ICT = "https://raw.githubusercontent.com/ICT-VGL/ICT-FaceKit/da5f95a607f5e6b37755b38d3385d7f2853732e5/"
ICT_FACEKIT = {
    f"ict_facekit/{file}": Asset(f"ict_facekit/{file}", _ICT + file, sha256, "MIT")
    for sha256, file in map(str.split, Path(__file__).with_name("ict_facekit.sha256").read_text().splitlines())
}
ASSETS |= ICT_FACEKIT

# Files that only their publisher may hand out: name -> file in the folder of assets, where they come from.
GIVEN = {
    "resnet50_vggface2": (
        "resnet50_ft_weight.pkl",
        "the ResNet50 of VGGFace2 (Cao et al. 2018) as a pickle of NumPy arrays, whose terms you must accept",
    )
}

# Assets that metrics are measured with where they are there; without them the metrics are null.
MEASURED_WITH = ("alexnet_imagenet", "inception_fid")


def measuring_files(settings: Evaluate) -> list[Path]:
    """List the weights that are there and that measuring takes with these settings."""
    if not settings.network_metrics:
        return []
    files = [*(asset_folder() / ASSETS[name].file for name in MEASURED_WITH), given_file("resnet50_vggface2")]
    return [path for path in files if path.is_file()]


def needed_files(settings: Section) -> list[Path]:
    """List the assets that a stage needs with these settings, downloaded or not; none for a loss of weight 0."""
    names, given = [], []
    match settings:
        case Landmarks(detector="face_alignment"):
            names = ["face_alignment_2d", "face_alignment_sfd"]
        case Matting(method="rvm"):
            names = ["rvm_mobilenetv3_fp32"]
        case Train():
            published = settings.backbone_weights == "imagenet"
            compared_by = settings.cos_network if settings.weight_cos > 0 else ""
            names += ["vgg19_imagenet"] if published and settings.weight_mrf > 0 else []
            names += ["resnet50_imagenet"] if published and compared_by == "resnet50" else []
            given += [given_path("resnet50_vggface2")] if compared_by == "vggface2" else []
    return [*given, *(asset_folder() / ASSETS[name].file for name in names)]


def asset_folder() -> Path:
    """Name the folder of the downloaded files."""
    return Path(os.environ.get("SELFIEAVATAR_ASSETS") or ROOT / "resources" / "assets")


def asset_path(name: str) -> Path:
    """Find a downloaded asset and verify it.

    Raises:
        UserError: the file is not there, or is not what its publisher published; says what to do.
    """
    asset = ASSETS[name]
    path = asset_folder() / asset.file
    if not path.is_file():
        raise UserError(
            f"the weights '{name}' are not at {path}; run `snakemake --cores 1 {path}` on a machine with network, "
            f"or download {asset.url} and put the file there"
        )
    verify(path, asset)
    return path


def given_file(name: str) -> Path:
    """Tell where a file belongs that only the user can bring, there or not."""
    return asset_folder() / GIVEN[name][0]


def given_path(name: str) -> Path:
    """Find a file that only the user can bring.

    Raises:
        UserError: it is not there; says what it is and where it belongs.
    """
    path = given_file(name)
    if not path.is_file():
        raise UserError(f"{path} is missing: {GIVEN[name][1]}; put it there, or do without (train.cos_network)")
    return path


def verify(path: Path, asset: Asset) -> None:
    """Check the file's digest.

    Raises:
        UserError: the digest is another.
    """
    found = sha256_of(path)
    if found != asset.sha256:
        raise UserError(
            f"{path} is not the published file (sha256 {found[:16]}..., expected {asset.sha256[:16]}...); "
            f"delete it and download {asset.url} again"
        )


def sha256_of(path: Path) -> str:
    """Hash a file by SHA-256, once as long as it does not change."""
    return _sha256(path, path.stat().st_mtime_ns)


@lru_cache
def _sha256(path: Path, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
