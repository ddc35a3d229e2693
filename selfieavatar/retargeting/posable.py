"""What can be posed and driven: the part of an avatar that needs no networks, and no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera
from selfieavatar.identity import Identity
from selfieavatar.morphable.landmark_sets import LandmarkSet
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.retargeting.retarget import Actor, Motion, Retarget, driver_of, same_person

if TYPE_CHECKING:
    from selfieavatar.rendering.raster import RasterBackend


class Posable:
    """A person in images of a size.

    Attributes:
        identity: who is shown. size_px: side of the images. camera: of the images.
    """

    def __init__(self, identity: Identity, size_px: int, backend: RasterBackend | None = None) -> None:
        self.identity, self.size_px = identity, size_px
        self.camera: Camera = identity.camera.scaled(size_px)
        self._renderer = Renderer(identity, size_px, backend)

    @property
    def model(self) -> MorphableModel:
        """The person's face."""
        return self.identity.model

    @property
    def landmark_set(self) -> LandmarkSet:
        """The landmarks that the person was tracked by."""
        return self.identity.landmark_set

    def usual_pose(self) -> np.ndarray:
        """Return how the head is usually held (6,): axis-angle in rad, translation in cm.

        Where the identity does not know, it looks ahead, and its height takes a third of the image.
        """
        if self.identity.pose_range is not None:
            return self.identity.pose_range.reference.astype(float)
        distance = 3 * np.ptp(self.model.template[:, 1]) * self.camera.focal_px / self.camera.size_px
        return np.array([0, 0, 0, 0, 0, distance])

    def draw(
        self,
        rotation: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray,
        gaze: np.ndarray | None = None,
        light: np.ndarray | None = None,
        torso: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the driving images of frames from coefficients of this person's own model.

        Args:
            rotation: axis-angle (B,3) rad. translation: (B,3) cm. expression: (B,E). gaze: (B,4) rad, None looks ahead.
            light: (B,27), None is the mean light of the avatar's own clips. torso: (B,2) its shift as a share of the
            side, None puts it where the head's pose tells (see `fitting.torso_motion`).

        Returns:
            I_R and I_UV (B,3,S,S) float32 in [0,1].

        Raises:
            ValueError: coefficients of another shape.
        """
        frames, needed = len(np.atleast_2d(rotation)), ("rotation", "translation", "expression")
        widths = {"rotation": 3, "translation": 3, "expression": self.model.expression_count}
        widths |= {"gaze": 4, "light": 27, "torso": 2}
        rows_of: list[Any] = []
        for name, rows in zip(widths, (rotation, translation, expression, gaze, light, torso), strict=True):
            rows_of.append(np.atleast_2d(np.asarray(rows)) if rows is not None or name in needed else None)
            if rows_of[-1] is not None and (rows_of[-1].shape != (frames, widths[name]) or not frames):
                raise ValueError(f"{name} must be {(frames or 'B', widths[name])}, not {rows_of[-1].shape}")
        if torso is None and self.identity.torso_motion is not None:
            rows_of[-1] = self.identity.torso_motion.shift(rows_of[0], rows_of[1])
        drawn = self._renderer.render_batch(*rows_of)
        images = drawn.image.astype(np.float32) / np.float32(255), drawn.uv.astype(np.float32) / np.float32(65535)
        return images[0].transpose(0, 3, 1, 2), images[1].transpose(0, 3, 1, 2)

    def retarget(
        self, driver: MorphableModel, camera: Camera, motion: Motion, pose: str = "relative", gain: float = 1.0,
        overshoot: float = 1.0, pose_overshoot: float = 0.3,
    ) -> Callable[[Motion], Motion]:  # fmt: skip
        """Make a function from motions of the driver to motions of this avatar.

        Args:
            driver, camera: model and camera of the person who drives. motion: frames of theirs that tell their neutral
            face and usual pose. pose, gain, overshoot, pose_overshoot: see `retargeting.retarget.Retarget`.

        Returns:
            The driver's coefficients carried over; unchanged where the driver is the avatar's own person.

        Raises:
            UserError: the driver was tracked by other landmarks, or the avatar does not know its usual pose.
        """
        own, poses = self.model, self.identity.pose_range
        if same_person(driver, own):
            return lambda motion: motion
        if poses is None:
            raise UserError("the avatar's identity lacks pose_rest, pose_low, pose_high; train it again")
        kind = self.landmark_set
        if len(driver.landmark_vertices) != kind.count:
            raise UserError(
                f"the driver was tracked by {len(driver.landmark_vertices)} landmarks, the avatar by {kind.count}; use "
                "one `landmarks.detector` for both"
            )
        target = Actor(own, self.camera, np.zeros(own.expression_count), poses.reference.astype(float))
        reach = np.stack([poses.low, poses.high]).astype(float)
        mover = driver_of(driver, camera, motion, kind)
        return Retarget(mover, target, kind, reach, pose, gain, overshoot, pose_overshoot)
