"""Find what a subject's folder holds beside the avatar: variants that were measured, and images of others' methods.

results/<subject>/variants/<variant>/metrics.json
results/<subject>/external/<method>/000000.png            of a subject with one clip to measure on
results/<subject>/external/<method>/<clip>/000000.png     of one with several
results/<subject>/external/<method>/<driver>/000000.png   of frames that a driver's clip asks for, `<subject>--<clip>`

A driver's images have no truth: they lie beside those of test frames and are never measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.io.images import image_name
from selfieavatar.io.paths import EXTERNAL, METRICS, VARIANTS
from selfieavatar.settings.clip_sheet import DRIVER, NAME
from selfieavatar.settings.config import variant_names

WRITTEN = (METRICS, "frames.parquet")  # what measuring adds to a method's folder


def made_variants(subject: Path) -> list[str]:
    """Name the variants of config/variants that have been measured for the subject in this folder."""
    return [name for name in variant_names() if (subject / VARIANTS / name / METRICS).is_file()]


def external_methods(subject: Path) -> list[str]:
    """Name the methods to measure, not those with drivers' images alone; `no_methods` lists what else lies there."""
    methods = (path for path in _visible(subject / EXTERNAL) if _is_method(path))
    return [path.name for path in methods if not only_drivers(path)]


def only_drivers(folder: Path) -> bool:
    """Tell whether a method's folder holds images of drivers' frames, and nothing that can be measured."""
    return not _measured(folder) and any(_is_driver(path) for path in _visible(folder))


def driver_images(folder: Path, driver: str) -> dict[int, Path]:
    """Find a method's images of a driver's frames, by their numbers in the driver's clip.

    Args:
        folder: of the method, external/<method>.
        driver: `<subject>--<clip>`.

    Returns:
        Empty where the method has none; files that are not named by a frame are passed over.
    """
    return {number: path for path in _visible(folder / driver) if (number := _frame(path)) is not None}


def no_methods(subject: Path) -> list[str]:
    """Write a sentence about each thing that lies among the methods' folders and is none of them."""
    return [
        f"{path} is no folder named after a method, by letters, digits, _ and -; rename it or move it elsewhere"
        for path in _visible(subject / EXTERNAL)
        if not _is_method(path)
    ]


def _is_method(path: Path) -> bool:
    return path.is_dir() and NAME.fullmatch(path.name) is not None


def method_files(folder: Path) -> tuple[list[Path], list[str]]:
    """List numbered images of a method, in its folder or those of clips, and the names of what else lies there.

    Drivers' images are neither. Nothing is refused: Snakemake passes over an error in the inputs of a file that exists.
    Measuring refuses.
    """
    inside = _measured(folder)
    files = [path for path in inside if not path.is_dir()]
    files += [path for clip in inside if clip.is_dir() for path in _visible(clip)]
    images = [path for path in files if _frame(path) is not None and NAME.fullmatch(path.parent.name)]
    others = set(files) - set(images) | {path for path in inside if path.is_dir() and not _visible(path)}
    return images, sorted(str(path.relative_to(folder)) for path in others)


def method_images(folder: Path) -> dict[str, dict[int, Path]]:
    """Find a method's images by clip and frame; the clip is "" where they lie in the folder itself.

    Raises:
        UserError: there is something else, images lie in both places, or there are none but drivers'.
    """
    if only_drivers(folder):
        raise UserError(
            f"{folder} holds images of drivers' frames alone, which have no truth to be measured against; add those "
            "of the test frames: python -m tools.handover collect"
        )
    inside = _measured(folder)
    clips = [path for path in inside if path.is_dir()]
    found = {clip.name: _numbered(_visible(clip)) for clip in clips}
    bad = next((name for name in found if not NAME.fullmatch(name)), None)
    if bad is not None:
        raise UserError(f"{folder / bad} is named as no clip can be; name it as the clip whose frames it shows")
    loose = _numbered(path for path in inside if not path.is_dir())
    if loose and found:
        raise UserError(f"{folder} holds images and folders; move the images into the folder of their clip")
    found = {"": loose} if loose else found
    if not any(found.values()):
        raise UserError(
            f"{folder} holds no images; put one for each test frame there, named {folder / '000000.png'} and so on "
            "by the numbers of the frames, or remove the folder"
        )
    return found


def _measured(folder: Path) -> list[Path]:
    """List what a method's folder holds beside drivers' images and what measuring writes."""
    return [path for path in _visible(folder) if path.name not in WRITTEN and not _is_driver(path)]


def _is_driver(path: Path) -> bool:
    return path.is_dir() and DRIVER.fullmatch(path.name) is not None


def _visible(folder: Path) -> list[Path]:
    """List a folder in order of names, without hidden files (of file managers, and half-written ones)."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _numbered(paths: Iterable[Path]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in paths:
        number = _frame(path)
        if number is None:
            raise UserError(f"{path} is no image named by its frame, such as 000000.png; move it elsewhere")
        found[number] = path
    return found


def _frame(path: Path) -> int | None:
    """Read the number of the frame that a file is named by; None for other files."""
    digits = path.stem
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else -1
    return number if path.name == image_name(number) and path.is_file() else None
