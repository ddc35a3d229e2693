"""Move landmarks to where the skin itself says they are, by aligning every frame's texture with the subject's own.

A detector errs with pose and expression: turn the head, and its points slide over the skin, so that a texture painted
by them is blurred. Unwrapped by the fitted mesh, all frames show the same skin at the same texels but for that error.
Optical flow (Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016) from the subject's reference
texture to that of a frame measures it, and the landmarks follow. What has no texture takes the flow of the structure
around it; what the head hides stays where the fit has it; and where the frame does not look like the subject's skin
after all (a hand, a blur), the detector's word counts. Light is taken out first: both textures are of unit local
contrast.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from selfieavatar.fitting import personal_model
from selfieavatar.fitting.landmark_measures import mesh_inter_ocular_distance
from selfieavatar.fitting.landmark_solver import FitResult, SolverSettings
from selfieavatar.geometry.camera import Camera, transform
from selfieavatar.geometry.normals import orient_outwards, vertex_normals
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, landmark_set
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.rendering.texture import mesh_texels

log = logging.getLogger(__name__)

MOST_IMAGE_PX = 256  # larger images are shrunk first: the flow resolves fractions of a pixel
_SEEN = 0.3  # least cosine between the normal and the way to the camera
_NEAR = 1 / 24  # deviation of the neighbourhood of local contrast, over the texture's side
_REACH = 1 / 40  # and that over which structure carries flow to where there is none
_LEAST_CONTRAST = 2.0  # in grey levels: below it there is noise
_MOST_FLOW = 1 / 50  # over the texture's side: more is another thing than this skin
_MATCH = 0.55, 0.8  # local correlation with the reference: not this skin below, surely above
_ROUNDS = 3  # of learning the model and its reference
PASSES = 2  # over a clip, each from a better fit
_CODE = 40.0  # grey levels of one unit of contrast in the stored reference


@dataclass(frozen=True)
class Unwrapped:
    """One frame on the T x T texels.

    contrast and weight (T, T) float32, the latter 0 where no skin is seen; pixels (V, 2) of the vertices in the image.
    """

    contrast: np.ndarray
    weight: np.ndarray
    pixels: np.ndarray


def texture_side(image_px: int) -> int:
    """Texels on a side of the reference for images of this side: about two for a pixel of the face."""
    return 96 if image_px <= 160 else 128


def small_side(image_px: int) -> int:
    """Side to which images of this side are shrunk first, a whole number of times smaller."""
    return round(image_px / -(-image_px // MOST_IMAGE_PX))


def shrink(image: np.ndarray) -> np.ndarray:
    """Grey (S, S) uint8 of an RGB or single-channel image, of `small_side`."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    side = small_side(grey.shape[0])
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA) if side < grey.shape[0] else grey


class Registration:
    """A subject's mesh made ready for one size of images.

    Args:
        model: with UV. camera: of images of any size. image_px: side of those that will be given.
        side: texels of the reference, where there is one already.
    """

    def __init__(self, model: MorphableModel, camera: Camera, image_px: int, side: int | None = None) -> None:
        self.model, self.camera = model, camera.scaled(image_px)
        self.side = side or texture_side(image_px)
        (rows, columns), face, weights = mesh_texels(model.tri, model.uv, self.side)
        skin = model.tri_part[face] == 0
        self.texels = rows[skin], columns[skin]
        corners = model.tri[face[skin]]
        # Values at all T * T texels, 0 at those that are no skin, = unwrap @ values at the vertices.
        texel = np.repeat(np.ravel_multi_index(self.texels, (self.side, self.side)), 3)
        shape = self.side**2, len(model.template)
        self.unwrap = csr_matrix((weights[skin].ravel(), (texel, corners.ravel())), shape)
        self.grid = np.dstack(np.meshgrid(*[np.arange(self.side, dtype=np.float32)] * 2))
        self.uv = (model.uv * self.side - 0.5).astype(np.float32)[None]
        self.along = self._gradients()
        self.outwards = orient_outwards(model.template, model.tri)
        self.rings = landmark_set(MEDIAPIPE).eyes
        self._near, self._reach = _NEAR * self.side, _REACH * self.side

    def _gradients(self) -> tuple[csr_matrix, csr_matrix]:
        """Set up derivatives by u and v, per texel, of values on the vertices: least squares over the neighbours."""
        tri, uv, count = self.model.tri[self.model.tri_part == 0], self.uv[0].astype(float), len(self.model.template)
        pairs = np.concatenate([tri[:, [0, 1]], tri[:, [1, 2]], tri[:, [2, 0]]])
        pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
        here, there = pairs.T
        step = uv[there] - uv[here]
        moment = np.zeros((count, 2, 2))
        np.add.at(moment, here, step[:, :, None] * step[:, None, :])
        moment += 1e-6 * np.eye(2)
        share = np.einsum("pij,pj->pi", np.linalg.inv(moment)[here], step)
        difference = [csr_matrix((share[:, k], (here, there)), (count, count)) for k in range(2)]
        return tuple(d - csr_matrix((np.asarray(d.sum(1)).ravel(), (range(count), range(count)))) for d in difference)

    def read(self, points: np.ndarray, grey: np.ndarray, matte: np.ndarray) -> Unwrapped:
        """Unwrap a frame: camera points (V, 3) cm; grey image and matte (S, S) uint8.

        Raises:
            ValueError: they are not of the size that was announced.
        """
        if grey.shape != matte.shape or grey.shape[0] != self.camera.size_px:
            raise ValueError(f"image {grey.shape} and matte {matte.shape} must both have {self.camera.size_px} px")
        normals = vertex_normals(points, self.model.tri) * self.outwards
        facing = -(normals * points).sum(1) / np.linalg.norm(points, axis=1)
        pixels = self.camera.project(points)
        values = (self.unwrap @ np.column_stack([pixels, facing])).astype(np.float32)
        values = values.reshape(self.side, self.side, 3)
        place = values[..., :2] - 0.5
        weight = np.where(values[..., 2] < _SEEN, 0, values[..., 2])
        person = _sample(matte, place, cv2.INTER_NEAREST) >= 128
        shown = _sample(grey, place).astype(np.float32)
        weight = weight**2 * person
        return Unwrapped(self._contrast(shown, weight), weight, pixels)

    def _contrast(self, shown: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Departure from the local mean in units of the local deviation: what light changes little."""

        def around(values: np.ndarray) -> np.ndarray:
            return cv2.GaussianBlur(values * weight, (0, 0), self._near) / total

        total = cv2.GaussianBlur(weight, (0, 0), self._near) + 1e-6
        departure = np.where(weight > 0, shown - around(shown), 0).astype(np.float32)
        return departure / np.sqrt(around(departure**2) + _LEAST_CONTRAST**2)

    def reference(self, frames: Iterable[Unwrapped]) -> np.ndarray:
        """Return (T, T) uint8, the weighted mean of the frames: 128 is no contrast, also where nothing is seen."""
        total, weight = np.zeros((self.side, self.side)), np.full((self.side, self.side), 1e-6)
        for frame in frames:
            total += frame.contrast * frame.weight
            weight += frame.weight
        return np.clip(np.round(128 + _CODE * total / weight), 0, 255).astype(np.uint8)

    def moved(self, reference: np.ndarray, frame: Unwrapped) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measure by optical flow how far each vertex lies from its skin, (V, 2) px of the image.

        Also how much skin is seen there, and how well it is that of the reference (T, T), both (V,) in [0, 1].
        """
        seen = (frame.weight > 0).astype(np.float32)
        coded = np.clip(np.round(128 + _CODE * frame.contrast), 0, 255).astype(np.uint8)
        flow = _flow(reference, np.where(seen > 0, coded, reference))
        mean = reference.astype(np.float32) / _CODE
        structure = cv2.Sobel(mean, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(mean, cv2.CV_32F, 0, 1) ** 2
        match = self._match(mean - 128 / _CODE, frame, flow)
        structure = structure * seen + 1e-3
        alike = self._spread(structure * match) / self._spread(structure)
        structure *= match + 1e-3
        total = self._spread(structure)
        across, down = (self._spread(part * structure) / total for part in cv2.split(flow))
        length = np.sqrt(across * across + down * down)
        shorter = np.minimum(1, _MOST_FLOW * self.side / np.maximum(length, 1e-6))
        sure = np.clip(2 * self._spread(seen) - 0.6, 0, 1)
        values = cv2.merge([across * shorter, down * shorter, sure, alike])
        at = _sample(values, self.uv, border=cv2.BORDER_REPLICATE)[0]
        by_u, by_v = (derivative @ frame.pixels for derivative in self.along)
        return at[:, :1] * by_u + at[:, 1:2] * by_v, at[:, 2], at[:, 3]

    def _spread(self, values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), self._reach)

    def _match(self, mean: np.ndarray, frame: Unwrapped, flow: np.ndarray) -> np.ndarray:
        """Correlate the frame, moved by the flow, with the reference around each texel: (T, T) in [0, 1]."""
        moved, weight = cv2.split(_sample(cv2.merge([frame.contrast, frame.weight]), self.grid + flow))
        products = moved * mean, moved * moved, mean * mean
        both, own, other = (cv2.GaussianBlur(product * weight, (0, 0), self._near) for product in products)
        share = np.clip((both / np.sqrt(own * other + 1e-9) - _MATCH[0]) / (_MATCH[1] - _MATCH[0]), 0, 1)
        return share * share * (3 - 2 * share)

    def landmarks(
        self, reference: np.ndarray, points: np.ndarray, detected: np.ndarray, grey: np.ndarray, matte: np.ndarray,
        scale: float,
    ) -> np.ndarray:  # fmt: skip
        """Move the landmarks (L, 2) of a frame to their skin, in the pixels of `detected` (L, 2).

        scale: such pixels in one of the image. points: (V, 3) cm, the fit in the camera's axes.
        """
        frame = self.read(points, grey, matte)
        away, sure, alike = self.moved(reference, frame)
        used = self.model.used_landmarks
        vertices = self.model.landmark_vertices[used]
        out = np.array(detected, np.float64)
        skin = scale * (frame.pixels + sure[:, None] * away)[vertices]
        # What is seen and is not this skin keeps the detector's word.
        out[used] += (1 - sure * (1 - alike))[vertices, None] * (skin - out[used])
        # Lids fold, which is no flow of skin: an eye moves as a whole, as far open as the detector saw it.
        for ring in map(list, self.rings):
            out[ring] = detected[ring] + (out[ring] - detected[ring]).mean(0)
        return out


class SkinRegistration:
    """Move the landmarks of a live camera's images to the skin of a known subject.

    Args:
        model, reference: of the subject (`Identity`). camera: of the landmarks. image_px: side of the images.
    """

    def __init__(self, model: MorphableModel, reference: np.ndarray, camera: Camera, image_px: int) -> None:
        self._reference = reference
        self._registration = Registration(model, camera, image_px, len(reference))
        self._scale = camera.size_px / image_px
        self._everywhere = np.full((image_px, image_px), 255, np.uint8)  # a live image has no matte

    def __call__(self, points: np.ndarray, parameters: np.ndarray, grey: np.ndarray) -> np.ndarray:
        """Move landmarks (L, 2) px: first fit of the frame (6 + E,), and its image (image_px, image_px) uint8."""
        surface = transform(
            self._registration.model.vertices(parameters[None, 6:]), parameters[None, :3], parameters[None, 3:6]
        )
        return self._registration.landmarks(
            self._reference, surface[0], points, grey, self._everywhere, self._scale
        )  # fmt: skip


def register(
    model: MorphableModel, camera: Camera, reference: np.ndarray, surface: np.ndarray, detected: np.ndarray,
    read: Callable[[int], tuple[np.ndarray, np.ndarray]], threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """Move the landmarks (N, L, 2) of N frames to their skin.

    Rows stay whose landmarks or surface (N, V, 3), cm, are not finite. detected: (N, L, 2) in the pixels of the camera.
    read: number of a frame -> grey image and matte (S, S) uint8, called on the threads.

    Raises:
        ValueError: an image and its matte are not of one size.
    """
    out = np.array(detected, np.float64)
    known = np.isfinite(surface).all((1, 2)) & np.isfinite(out[:, model.used_landmarks]).all((1, 2))
    known = np.flatnonzero(known)
    if not len(known):
        return out
    side = len(read(int(known[0]))[0])
    registration, scale = Registration(model, camera, side, len(reference)), camera.size_px / side

    def follow(number: int) -> None:
        out[number] = registration.landmarks(reference, surface[number], detected[number], *read(int(number)), scale)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        list(pool.map(follow, known))
    return out


def learn(
    model: MorphableModel, camera: Camera, fit: FitResult, detected: np.ndarray,
    images: list[tuple[np.ndarray, np.ndarray]], settings: SolverSettings, threads: int = 1,
    max_error: float = np.inf,
) -> tuple[MorphableModel, FitResult, np.ndarray]:  # fmt: skip
    """Improve the subject's model, its fit and the reference texture, each by the others, in a few rounds.

    detected: (N, 478, 2) px of the camera, and fit: of frames that the model was learnt from, some hundreds;
    images: grey and matte (S, S) uint8 of each; max_error: of a fit, as a share of the eye distance, above which the
    frame has no part in the reference.
    """
    side = len(images[0][0])

    def unwrap() -> tuple[Registration, np.ndarray, np.ndarray]:
        """Make registration, surfaces (N, V, 3) and reference of the present model and fit."""
        registration = Registration(model, camera, side)
        surface = transform(model.vertices(fit.expression), fit.rotation, fit.translation)
        seen = np.flatnonzero(np.isfinite(surface).all((1, 2)) & (fit.error <= max_error))
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            reference = registration.reference(pool.map(lambda i: registration.read(surface[i], *images[i]), seen))
        return registration, surface, reference

    for number in range(_ROUNDS):
        registration, surface, reference = unwrap()
        points = register(model, camera, reference, surface, detected, images.__getitem__, threads)
        moved = np.linalg.norm(points - detected, axis=2) / mesh_inter_ocular_distance(detected)[:, None]
        log.info("registration round %d: contrast of the reference %.1f, landmarks %.2f %% from the detector's",
                 number, np.std(reference[registration.texels].astype(float)), 100 * np.nanmedian(moved))  # fmt: skip
        model, fit = personal_model.relearn(model, camera, points, fit, settings)
    return model, fit, unwrap()[2]


def _flow(reference: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Compute the flow (T, T, 2) from one uint8 texture to the other; the object serves one call at a time."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(1)
    flow.setPatchSize(8)
    flow.setPatchStride(4)
    return flow.calc(reference, frame, None)  # type: ignore[call-overload]  # None is fine


def _sample(
    image: np.ndarray, at: np.ndarray, interpolation: int = cv2.INTER_LINEAR, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """Sample an image at pixels (H, W, 2) float32; 0 outside, or as the border says."""
    return cv2.remap(image, at, None, interpolation, borderMode=border)  # type: ignore[call-overload]  # None is fine
