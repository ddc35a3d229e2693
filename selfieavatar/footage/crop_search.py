"""Choose the frames that decide a clip's crop, look for faces in them, and crop around the person who is followed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from selfieavatar.detection.face_finder import FaceFinder
from selfieavatar.errors import UserError
from selfieavatar.footage import person
from selfieavatar.video.crop import choose_crop, follow_face
from selfieavatar.video.prefetch import in_order
from selfieavatar.video.reader import clip_range
from selfieavatar.video.sources import VideoSource

log = logging.getLogger(__name__)


def deciding_frames(source: VideoSource, ranges: Sequence[Sequence[int | None]], held: np.ndarray) -> np.ndarray:
    """Find the source frames (N,) that decide the crop: the union of half-open ranges, but for those held out.

    held: (source.count,) bool. A source that is held out as a whole decides its own crop, as a test clip does.
    """
    used = np.zeros(source.count, dtype=bool)
    for start, end in ranges:
        chosen = clip_range(source, start, end)
        used[chosen.start : chosen.stop] = True
    return np.flatnonzero(used & ~held if (used & ~held).any() else used)


def sampled_frames(numbers: np.ndarray, count: int) -> list[int]:
    """Sample about `count` of the frames (N,) evenly."""
    # The middle of each of `count` equal parts.
    positions = (np.arange(min(count, len(numbers))) + 0.5) * len(numbers) / min(count, len(numbers))
    return [int(n) for n in numbers[positions.astype(int)]]


def find_crop(
    source: VideoSource, numbers: list[int], scale: float, finder: FaceFinder, looks: person.Looks, threads: int = 1
) -> tuple[tuple[int, int, int], person.Followed, int]:
    """Compute the crop from face boxes in sampled frames.

    Returns:
        (x0, y0, side) in source px, the faces that it is made around, and the largest number of faces in a frame.

    Raises:
        UserError: the sampled frames show no face, or nobody in one place for long enough.
    """

    def find(item: tuple[int, float, np.ndarray]) -> np.ndarray:
        number, _, image = item
        boxes = finder.find_precisely(image)
        looks.remember(number, image, boxes)
        return boxes

    with closing(in_order(find, source.read(numbers), threads)) as sampled:
        shown, found = zip(*((item[0], boxes) for item, boxes in sampled), strict=True)
    if not any(len(boxes) for boxes in found):
        raise UserError(
            f"{source.path}: no face in any of {len(found)} sampled frames: check that the clip shows a face, "
            "upright and lit, or lower decode.face_confidence"
        )
    followed = person.follow(shown, found, follow_face(found, source.size), looks, source.size, scale)
    if followed.chosen:
        refuse_too_few(source, len(followed.numbers), len(found), "sampled frames")
    tall = float(np.median(followed.boxes[:, 3] - followed.boxes[:, 1]))
    # A small face may be a poster in the background.
    others = [sum(b[3] - b[1] > 0.3 * tall for b in frame) - 1 for frame in found]
    if max(others) > 0:
        log.warning(
            "%s: up to %d other face(s), in %d of %d sampled frames: %s", source.path, max(others),
            sum(n > 0 for n in others), len(found), "the person seen most is followed"
            if followed.chosen else "the largest and most central one is used",
        )  # fmt: skip
    return choose_crop(followed.boxes, source.size, scale), followed, max(1, max(others) + 1)


def refuse_too_few(source: VideoSource, seen: int, count: int, what: str) -> None:
    """Raise a UserError where the person who is followed is seen in too small a share of the frames."""
    if seen < person.FEWEST * count:
        raise UserError(
            f"{source.path}: the person seen most is seen in one place in only {seen} of {count} {what}: cut the clip "
            "to where one person is seen (start_frame, end_frame), or record that person alone"
        )
