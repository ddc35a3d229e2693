"""Draw the two images that drive the avatar: the shaded face I_R and the texture coordinates I_UV, of one fitted frame.

NumPy and numba only, so that the many short jobs of the render stage start without torch; given a backend of
`selfieavatar.rendering.raster` the same images are made on its device (`renderer_torch`).

How eyes and mouth are drawn: see `selfieavatar.rendering.eyes`. Off the face I_UV holds coordinates of hair and ears,
and of the torso, where the identity knows a head sphere and a torso: see `selfieavatar.rendering.offface_uv`. Their
third channel is 0, and v is not.

Hidden triangles (tri_part 3), such as a neck, hide what lies behind them and leave both images and the mask empty.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from selfieavatar.geometry.normals import vertex_normals
from selfieavatar.identity import Identity
from selfieavatar.rendering import shading
from selfieavatar.rendering.eyes import gaze_axes
from selfieavatar.rendering.face_mesh import FaceImages, FaceMesh, rodrigues
from selfieavatar.rendering.kernels import pack_texture, paint_image, paint_uv
from selfieavatar.rendering.offface_uv import paint_hair, paint_torso
from selfieavatar.rendering.raster_cpu import ZBuffer, clip_positions

if TYPE_CHECKING:
    from selfieavatar.rendering.raster import RasterBackend


class Renderer(FaceMesh):
    """Draws a subject's fitted face; safe to share between threads (each gets buffers of its own)."""

    def __init__(
        self,
        identity: Identity,
        size_px: int | None = None,
        backend: RasterBackend | None = None,
        supersample: int = 2,
        light: np.ndarray | None = None,
    ) -> None:
        """Prepare the subject's mesh.

        Args:
            identity: whom to draw. size_px: side of the images (default: that of the identity's camera).
            backend: None for the fast path on the CPU, else a backend of `selfieavatar.rendering.raster`.
            supersample: samples per pixel and axis of I_R.
            light: (9, 3) or (27,), default the identity's, or `shading.default_light()` for one without.
        """
        super().__init__(identity, size_px or identity.camera.size_px, supersample)
        self.backend, self.texels = backend, pack_texture(self.texture)
        if light is None:
            light = shading.default_light() if identity.light is None else identity.light
        self.light = np.asarray(light, np.float32).reshape(9, 3)
        self.torso_top = None if identity.torso is None else identity.torso.top
        sphere = identity.head_sphere
        self.head_sphere = None if sphere is None else np.asarray(sphere, np.float64)
        self._local = threading.local()

    def render(
        self,
        rotation: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray,
        gaze: np.ndarray | None = None,
        light: np.ndarray | None = None,
        torso: np.ndarray | None = None,
    ) -> FaceImages:
        """Draw both images of one frame.

        Args:
            rotation: (3,) axis-angle, rad. translation: (3,) cm. expression: (E,).
            gaze: (4,) rad, default straight ahead. light: (9, 3) or (27,), default the renderer's.
            torso: (2,) shift as a share of the side, default (or NaN) none.
        """
        drawn = self._face(rotation, translation, expression, gaze, light)
        matrix, offset = rodrigues(rotation), np.asarray(translation, np.float64)
        sphere, middle = self.head_sphere, np.zeros(3)
        if sphere is not None:
            middle = matrix @ sphere[:3] + offset
            # A lost frame (NaN) has no hair, nor has a head that is not before the camera.
            if not (np.isfinite([*middle, *np.ravel(expression)]).all() and middle[2] > sphere[3]):
                sphere = None
        if self.torso_top is not None:
            shift = np.zeros(2) if torso is None else np.nan_to_num(np.asarray(torso, np.float64))
            top = self.torso_top + shift[1]
            if sphere is not None:  # beside the jaw there are shoulders and collars, too
                row = self.focal_px * middle[1] / middle[2] + self.principal[1]
                top = min(top, row / self.size_px)
            paint_torso(drawn.uv, drawn.mask, shift, top)
        if sphere is not None:
            camera = np.array([self.focal_px, *self.principal])
            paint_hair(drawn.uv, drawn.mask, camera, matrix, offset, sphere)
        return drawn

    def _face(
        self, rotation: np.ndarray, translation: np.ndarray, expression: np.ndarray, gaze: np.ndarray | None,
        light: np.ndarray | None,
    ) -> FaceImages:  # fmt: skip
        """Draw what is on the face."""
        gaze = np.zeros(4) if gaze is None else np.asarray(gaze, np.float64)
        light = self.light if light is None else np.asarray(light, np.float32).reshape(9, 3)
        if self.backend is not None:
            from selfieavatar.rendering.renderer_torch import render_on_device  # torch comes only with a backend

            pose = rotation, translation, expression, gaze, light
            return FaceImages(*render_on_device(self, self.backend, *pose))
        points = self.vertices(rotation, translation, expression)
        to_model = np.ascontiguousarray(rodrigues(rotation).T)
        origin = -to_model @ np.asarray(translation, np.float64)
        axes, normals = gaze_axes(gaze), vertex_normals(points, self.tri) * self.outwards
        brightness = shading.shade(normals.astype(np.float64), light).astype(np.float32)
        plain, fine = self._buffers()
        size, camera = self.size_px, np.array([self.focal_px, *self.principal])
        plain.draw(clip_positions(points, self.focal_px, self.principal, (size, size)), self.tri)
        if fine is not plain:
            fine.fill()
        mesh, eyeballs = (plain.edges, self.tri), (camera, to_model, origin, self.eyes, axes)
        image, uv = np.zeros((size, size, 3), np.uint8), np.zeros((size, size, 3), np.uint16)
        mask = np.zeros((size, size), np.uint8)
        values = np.concatenate([brightness, self.uv], axis=1)
        paint_image(
            fine.face_at, fine.extent, *mesh, values, self.part, self.eye_of, self.texels,
            *eyeballs, self.supersample, image,
        )  # fmt: skip
        paint_uv(
            plain.face_at, plain.extent, *mesh, self.uv, self.part, self.eye_of,
            *eyeballs, self.discs, self.mouth, uv, mask,
        )  # fmt: skip
        return FaceImages(image, uv, mask.view(bool))

    def render_batch(
        self,
        rotation: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray,
        gaze: np.ndarray | None = None,
        light: np.ndarray | None = None,
        torso: np.ndarray | None = None,
    ) -> FaceImages:
        """Draw N frames as `render` does.

        Arguments (N, 3), (N, 3), (N, E), (N, 4), (N, 27), (N, 2); the images are stacked along a first axis.
        """
        rest = [[None] * len(rotation) if values is None else values for values in (gaze, light, torso)]
        frames = [self.render(*frame) for frame in zip(rotation, translation, expression, *rest, strict=True)]
        return FaceImages(*(np.stack(images) for images in zip(*frames, strict=True)))

    def _buffers(self) -> tuple[ZBuffer, ZBuffer]:
        """Return this thread's z-buffers with one sample a pixel and with supersample x supersample."""
        if not hasattr(self._local, "buffers"):
            plain = ZBuffer((self.size_px, self.size_px), len(self.tri))
            self._local.buffers = plain, plain if self.supersample == 1 else plain.finer(self.supersample)
        return self._local.buffers
