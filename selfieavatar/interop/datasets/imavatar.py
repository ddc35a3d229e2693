"""Find IMAvatar's videos (Zheng et al., "I M Avatar: implicit morphable head avatars from videos", CVPR 2022).

`<subject>/<subject>/<video>/` holds `image/1.png` and so on, `mask/` with the person's matte under the same names, and
`flame_params.json`, the authors' tracking.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_dir, atomic_file
from selfieavatar.io.foreign_image import decode_foreign, read_foreign
from selfieavatar.io.images import list_images, over_white, write_image

IMAGES, MASKS, COEFFICIENTS = "image", "mask", "flame_params.json"
# The videos that the authors train and test on, in the configuration files that they publish.
PUBLISHED = {"subject1": {"train": ("MVI_1810", "MVI_1814"), "test": ("MVI_1812",)}}
_DEEPEST = 5


@dataclass(frozen=True)
class Video:
    """Hold one video: names of subject and video, and the folder that has `image`."""

    subject: str
    name: str
    folder: Path

    @property
    def images(self) -> Path:
        """Name the folder of images."""
        return self.folder / IMAGES

    def lacks_masks(self) -> bool:
        """Tell whether an image has no mask of its name."""
        masks = self.folder / MASKS
        have = {path.stem for path in list_images(masks)} if masks.is_dir() else set()
        return any(path.stem not in have for path in list_images(self.images))

    def has_coefficients(self) -> bool:
        """Tell whether the authors' tracking is there."""
        return (self.folder / COEFFICIENTS).is_file()


def find_videos(folder: Path) -> list[Video]:
    """Find all videos below a folder, sorted by subject and name; links to folders are ignored.

    Raises:
        UserError: there is no such folder, no video in it, or one video twice.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name IMAvatar's folder, or that of one subject")
    videos = []
    for place, folders, _ in os.walk(folder):
        if IMAGES in folders and list_images(Path(place, IMAGES)):
            owner = Path(place).absolute()
            videos.append(Video(owner.parent.name, owner.name, Path(place)))
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(place).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
    if not videos:
        raise UserError(f"{folder} has no <video>/{IMAGES}/ with images; name the folder that the zip unpacked to")
    names = [(video.subject, video.name) for video in videos]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{folder} has video {name[1]} of {name[0]} twice; name one of the folders that have it")
    return sorted(videos, key=lambda video: (video.subject, video.name))


def roles(videos: list[Video], train: list[str], test: list[str]) -> list[tuple[Video, str]]:
    """Assign roles to videos: the named split, or, where no video is named, the published split.

    Raises:
        UserError: a named video is missing or has both roles, or no subject has a published split.
    """
    named = {"train": train, "test": test}
    both = sorted(set(train) & set(test))
    if both:
        raise UserError(f"video {both[0]} cannot be both trained and tested on; name it once")
    absent = sorted({*train, *test} - {video.name for video in videos})
    if absent:
        have = ", ".join(video.name for video in videos)
        raise UserError(f"there is no video {', '.join(absent)} here; there are: {have}")
    result = []
    for video in videos:
        split = named if train or test else PUBLISHED.get(video.subject, {"train": (), "test": ()})
        result += [(video, role) for role in ("train", "test") if video.name in split[role]]
    unknown = [video for video in videos if video.subject not in PUBLISHED]
    if not result and unknown:
        raise UserError(
            f"no published split of {unknown[0].subject} is known; name its videos by --train and --test: "
            f"{', '.join(video.name for video in unknown if video.subject == unknown[0].subject)}"
        )
    if not result:
        raise UserError("none of the videos of the published split is here; name others by --train and --test")
    return result


def copy_on_white(video: Video, folder: Path) -> Video:
    """Copy a video to `folder` with the person over white, as in the authors' training.

    Raises:
        UserError: an image has no mask, or another size; a mask has 0 and 1; two images share a name.
    """
    copy = Video(video.subject, video.name, folder / video.subject / video.name)
    masks = {path.stem: path for path in list_images(video.folder / MASKS)} if not video.lacks_masks() else None
    if masks is None:
        raise UserError(f"{video.folder} has no mask for each of its images; a white background needs them all")
    twice = [name for name, count in Counter(path.stem for path in list_images(video.images)).items() if count > 1]
    if twice:
        raise UserError(f"{video.images} has two images named {twice[0]}; leave one of them there")
    with atomic_dir(copy.images) as images, atomic_dir(copy.folder / MASKS) as copied:
        for path in list_images(video.images):
            image, name = read_foreign(path, str(path)), str(masks[path.stem])
            mask = decode_foreign(masks[path.stem], name, managed=False).rgb[..., 0]
            if image.shape[:2] != mask.shape:
                raise UserError(f"{path} is no image of its mask's size ({name}); unpack both anew")
            if mask.max() == 1:
                raise UserError(f"{name} is of 0 and 1, but white is 255; scale it")
            write_image(images / f"{path.stem}.png", over_white(image, mask))
            write_image(copied / f"{path.stem}.png", mask)
    if video.has_coefficients():
        with atomic_file(copy.folder / COEFFICIENTS) as temporary:
            shutil.copyfile(video.folder / COEFFICIENTS, temporary)
    return copy
