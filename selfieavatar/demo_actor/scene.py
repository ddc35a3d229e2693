"""Render the actor in a room: images with exact alpha, and their ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from selfieavatar.demo_actor.background import paint_background
from selfieavatar.demo_actor.body import body_pieces
from selfieavatar.demo_actor.head import EYE, Head, gaze_rotation
from selfieavatar.demo_actor.landmarks import FacePoints
from selfieavatar.demo_actor.motion import Motion, head_rotation
from selfieavatar.demo_actor.paint import paint_all
from selfieavatar.demo_actor.shade import MATERIALS, develop, pack_textures, room_light, shade_image, tone_curve
from selfieavatar.demo_actor.traits import Traits, draw_traits
from selfieavatar.geometry.normals import vertex_normals
from selfieavatar.rendering.raster_cpu import ZBuffer, clip_positions

FOCAL_PER_SIZE = 1.25  # focal length over the image's side: the field of view of a laptop's camera
DISTANCE_CM, HEIGHT_CM = 62.0, -3.0  # the model's origin in camera axes in the reference pose
NECK_JOINT = np.array([0.0, 10.0, 2.5])
SUPERSAMPLE = 2


@dataclass(frozen=True)
class Truth:
    """Hold the ground truth of one frame.

    Attributes:
        rotation: (3,3) of the head.
        translation: (3,) cm of the head.
        points_head: (L,3) cm in model space with the expression.
        points_px: (L,2).
        lids_cm: (2,) opening between the middles of the lids (left, right eye).
        lids_px: (2,), the same in pixels.
        lips_cm: opening between the inner middles of the lips.
        lips_px: the same in pixels.
    """

    rotation: np.ndarray
    translation: np.ndarray
    points_head: np.ndarray
    points_px: np.ndarray
    lids_cm: np.ndarray
    lids_px: np.ndarray
    lips_cm: float
    lips_px: float


class Scene:
    """Render one actor in a room at one size.

    Args:
        seed: of identity and room.
        size: side of the square image in px.
    """

    def __init__(self, seed: int, size: int) -> None:
        self.identity: Traits = draw_traits(seed)
        self.size, self.focal_px = int(size), FOCAL_PER_SIZE * size
        self.principal = np.array([size / 2.0, size / 2.0])
        self.head = Head(self.identity)
        self.points = FacePoints(self.head)
        pieces = [*self.head.pieces, *body_pieces(self.identity)]
        self._body = np.concatenate([p.vertices for p in pieces[len(self.head.pieces) :]])
        starts = np.cumsum([0, *(len(p.vertices) for p in pieces)])
        self.tri = np.concatenate([p.tri + start for p, start in zip(pieces, starts, strict=False)]).astype(np.int32)
        self._material = np.concatenate([np.full(len(p.tri), p.material, np.int64) for p in pieces])
        self._uv = np.concatenate([p.uv for p in pieces]).astype(np.float32)
        self._follow = np.concatenate([p.follow for p in pieces])[:, None]
        self._open = np.concatenate([p.open for p in pieces]).astype(np.float32)
        self._eyes = [(starts[k], starts[k + 1]) for k, p in enumerate(pieces) if p.material == EYE]
        self._texels, self._table = pack_textures(paint_all(self.head.grid, self.identity))
        self._background = paint_background(self.identity, self.size) ** np.float32(2.2)
        self._light, self._curve = room_light(self.identity.light_side).packed(), tone_curve()
        self._stretch = np.array([self.identity.face_width, 1.0, 1.0])

    def pose(self, angles: np.ndarray, sway: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute rotation (3,3) and translation (3,) cm of the head: camera point = R @ X + t."""
        rotation = head_rotation(angles)
        base = np.array([0.0, HEIGHT_CM, DISTANCE_CM]) + sway
        return rotation, NECK_JOINT - rotation @ NECK_JOINT + base

    def _place(self, motion: Motion, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Compute the head's vertices in model space, all vertices in camera axes, and the head's pose."""
        model = self.head.vertices(motion.expression[frame], motion.gaze[frame])
        everything = np.concatenate([model, self._body])
        everything[self._follow[:, 0] > 0] *= self._stretch
        rotation, translation = self.pose(motion.head_angles[frame], motion.sway[frame])
        trunk = gaze_rotation(0.18 * motion.head_angles[frame, 0], 0.0)
        with_trunk = everything @ trunk.T + (
            NECK_JOINT - trunk @ NECK_JOINT + [0, HEIGHT_CM, DISTANCE_CM] + 0.7 * motion.sway[frame]
        )
        with_head = everything @ rotation.T + translation
        placed = self._follow * with_head + (1 - self._follow) * with_trunk
        return everything[: len(model)], placed, rotation, translation

    def _openness(self, motion: Motion, frame: int) -> np.ndarray:
        """Compute the ambient occlusion of the vertices (V,): the upper lid shadows the eyeball."""
        share = self._open.copy()
        expression, gaze = motion.expression[frame], motion.gaze[frame]
        for eye, (start, end) in enumerate(self._eyes):
            share[start:end] = self.head.lid_shadow(eye, expression, gaze)
        return share

    def truth(self, motion: Motion, frame: int) -> Truth:
        """Compute the ground truth of one frame without its image."""
        model, _, rotation, translation = self._place(motion, frame)
        return self._truth(model, rotation, translation)

    def _truth(self, model: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> Truth:
        points = self.points.positions(model)
        camera = points @ rotation.T + translation
        pixels = camera[:, :2] / camera[:, 2:] * self.focal_px + self.principal
        pairs = self.points.openings
        gap_cm = [float(np.linalg.norm(points[a] - points[b])) for a, b in pairs]
        gap_px = [float(np.linalg.norm(pixels[a] - pixels[b])) for a, b in pairs]
        return Truth(
            rotation, translation, points, pixels, np.array(gap_cm[:2]), np.array(gap_px[:2]), gap_cm[2], gap_px[2]
        )

    def draw(self, motion: Motion, frame: int, buffer: ZBuffer | None = None) -> tuple[np.ndarray, np.ndarray, Truth]:
        """Render one frame: image (S,S,3) u8 sRGB, alpha (S,S) u8, ground truth; `buffer` may be reused."""
        buffer = buffer or self.buffer()
        model, placed, rotation, translation = self._place(motion, frame)
        side = buffer.size
        buffer.draw(clip_positions(placed, SUPERSAMPLE * self.focal_px, SUPERSAMPLE * self.principal, side), self.tri)
        points = placed.astype(np.float32)
        normals = vertex_normals(points, self.tri)
        colour = np.empty((self.size, self.size, 3), np.float32)
        cover = np.empty((self.size, self.size), np.float32)
        shade_image(
            buffer.face_at, buffer.edges, self.tri, points, normals, self._uv, self._openness(motion, frame),
            self._material, self._texels, self._table, MATERIALS, self._light, SUPERSAMPLE, colour, cover,
        )  # fmt: skip
        image, alpha = np.empty(colour.shape, np.uint8), np.empty(cover.shape, np.uint8)
        develop(colour, cover, self._background, self._curve, image, alpha)
        return image, alpha, self._truth(model, rotation, translation)

    def buffer(self) -> ZBuffer:
        """Make a z-buffer of the supersampled size."""
        return ZBuffer((SUPERSAMPLE * self.size, SUPERSAMPLE * self.size), len(self.tri))

    def play(self, motion: Motion, threads: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray, Truth]]:
        """Render all frames of a take in order, `threads` at a time; yields the results of `draw`."""
        threads = max(1, threads)
        buffers = [self.buffer() for _ in range(threads)]
        count = len(motion.expression)
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, count, threads):
                frames = range(start, min(start + threads, count))
                yield from pool.map(lambda f, b: self.draw(motion, f, b), frames, buffers)
