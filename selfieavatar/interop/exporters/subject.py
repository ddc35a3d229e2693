"""Read what is exported of a subject's results: frames, mattes, coefficients, face model and camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera
from selfieavatar.identity import Identity
from selfieavatar.interop.exporters.frames import ExportedFrame, choose_frames
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.files import content_hash
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.settings.clip_sheet import DRIVER, NAME

COEFFICIENTS = ("rotation", "translation", "expression", "gaze", "light")


@dataclass
class Subject:
    """Read a subject's folder of results; with a `driver`, the frames that its clip asks of the subject."""

    name: str
    folder: Path
    samples: list[Manifest]
    driver: str = ""

    @classmethod
    def find(cls, name: str, results: Path, driver: str = "") -> Subject:
        """Open the results of a subject; UserError where there is none, or the workflow has not chosen its frames."""
        if driver and not DRIVER.fullmatch(driver):
            raise UserError(f"--driver '{driver}' must be <subject>--<clip>, such as bert--talk")
        folder = results / name
        if not NAME.fullmatch(name) or not folder.is_dir():
            raise UserError(f"{results} has no subject '{name}'; name a folder that lies there, or another --results")
        first, second = folder / "samples.parquet", folder / "test_samples.parquet"
        if not first.is_file():
            raise UserError(f"{first} is missing; make it first: snakemake {first}")
        samples = [read_manifest(path, "samples") for path in (first, second) if path.is_file()]
        if len({(table.metadata["subject"], table.metadata["size_px"]) for table in samples}) > 1:
            raise UserError(f"{first} and {second.name} are of different subjects or sizes; run the workflow again")
        return cls(name, folder, samples, driver)

    def chosen(self, split: str) -> tuple[list[ExportedFrame], Counter[str]]:
        """Choose the frames to export and count the others by reason; UserError where there are none.

        A driver's frames are all of split `test`.
        """
        if self.driver:
            return self._driven()
        frames, left_out = choose_frames(self.samples, split)
        if not frames or (split == "all" and not any(frame.split == "test" for frame in frames)):
            raise UserError(
                f"subject '{self.name}' has no usable frames {'to test on' if frames else f'of split {split}'}; where "
                f"it has clips to test on, make {self.folder / 'test_samples.parquet'} first, or choose another --split"
            )
        return frames, left_out

    def _driven(self) -> tuple[list[ExportedFrame], Counter[str]]:
        """List the driver's frames that can be followed, under a digest of the coefficients, and count the others."""
        table = self._reenactment
        digest = content_hash(b"".join(table[name].tobytes() for name in ("frame", "driven", *COEFFICIENTS[:4])))
        followed = table["frame"][table["driven"]].tolist()
        frames = [ExportedFrame(k, self.name, self.driver, frame, "test", digest) for k, frame in enumerate(followed)]
        lost = len(table) - len(frames)
        return frames, Counter({"no face to follow": lost} if lost else {})

    @cached_property
    def _reenactment(self) -> Manifest:
        """Read what the driver asks of the subject; UserError where it is missing, or of another face model."""
        path = self.folder / "reenact" / f"{self.driver}.parquet"
        if not path.is_file():
            raise UserError(f"{path} is missing; make it first: snakemake {path}")
        table = read_manifest(path, "reenact")
        if table["expression"].shape[1] != self.identity.model.expression_count:
            raise UserError(f"{path} is of another face model than '{self.name}' has; run the workflow again")
        return table

    @cached_property
    def size_px(self) -> int:
        """Read the side of the frames."""
        return int(self.samples[0].metadata["size_px"])

    @cached_property
    def identity(self) -> Identity:
        """Read who the subject is."""
        return Identity.load(self.folder / "identity.npz")

    def model(self) -> tuple[MorphableModel, Camera]:
        """Look up the subject's face model, and the camera of the frames."""
        return self.identity.model, self.identity.camera.scaled(self.size_px)

    def coefficients(self, frames: Sequence[ExportedFrame]) -> dict[int, dict[str, np.ndarray]]:
        """Read rotation, translation, expression, gaze and light (none with a driver) of each frame, by number."""
        found = {}
        for clip in dict.fromkeys(frame.clip for frame in frames):
            fit = self._reenactment if self.driver else self.clip(clip).manifest("fit")
            columns = {name: fit[name] for name in COEFFICIENTS if name in fit.table.column_names}
            row_of = {number: row for row, number in enumerate(fit["frame"].tolist())}
            for frame in (frame for frame in frames if frame.clip == clip):
                if frame.frame not in row_of:
                    raise UserError(f"the fit of clip '{clip}' lacks frame {frame.frame}; run the workflow again")
                found[frame.number] = {name: column[row_of[frame.frame]] for name, column in columns.items()}
        return found

    def images(self, frame: ExportedFrame) -> tuple[np.ndarray, np.ndarray] | None:
        """Read a frame (S, S, 3) and its alpha (S, S), uint8; None of a driver's frame, which nobody has filmed."""
        if self.driver:
            return None
        clip = self.clip(frame.clip)
        found = clip.image("frames", frame.frame), clip.image("alpha", frame.frame)
        for image, kind, channels in zip(found, ("frames", "alpha"), ((3,), ()), strict=True):
            if image.shape != (self.size_px, self.size_px, *channels) or image.dtype != np.uint8:
                path = clip.path(kind, frame.frame)
                raise UserError(f"{path} is not of {self.size_px} px and 8 bits; run the workflow again")
        return found

    def clip(self, name: str) -> ClipStore:
        """Open the clip of that name."""
        return ClipStore(self.folder / "clips" / name)

    def backgrounds(self, frames: Sequence[ExportedFrame]) -> dict[str, bytes]:
        """Read the clean background plates; the first comes a second time under the name that NeRFace reads.

        With a driver they are those that the method was trained with.
        """
        frames = choose_frames(self.samples, "train")[0] if self.driver else frames
        clips = self.folder / "clips"
        plates = [clips / clip / "plate.png" for clip in dict.fromkeys(frame.clip for frame in frames)]
        files = {f"bg/{path.parent.name}.png": path.read_bytes() for path in plates if path.is_file()}
        return {"bg/00050.png": next(iter(files.values()))} | files if files else {}
