"""Read the frames that are measured, and the clips' images of them: what every measurement of a subject shares.

Frames are streamed in batches: memory does not grow with the clips.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.evaluation.baseline import fill_missing
from selfieavatar.evaluation.regions import region_masks
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.images import read_image
from selfieavatar.io.manifest import frame_rate, read_manifest
from selfieavatar.morphable.landmark_sets import LandmarkSet, landmark_set

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar

log = logging.getLogger(__name__)

COEFFICIENTS = ("rotation", "translation", "expression", "gaze")


@dataclass
class Subject:
    """The content of samples.parquet: frames to measure and to compare with, by clip, in order of frames."""

    name: str
    size_px: int
    test: dict[str, np.ndarray]
    train: dict[str, np.ndarray]
    left_out: int
    interleaved: tuple[str, ...] = ()  # test clips that lie close to frames of their source that are trained on

    @property
    def frames(self) -> int:
        """Number of frames to measure."""
        return sum(map(len, self.test.values()))

    def notes(self) -> list[str]:
        """List what to bear in mind about the frames."""
        notes = [f"{self.left_out} test frames left out, reasons in samples.parquet"] if self.left_out else []
        if self.interleaved:
            names = ", ".join(self.interleaved)
            notes.append(f"interleaved: {names} lie next to frames that are trained on, so that metrics flatter")
        return notes


def read_subject(paths: list[Path]) -> Subject:
    """Join the manifests of samples.

    Raises:
        UserError: they are of different subjects or sizes, or there is no frame to measure.
    """
    manifests = [read_manifest(path, "samples") for path in paths]
    facts = {(m.metadata["subject"], int(m.metadata["size_px"])) for m in manifests}
    if len(facts) > 1:
        raise UserError(f"the samples {', '.join(map(str, paths))} are of different subjects or sizes: {sorted(facts)}")
    clip, frame, split, used = (np.concatenate([m[c] for m in manifests]) for c in ("clip", "frame", "split", "used"))

    def by_clip(name: str) -> dict[str, np.ndarray]:
        mine = used & (split == name)
        return {str(c): np.unique(frame[mine & (clip == c)]) for c in dict.fromkeys(clip[mine].tolist())}

    test = by_clip("test")
    if not test:
        raise UserError(
            f"no usable test frame in {', '.join(map(str, paths))}; give the subject a clip of role 'test' "
            "or raise samples.holdout"
        )
    name, size_px = facts.pop()
    near = [clip for m in manifests for clip in m.metadata.get("interleaved", []) if clip in test]
    return Subject(name, size_px, test, by_clip("train"), int(((split == "test") & ~used).sum()), tuple(near))


@dataclass
class Batch:
    """N frames of one clip.

    order: (N,), see `TemporalSheet.add`; truth (N,S,S,3), alpha (N,S,S) of its matte, uv (N,S,S,3) float32 in [0,1];
    masks: region -> (N,S,S) bool.
    """

    clip: str
    frames: np.ndarray
    order: np.ndarray
    truth: np.ndarray
    alpha: np.ndarray
    uv: np.ndarray
    masks: dict[str, np.ndarray]


def unit(image: np.ndarray) -> np.ndarray:
    """Scale an integer image to float32 in [0,1]."""
    return image.astype(np.float32) / np.iinfo(image.dtype).max


def seconds(rates: Mapping[str, float]) -> dict[str, int]:
    """Round the frame rates of clips: neighbouring frames within a second say nearly the same."""
    return {clip: round(rate) for clip, rate in rates.items()}


def video_rate(subject: Subject, rates: Mapping[str, float]) -> float:
    """Choose the frame rate of one video of all clips: the commonest, where rates that round alike count together."""
    frames = Counter[int]()
    for clip, rate in rates.items():
        frames[round(rate)] += len(subject.test[clip])
    most, _ = frames.most_common(1)[0]
    if len(frames) > 1:
        found = ", ".join(f"{number} of {rate}" for rate, number in sorted(frames.items()))
        log.info("the clips have different frames/s (frames: %s); the video shows all at %d", found, most)
    return next(rate for rate in rates.values() if round(rate) == most)


class Images:
    """Threaded reader of the images of the clips."""

    def __init__(self, clips_dir: Path, threads: int) -> None:
        self.clips_dir = clips_dir
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1))

    def clip(self, name: str) -> ClipStore:
        """Open the clip of that name."""
        return ClipStore(self.clips_dir / name)

    def read(self, places: list[tuple[str, int]], kind: str) -> np.ndarray:
        """Read frames (clip, number): (N,...) float32 in [0,1]."""
        paths = [self.clip(clip).path(kind, number) for clip, number in places]
        images = [unit(image) for image in self._pool.map(read_image, paths)]
        for path, image in zip(paths, images, strict=True):
            if image.shape != images[0].shape:
                raise UserError(f"{path} has another size or depth than its neighbours; run the workflow again")
        return np.stack(images)

    def of(self, clip: str, frames: np.ndarray, kind: str) -> np.ndarray:
        """Read frames (N,) of one clip."""
        return self.read([(clip, number) for number in frames], kind)

    def points(self, clip: str, frames: np.ndarray) -> tuple[np.ndarray, LandmarkSet]:
        """Read the landmarks (N,L,2) px of a clip's frames, NaN where none were found, and their set."""
        landmarks, rows = self.clip(clip).rows("landmarks", frames)
        kind = landmark_set(landmarks.metadata["landmark_set"])
        return landmarks["points_px"][rows].reshape(len(frames), kind.count, 2), kind

    def filled_points(self, clip: str, frames: np.ndarray) -> np.ndarray:
        """Read `points`, with those of the nearest frame that has some where none were found.

        Raises:
            UserError: no frame of the clip has landmarks.
        """
        landmarks, rows = self.clip(clip).rows("landmarks", frames)
        try:
            return fill_missing(landmarks["points_px"], landmarks["found"])[rows].reshape(len(frames), -1, 2)
        except ValueError as error:
            raise UserError(f"clip '{clip}': {error}; run the workflow again") from error

    def rates(self, subject: Subject) -> dict[str, float]:
        """Read the `frame_rate` of each clip to measure on."""
        return {clip: frame_rate(self.clip(clip).manifest("decode")) for clip in subject.test}

    def batches(self, clip: str, frames: np.ndarray, size: int) -> Iterator[Batch]:
        """Yield batches of frames of one clip."""
        points, kind = self.points(clip, frames)
        decode, rows = self.clip(clip).rows("decode", frames)
        order = np.cumsum(~decode["duplicate"])[rows]  # counts the images that differ from the one before
        for start in range(0, len(frames), size):
            part = slice(start, start + size)
            truth, alpha, uv = (self.of(clip, frames[part], folder) for folder in ("frames", "alpha", "uv"))
            masks = region_masks(alpha, uv[..., 2] > 0, points[part], kind)
            yield Batch(clip, frames[part], order[part], truth, alpha, uv, masks)


def driver_only(avatar: Avatar, images: Images, clip: str, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw I_R and I_UV (N,S,S,3) float32 in [0,1] from what the face in these frames (N,) tells.

    Pose, expression and gaze are those of the clip's fit; the light is the avatar's mean light, and the torso lies
    where the pose of the head tells. Nothing else of the frames is looked at.
    """
    fit, rows = images.clip(clip).rows("fit", frames)
    drawn = avatar.pose(*(np.nan_to_num(fit[name][rows]).astype(float) for name in COEFFICIENTS))
    render, uv = (image.permute(0, 2, 3, 1).contiguous().numpy() for image in drawn)
    return render, uv
