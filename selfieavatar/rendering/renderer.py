"""The two images that drive the avatar: the shaded face I_R and the texture coordinates I_UV, of one fitted frame.

NumPy and numba only, so that the many short jobs of the render stage start without torch; given a backend of
`selfieavatar.rendering.raster` the same images are made on its device (`renderer_device`).

Eyes. The mesh spans each eye opening with plain triangles (tri_part 1). Behind them an eyeball is ray-cast. In I_R it
is a white ball with a dark iris, clipped by the lids. In I_UV its points do not take the mesh's UV, which would be
fixed to the lids, but lie in a disc of their own in a corner of the UV square that the face leaves free: the disc's
centre is the point that the eye looks through, its rim lies 90 degrees off. So the learnt texture holds one iris, in
the middle of the disc, and it moves with the gaze and disappears under the lids by sampling alone. UV jumps at the
lids: sample it with nearest neighbours, or scale it up after the look-up, never before.

Mouth. Where a mesh closes the mouth by plain triangles (tri_part 2, and no teeth), their UV would squeeze the whole
inside of the mouth into whatever slit the lips leave, too fine for the pixels. In I_UV they hold the place at which the
line of sight meets a plane behind the lips that turns with the head, as the upper teeth do.

Off the face I_UV holds coordinates of hair and ears, and of the torso, where the identity knows a skull and a torso:
see `selfieavatar.rendering.offface_uv`. Their third channel is 0, and v is not.

Hidden triangles (tri_part 3), such as a neck, hide what lies behind them and leave both images and the mask empty.
"""

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.normals import orient_outwards, vertex_normals
from selfieavatar.rendering import shading
from selfieavatar.rendering.kernels import EYE, MOUTH, TEETH, pack_texture, paint_image, paint_uv
from selfieavatar.rendering.offface_uv import paint_hair, paint_torso
from selfieavatar.rendering.raster_cpu import ZBuffer, clip_positions

REQUIRED = (
    "template", "expression_basis", "tri", "tri_part", "uv", "focal_px", "principal", "size_px", "texture",
    "eye_center", "eye_radius", "iris_radius",
)  # fmt: skip
# Of the arrays that are looked at: kinds of numbers, shape (V vertices, E expressions, F triangles, other letters any
# length), least and most. Cm and pixels are far below the bounds; what is beyond overflows on the way to an image.
_ARRAYS = {
    "template": ("f", ("V", 3), (-1e4, 1e4)),
    "expression_basis": ("f", ("E", "V", 3), (-1e4, 1e4)),
    "expression_scale": ("f", ("E",), (0, 1e4)),
    "expression_low": ("f", ("E",), (-1e4, 1e4)),
    "expression_high": ("f", ("E",), (-1e4, 1e4)),
    "tri": ("iu", ("F", 3), (0, None)),
    "tri_part": ("iu", ("F",), (0, TEETH)),
    "uv": ("f", ("V", 2), (-2, 2)),
    "landmark_vertices": ("iu", ("L",), (-1, None)),
    "eye_center": ("f", (2, 3), (-1e4, 1e4)),
    "eye_radius": ("f", (2,), (0, 1e4)),
    "iris_radius": ("f", (), (0, 1e4)),
    "focal_px": ("iuf", (), (1e-3, 1e6)),
    "principal": ("iuf", (2,), (-1e6, 1e6)),
    "size_px": ("iu", (), (1, 1 << 15)),
    "texture": ("iuf", ("H", "W", 3), (0, 255)),
    "light": ("f", (9, 3), (-1e4, 1e4)),
    "torso_top": ("iuf", (), (-1e4, 1e4)),
    "skull": ("f", (4,), ((-1e4, -1e4, -1e4, 1e-3), 1e4)),
}
_VERTEX_NUMBERS = ("tri", "landmark_vertices")
_DISC_SEARCH_PX = 256
_DISC_LARGEST = 0.12
_DISC_SMALLEST = 0.03
# Free texels around a disc, in UV: the generator's convolutions and bilinear look-ups bleed over about this much.
_DISC_MARGIN = 0.015
_MOUTH_MARGIN = 0.004  # free texels around the mouth's disc, in UV
_MOUTH_REACH = 1.1  # radius of the mouth's disc over half the width of the closed mouth
_TEETH_CM = 0.7  # from the lips back to the teeth


class FaceImages(NamedTuple):
    """image (S, S, 3) uint8 I_R; uv (S, S, 3) uint16 I_UV; mask (S, S) bool of the pixels that the face covers."""

    image: np.ndarray
    uv: np.ndarray
    mask: np.ndarray


def gaze_axes(gaze: np.ndarray) -> np.ndarray:
    """Gaze (4,): left yaw, left pitch, right yaw, right pitch in rad -> (2, 3, 3), rows right, down, forward.

    Model axes; yaw turns towards image right, pitch towards image down; zero looks along -z, at the camera.
    """
    yaw, pitch = np.asarray(gaze, np.float64).reshape(2, 2).T
    zero = np.zeros(2)
    right = np.stack([np.cos(yaw), zero, np.sin(yaw)], axis=1)
    down = np.stack([-np.sin(yaw) * np.sin(pitch), np.cos(pitch), np.cos(yaw) * np.sin(pitch)], axis=1)
    forward = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], axis=1)
    return np.stack([right, down, forward], axis=1)


def uv_clip(uv: np.ndarray) -> np.ndarray:
    """UV (V, 2) as clip positions (V, 4) float32 for drawing the mesh into its own texture, v = 0 in the first row."""
    uv = np.asarray(uv, np.float32)
    return np.concatenate([uv * 2.0 - 1.0, np.zeros_like(uv[:, :1]), np.ones_like(uv[:, :1])], axis=1)


def mouth_plane(template: np.ndarray, uv: np.ndarray, tri: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The plane behind the lips, (7,) float64: x, y of its middle and z in the model, UV per cm, and centre u, v and
    radius of the largest disc within the UV of the mouth. The radius is 0 where the mesh has teeth of its own, or no
    mouth."""
    inside = tri[part == MOUTH]
    if not len(inside) or (part == TEETH).any():
        return np.zeros(7)
    side = _DISC_SEARCH_PX
    buffer = ZBuffer((side, side), len(inside))
    buffer.draw(uv_clip(uv), inside)
    room = cv2.distanceTransform(np.pad((buffer.face_at >= 0).astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(np.argmax(room), room.shape)
    lips = template[np.unique(inside)]
    low, high = lips.min(0), lips.max(0)
    radius = room[row, column] / side - _MOUTH_MARGIN
    if radius <= 0 or high[0] <= low[0]:
        return np.zeros(7)
    middle, reach = (low + high) / 2, _MOUTH_REACH * (high[0] - low[0]) / 2
    u, v = (column - 0.5) / side, (row - 0.5) / side
    return np.array([*middle[:2], middle[2] + _TEETH_CM, radius / reach, u, v, radius])


def eye_discs(uv: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Two discs of the UV square that no triangle touches, (2, 3) float64: centre u, v and radius.

    The left eye gets the one with the larger u. The radius is 0 for both when the layout has no room for two discs of
    3 % of its side; the eye openings then keep the UV of the mesh.
    """
    side = _DISC_SEARCH_PX
    buffer = ZBuffer((side, side), len(tri))
    buffer.draw(uv_clip(uv), tri)
    free = np.pad((buffer.face_at < 0).astype(np.uint8), 1)
    discs = np.zeros((2, 3))
    rows, columns = np.mgrid[: side + 2, : side + 2]
    for index in range(2):
        room = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # The nearest place to a corner wins among equals, so the result does not hang on rounding.
        place = np.unravel_index(np.argmax(np.minimum(room, side * (_DISC_LARGEST + _DISC_MARGIN))), room.shape)
        radius = min(room[place] / side - _DISC_MARGIN, _DISC_LARGEST)
        if radius < _DISC_SMALLEST:
            return np.zeros((2, 3))
        discs[index] = (place[1] - 0.5) / side, (place[0] - 0.5) / side, radius
        taken = (columns - place[1]) ** 2 + (rows - place[0]) ** 2 <= ((radius + _DISC_MARGIN) * side) ** 2
        free[taken] = 0
    return discs[np.argsort(-discs[:, 0], kind="stable")]


class Renderer:
    """Draws a subject's fitted face; safe to share between threads (each gets buffers of its own).

    identity: the arrays of identity.npz. size_px: side of the images (default: the identity's; the camera is
    scaled). backend: None for the fast path on the CPU, else a backend of `selfieavatar.rendering.raster`.
    supersample: samples per pixel and axis of I_R; light: (9, 3) or (27,), default the identity's `light`, or
    `shading.default_light()` for an identity without one.
    Raises UserError when the identity lacks an array or its arrays contradict each other.
    """

    def __init__(
        self,
        identity: Mapping[str, Any],
        size_px: int | None = None,
        backend: Any | None = None,
        supersample: int = 2,
        light: np.ndarray | None = None,
    ) -> None:
        check_identity(identity)
        self.size_px = int(size_px or identity["size_px"])
        scale = self.size_px / float(identity["size_px"])
        self.focal_px = float(identity["focal_px"]) * scale
        self.principal = np.asarray(identity["principal"], np.float64).reshape(2) * scale
        self.supersample = int(supersample)
        self.backend = backend
        self.template = np.asarray(identity["template"], np.float32)
        self.basis = np.asarray(identity["expression_basis"], np.float32).reshape(-1, self.template.size)
        self.tri = np.ascontiguousarray(identity["tri"], np.int32)
        self.part = np.ascontiguousarray(identity["tri_part"], np.int8)
        self.uv = np.ascontiguousarray(identity["uv"], np.float32)
        self.texture = np.ascontiguousarray(identity["texture"], np.float32)
        self.texels = pack_texture(self.texture)
        own = identity.get("light", shading.default_light()) if light is None else light
        self.light = np.asarray(own, np.float32).reshape(9, 3)
        self.outwards = np.float32(orient_outwards(self.template, self.tri))
        self.torso_top = float(identity["torso_top"]) if "torso_top" in identity else None
        self.head_sphere = np.asarray(identity["skull"], np.float64) if "skull" in identity else None
        self._prepare_eyes(identity)
        self._local = threading.local()

    def _prepare_eyes(self, identity: Mapping[str, Any]) -> None:
        """eyes (2, 5): centre, radius, sine of the iris's half angle; eye_of (F,): the eyeball nearest to a face."""
        self.eyes = np.ones((2, 5))
        self.eyes[:, :3] = np.asarray(identity["eye_center"], np.float64)
        self.eyes[:, 3] = np.maximum(np.asarray(identity["eye_radius"], np.float64), 1e-3)
        self.eyes[:, 4] = np.clip(float(identity["iris_radius"]) / self.eyes[:, 3], 0.05, 0.95)
        middle = self.template[self.tri].mean(axis=1)
        distance = np.linalg.norm(middle[:, None] - self.eyes[None, :, :3], axis=2)
        self.eye_of = distance.argmin(axis=1).astype(np.int8)
        self.discs = eye_discs(self.uv, self.tri) if (self.part == EYE).any() else np.zeros((2, 3))
        self.mouth = mouth_plane(self.template, self.uv, self.tri, self.part)

    def vertices(self, rotation: np.ndarray, translation: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Camera points (V, 3) float64, cm: rotation (3,) axis-angle, translation (3,) cm, expression (E,)."""
        shape = self.template.ravel() + np.asarray(expression, np.float32) @ self.basis
        matrix, _ = cv2.Rodrigues(np.asarray(rotation, np.float64).reshape(3))
        return shape.reshape(-1, 3).astype(np.float64) @ matrix.T + np.asarray(translation, np.float64)

    def render(
        self,
        rotation: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray,
        gaze: np.ndarray | None = None,
        light: np.ndarray | None = None,
        torso: np.ndarray | None = None,
    ) -> FaceImages:
        """Both images of one frame; gaze (4,) in rad, default straight ahead; light (9, 3) or (27,), default the
        renderer's; torso (2,), its shift as a share of the side, default (or NaN) none. See `vertices` and
        `FaceImages`."""
        drawn = self._face(rotation, translation, expression, gaze, light)
        turn, _ = cv2.Rodrigues(np.asarray(rotation, np.float64).reshape(3))
        place = np.asarray(translation, np.float64)
        # A lost frame (NaN) has no hair, nor has a head that is not before the camera.
        middle = np.full(3, np.nan) if self.head_sphere is None else turn @ self.head_sphere[:3] + place
        with_hair = np.isfinite([*middle, *np.ravel(expression)]).all() and middle[2] > self.head_sphere[3]
        if self.torso_top is not None:
            shift = np.zeros(2) if torso is None else np.nan_to_num(np.asarray(torso, np.float64))
            top = self.torso_top + shift[1]
            if with_hair:  # beside the jaw there are shoulders and collars, too
                row = self.focal_px * middle[1] / middle[2] + self.principal[1]
                top = min(top, row / self.size_px)
            paint_torso(drawn.uv, drawn.mask, shift, top)
        if with_hair:
            camera = np.array([self.focal_px, *self.principal])
            paint_hair(drawn.uv, drawn.mask, camera, turn, place, self.head_sphere)
        return drawn

    def _face(
        self, rotation: np.ndarray, translation: np.ndarray, expression: np.ndarray, gaze: np.ndarray | None,
        light: np.ndarray | None,
    ) -> FaceImages:  # fmt: skip
        """`render` without what is off the face."""
        gaze = np.zeros(4) if gaze is None else np.asarray(gaze, np.float64)
        light = self.light if light is None else np.asarray(light, np.float32).reshape(9, 3)
        if self.backend is not None:
            from selfieavatar.rendering.renderer_torch import render_on_device  # torch comes only with a backend

            return render_on_device(self, rotation, translation, expression, gaze, light)
        points = self.vertices(rotation, translation, expression)
        rotation_matrix, _ = cv2.Rodrigues(np.asarray(rotation, np.float64).reshape(3))
        to_model = np.ascontiguousarray(rotation_matrix.T)
        origin = -to_model @ np.asarray(translation, np.float64)
        axes, normals = gaze_axes(gaze), vertex_normals(points, self.tri) * self.outwards
        brightness = shading.shade(normals, light)
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
        """`render` for N frames: arguments (N, 3), (N, 3), (N, E), (N, 4), (N, 27), (N, 2); images stacked along a
        first axis."""
        rest = [[None] * len(rotation) if given is None else given for given in (gaze, light, torso)]
        frames = [self.render(*frame) for frame in zip(rotation, translation, expression, *rest, strict=True)]
        return FaceImages(*(np.stack(images) for images in zip(*frames, strict=True)))

    def _buffers(self) -> tuple[ZBuffer, ZBuffer]:
        """This thread's z-buffers with one sample a pixel and with supersample x supersample."""
        if not hasattr(self._local, "buffers"):
            plain = ZBuffer((self.size_px, self.size_px), len(self.tri))
            self._local.buffers = plain, plain if self.supersample == 1 else plain.finer(self.supersample)
        return self._local.buffers


def check_identity(identity: Mapping[str, Any]) -> None:
    """Raises UserError where the arrays of an identity.npz cannot be drawn."""
    missing = [name for name in REQUIRED if name not in identity]
    if missing:
        raise UserError(f"the identity lacks {', '.join(missing)}; run the fit stage again to make it")
    sides: dict[str, int] = {}
    for name, (kinds, shape, (least, most)) in _ARRAYS.items():
        if name not in identity:
            continue
        values = np.asarray(identity[name])
        fault = ""
        if values.dtype.kind not in kinds or not values.size or not np.isfinite(values).all():
            fault = "is not of finite " + ("whole " if kinds == "iu" else "") + "numbers"
        elif not _fits(values.shape, shape, sides):
            fault = f"has the shape {values.shape}, which does not match the rest"
        elif (values < least).any() or values.max() > (sides["V"] - 1 if name in _VERTEX_NUMBERS else most):
            fault = "names vertices that are not there" if name in _VERTEX_NUMBERS else "is out of range"
        if fault:
            raise UserError(f"the identity's {name} {fault}; run the fit stage again to make it")


def _fits(found: tuple[int, ...], wanted: tuple[int | str, ...], sides: dict[str, int]) -> bool:
    """Whether a shape is the wanted one; the length of a side that has a letter is that of its first array."""
    if len(found) != len(wanted):
        return False
    pairs = zip(wanted, found, strict=True)
    return all((sides.setdefault(side, length) if isinstance(side, str) else side) == length for side, length in pairs)
