"""Follow one person through a recording that changes between people, places or sizes, as a video call does.

A recording of one person by one camera is one track of boxes, of which a handful of faces are compared by dlib's face
recognition network, lest one person was faded into another. Where these differ, the face jumps, the image is cut or a
face is lost for a while, the network says who is seen, in a few frames of each track.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from selfieavatar.detection.face_descriptor import DESCRIPTOR, FaceDescriptor, face_chip
from selfieavatar.video.crop import box_jumps, choose_crop
from selfieavatar.video.sources import VideoSource

# Distance and change of size, in face heights, above which two boxes are not of one place. Of 24 frames that are spread
# over a recording of one person, neighbours are 0.3 apart at most (10 clips).
JUMP = 0.75
# Distance of two descriptors up to which they are one person's. Chained by it, 24 frames of each of 10 clips fall into
# one group each, and no two people into the same.
SAME = 0.42
# Distance, in the mean of two groups of faces, above which they show two people; dlib's own limit for two faces. The
# faces of one person who turns are up to 0.71 apart, groups of them 0.5 (8 clips); two people 0.85 and more.
OTHER = 0.6
# A cut changes the image by more levels of 255 than this, and more times than the frames before it did.
CUT_LEVEL, CUT_RATIO, _BEFORE = 4.0, 4.0, 12
LOST_S = 1.0  # a face that was lost for so long may be another's when one is found again
FEWEST = 0.1  # share of the frames below which following the person makes no clip
SOMEBODY_ELSE, ELSEWHERE = "somebody else", "the person in another place or size"
_LEAST_INSIDE = 2 / 3  # of the window, in the image
_LOOKED_AT = 5  # frames of each track
_LEAST_SEEN = 2  # of _REFERENCES faces, that make somebody else
_REFERENCES = 24  # faces that say what the person looks like
_REMEMBERED = 200  # faces, of 68 kB each
_CUT_OFF = 0.1  # of its height, by which a face may reach out of the window

Face = tuple[int, np.ndarray]  # source frame and box (4,) in source px
Describe = Callable[[Sequence[Face]], np.ndarray]


class Looks:
    """Describe faces of a source by dlib's network, (N, 128); the network is loaded when it is first asked for."""

    def __init__(self, source: VideoSource):
        self._source = source
        self._chips: dict[tuple[int, bytes], np.ndarray] = {}

    @cached_property
    def _network(self) -> FaceDescriptor:
        return FaceDescriptor()

    def remember(self, number: int, image: np.ndarray, boxes: np.ndarray) -> None:
        """Keep faces in boxes (K, 4) of a frame, which then need not be read again; so many of a clip."""
        for box in boxes[: max(_REMEMBERED - len(self._chips), 0)]:
            self._chips[number, box.tobytes()] = face_chip(image, box)

    def of_image(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Describe the face in a box (4,) of an image (H, W, 3) uint8: (128,)."""
        return self._network(face_chip(image, box))

    def __call__(self, faces: Sequence[Face]) -> np.ndarray:
        """Describe each face; a frame that cannot be read again is NaN."""
        chips = [self._chips.get((number, box.tobytes())) for number, box in faces]
        missing = [row for row, chip in enumerate(chips) if chip is None]
        for number, _, image in self._source.read(sorted({faces[row][0] for row in missing})):
            for row in (k for k in missing if faces[k][0] == number):
                chips[row] = face_chip(image, faces[row][1])
        unknown = np.full(DESCRIPTOR, np.nan, np.float32)
        found = [unknown if chip is None else self._network(chip) for chip in chips]
        return np.array(found, np.float32).reshape(-1, DESCRIPTOR)


@dataclass
class Followed:
    """The faces (N of them, in sampled frames) that the crop is made around.

    Attributes:
        numbers: (N,) source frames. boxes: (N, 4) in source px.
        looks: (N, L) descriptors of these faces, None as long as nobody had to ask.
        chosen: faces of other people or places were set aside, so that frames of the clip may show those.
    """

    numbers: np.ndarray
    boxes: np.ndarray
    looks: np.ndarray | None = None
    chosen: bool = False

    def reference(self, describe: Describe) -> np.ndarray:
        """Find what the person looks like, (K, L): the largest group among the faces.

        Faces between two people, in a fade, may chain the two: the larger part of such a group counts.
        """
        if self.looks is None:
            rows = np.unique(np.linspace(0, len(self.boxes) - 1, _REFERENCES).round().astype(int))
            self.looks = describe([(int(self.numbers[k]), self.boxes[k]) for k in rows])
        looks = self.looks[np.isfinite(self.looks).all(1)]
        for kind, limit in (("single", SAME), ("average", OTHER)):
            looks = looks[largest_group(groups(distances(looks, looks), limit, kind), np.ones(len(looks)))]
        return looks


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the Euclidean distances (N, M) of descriptors (N, L) and (M, L)."""
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)


def groups(apart: np.ndarray, limit: float, kind: str = "single") -> np.ndarray:
    """Group by linkage, (N,) int, from the distances (N, N).

    Kind "single": what is at most `limit` apart is in one group, as are chains of it; "average": groups whose members
    are at most that far apart in the mean are one.
    """
    if len(apart) < 2:
        return np.zeros(len(apart), int)
    return fcluster(linkage(apart[np.triu_indices(len(apart), 1)], kind), limit, "distance")


def largest_group(group: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mark the members (N,) bool of the group with the largest sum of weights; of equal ones, the first seen."""
    sums = [float(weight[group == one].sum()) for one in dict.fromkeys(group.tolist())]
    return group == list(dict.fromkeys(group.tolist()))[int(np.argmax(sums))] if len(group) else group.astype(bool)


def follow(
    numbers: Sequence[int], found: Sequence[np.ndarray], path: np.ndarray, describe: Describe,
    size: tuple[int, int], scale: float,
) -> Followed:  # fmt: skip
    """Choose the faces to crop around: those of the path, or where it jumps, those of the person seen most.

    Of that person, the place is kept where they are seen most, if one window of the usual size does not hold all.

    Args:
        numbers: source frames, in order. found: the boxes (K, 4) of each, in px.
        path: (N,) of `follow_face`: the box followed in each frame, or -1.
        describe: tells what faces look like.
        size: (width, height) of the image. scale: of `choose_crop`.
    """
    rows = np.flatnonzero(path >= 0)
    boxes = np.array([found[row][path[row]] for row in rows])
    followed = Followed(np.array(numbers)[rows], boxes)
    steps = [float(box_jumps(a[None], b[None])[0, 0]) for a, b in zip(boxes, boxes[1:], strict=False)]
    if max(steps, default=0) > JUMP:
        followed = _seen_most(numbers, found, boxes, describe, size, scale)
    return _inside(followed, size, scale)


def _seen_most(
    numbers: Sequence[int], found: Sequence[np.ndarray], path: np.ndarray, describe: Describe,
    size: tuple[int, int], scale: float,
) -> Followed:  # fmt: skip
    """Find who is seen most, and where; faces below half the usual size, as of thumbnails, do not count."""
    least = 0.5 * float(np.median(path[:, 3] - path[:, 1]))
    faces = [(n, box) for n, frame in zip(numbers, found, strict=True) for box in frame if box[3] - box[1] >= least]
    looks, boxes = describe(faces), np.array([box for _, box in faces])
    known = np.isfinite(looks).all(1)
    looks, boxes, shown = looks[known], boxes[known], np.array([number for number, _ in faces])[known]
    tall = boxes[:, 3] - boxes[:, 1]
    mine = largest_group(groups(distances(looks, looks), SAME), tall)
    if choose_crop(boxes[mine], size, scale)[2] > _usual_side(boxes[mine], size, scale):
        kept = np.flatnonzero(mine)
        mine[kept] = largest_group(groups(box_jumps(boxes[kept], boxes[kept]), JUMP), tall[kept])
    # Of two such faces in one frame (a mirror image, a thumbnail), the larger one.
    order = np.lexsort((-tall, shown))
    order = order[mine[order]]
    kept = order[np.unique(shown[order], return_index=True)[1]]
    return Followed(shown[kept], boxes[kept], looks[kept], chosen=len(kept) < len(path) or not mine.all())


def _usual_side(boxes: np.ndarray, size: tuple[int, int], scale: float) -> float:
    """Compute the side of a crop around faces that hardly move, and a little more."""
    return 1.1 * min(scale * float(np.median(boxes[:, 3] - boxes[:, 1])), *size)


def _inside(followed: Followed, size: tuple[int, int], scale: float) -> Followed:
    """Set faces aside, the farthest from the middle first, until the window lies in the image for the most part."""
    while len(followed.boxes) > 1 and _share_inside(choose_crop(followed.boxes, size, scale), size) < _LEAST_INSIDE:
        middle = (followed.boxes[:, :2] + followed.boxes[:, 2:]) / 2
        kept = np.ones(len(middle), bool)
        kept[np.linalg.norm(middle - np.median(middle, axis=0), axis=1).argmax()] = False
        looks = None if followed.looks is None else followed.looks[kept]
        followed = Followed(followed.numbers[kept], followed.boxes[kept], looks, chosen=True)
    return followed


def _share_inside(crop: tuple[int, int, int], size: tuple[int, int]) -> float:
    """Compute the share of a window's area that lies in the image."""
    x0, y0, side = crop
    wide, tall = (max(min(start + side, end) - max(start, 0), 0) for start, end in zip((x0, y0), size, strict=True))
    return wide * tall / side**2


def track_starts(boxes: np.ndarray, changes: np.ndarray, fps: float) -> np.ndarray:
    """Find where a track of a clip begins: at a cut, a jump of the face, or a face after none for a second.

    boxes (N, 4) of the face, NaN where there is none; changes (N,): mean difference from the frame before, in levels.
    Returns rows in rising order, the first of them 0.
    """
    starts, last = [0], -1
    for row, box in enumerate(boxes):
        before = changes[max(1, row - _BEFORE) : row]
        usual = float(np.median(before)) if len(before) else 0.0
        new = row > 0 and changes[row] > max(CUT_LEVEL, CUT_RATIO * usual)
        if np.isfinite(box[0]):
            if last >= starts[-1]:
                new |= row - last > LOST_S * fps or float(box_jumps(boxes[last][None], box[None])[0, 0]) > JUMP
            last = row
        if new:
            starts.append(row)
    return np.array(starts)


def part_people(
    starts: np.ndarray, seen: dict[int, np.ndarray], frames: np.ndarray, boxes: np.ndarray, describe: Describe
) -> np.ndarray:
    """Cut tracks where a person becomes another without a jump, as in a fade; returns the rows (K,) where tracks begin.

    Args:
        starts, frames, boxes: as for `reasons`.
        seen: descriptors (L,) of a few rows, spread over the clip. Only tracks in which these differ are looked into.
        describe: tells what faces look like.
    """
    found = list(starts)
    for start, end in zip(starts, [*starts[1:], len(boxes)], strict=True):
        looks = np.array([look for row, look in seen.items() if start <= row < end])
        if len(set(groups(distances(looks, looks), OTHER, "average").tolist() if len(looks) else [])) > 1:
            rows = np.flatnonzero(np.isfinite(boxes[start:end, 0])) + start
            found += _changes(rows, lambda some: describe([(int(frames[row]), boxes[row]) for row in some]))
    return np.unique(found)


def _changes(rows: np.ndarray, look: Callable[[np.ndarray], np.ndarray]) -> list[int]:
    """Find those of a track's rows (N,) at which another person is seen than before; a fade is parted in its middle."""
    asked = rows[np.unique(np.linspace(0, len(rows) - 1, _REFERENCES).round().astype(int))]
    looks = look(asked)
    known = np.isfinite(looks).all(1)
    asked, looks = asked[known], looks[known]
    who = groups(distances(looks, looks), OTHER, "average")
    # A single odd face, blurred or half hidden, is nobody.
    people = np.flatnonzero([(who == one).sum() >= _LEAST_SEEN for one in who])
    found = []
    for a, b in zip(people, people[1:], strict=False):
        if who[a] == who[b]:
            continue
        low, high = np.searchsorted(rows, asked[[a, b]])
        while high - low > 1:
            middle = (low + high) // 2
            away = distances(look(rows[middle : middle + 1]), looks)[0]
            after = np.median(away[who == who[b]]) < np.median(away[who == who[a]])
            low, high = (low, middle) if after else (middle, high)
        found.append(int(rows[high]))
    return found


def reasons(
    followed: Followed, crop: tuple[int, int, int], size: tuple[int, int], frames: np.ndarray, boxes: np.ndarray,
    starts: np.ndarray, describe: Describe,
) -> np.ndarray:  # fmt: skip
    """Say of each frame of a clip why it is left out, "" where it is kept, (N,) of str.

    Args:
        followed: whom the crop was made for. crop: (x0, y0, side). size: (width, height) of the image.
        frames: (N,) source frames. boxes: (N, 4) of the face in source px, NaN where there is none.
        starts: rows where tracks begin. Where there is but one and no choice was made, all frames are kept.
        describe: tells what faces look like.
    """
    reason = np.full(len(boxes), "", dtype=object)
    if len(starts) < 2 and not followed.chosen:
        return reason
    known = np.isfinite(boxes[:, 0])
    tracks = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(boxes)], strict=True) if known[a:b].any()]
    rows = [np.flatnonzero(known[track]) + track.start for track in tracks]
    asked = [mine[np.unique(np.linspace(0, len(mine) - 1, _LOOKED_AT).round().astype(int))] for mine in rows]
    person = followed.reference(describe)
    if not len(person):  # no frame can be read again
        return reason
    looks = describe([(int(frames[row]), boxes[row]) for mine in asked for row in mine])
    far = distances(looks, person).min(1)
    for track, mine, away in zip(tracks, rows, np.split(far, np.cumsum([len(m) for m in asked])[:-1]), strict=True):
        place = np.median(boxes[mine], axis=0)[None]
        if np.nanmedian(away) > SAME:
            reason[track] = SOMEBODY_ELSE
        elif box_jumps(place, followed.boxes).min() > JUMP:
            reason[track] = ELSEWHERE
    if followed.chosen:
        low = np.array(crop[:2]) - np.maximum(boxes[:, :2], 0)
        high = np.minimum(boxes[:, 2:], size) - np.array(crop[:2]) - crop[2]
        cut = np.concatenate([low, high], axis=1).max(1) > _CUT_OFF * (boxes[:, 3] - boxes[:, 1])
        reason[cut & (reason == "")] = ELSEWHERE
    return reason
