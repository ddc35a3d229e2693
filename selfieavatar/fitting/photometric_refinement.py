"""Refine pose, expression, texture and light together on the images themselves, by Adam through the rasteriser.

The energy of a frame is the mean Charbonnier distance between the drawn and the filmed skin, the landmarks' robust
distance, and the change against the landmark fit: kept small, and alike in neighbouring frames. It starts from the
landmark fit and from `fitting.lighting`, which find the minimum's neighbourhood; only skin inside the outline
counts, since the mesh ends where hair and neck go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from selfieavatar.fitting.clip_fit import ClipFit, reprojection_error
from selfieavatar.fitting.landmark_measures import inter_ocular_distance
from selfieavatar.fitting.landmark_solver import FINE, FitResult, SolverSettings
from selfieavatar.fitting.lighting import positive
from selfieavatar.fitting.smoothing import OK, takes
from selfieavatar.geometry.camera import Camera
from selfieavatar.geometry.normals import orient_outwards
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, landmark_weights
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.rendering.raster import RasterBackend, camera_to_clip
from selfieavatar.rendering.shading import BAND_FACTORS

_CHUNK = 256  # frames of a take whose images are held at once


@dataclass(frozen=True)
class JointSettings:
    """Weights of the refinement.

    photo_noise: expected difference of a pixel, 1 is white. photo_support: independent pixels that a frame counts for
    (see `SolverSettings` for the landmarks' own). charbonnier: difference below which the distance is quadratic.
    keep, temporal: weights of the change of a coefficient, and of its first differences, in steps of `SolverSettings`.
    rates: of Adam for coefficients (in those steps), texture and light. batch: frames drawn at once.
    """

    photo_noise: float = 0.04
    photo_support: float = 60.0
    charbonnier: float = 0.02
    keep: float = 0.02
    temporal: float = 100.0
    iterations: int = 60
    rate: float = 0.1
    texture_rate: float = 0.004
    light_rate: float = 0.004
    batch: int = 16


@dataclass
class Observations:
    """What N frames show.

    images (N, S, S, 3) and mattes (N, S, S) uint8; points (N, L, 2) in their pixels, NaN where unknown; eye_distance
    (N,) px, the unit of landmarks' distances; linked (N - 1,) True where frame n + 1 continues frame n.
    """

    images: np.ndarray
    mattes: np.ndarray
    points: np.ndarray
    eye_distance: np.ndarray
    linked: np.ndarray


@dataclass
class Appearance:
    """What is refined.

    rotation (N, 3), translation (N, 3), expression (N, E) of the frames; texture (T, T, 3) in [0, 1]; lights (G, 9, 3),
    and owner (N,), the number of each frame's light.
    """

    rotation: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    texture: np.ndarray
    lights: np.ndarray
    owner: np.ndarray


def rotation_matrices(vectors: torch.Tensor) -> torch.Tensor:
    """Convert axis-angle (B, 3) to matrices (B, 3, 3) by Rodrigues' formula; differentiable, also at no rotation."""
    squared = (vectors**2).sum(1)[:, None, None]
    angle = (squared + 1e-12).sqrt()
    x, y, z = vectors.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return eye + angle.sin() / angle * skew + (1.0 - angle.cos()) / angle**2 * (skew @ skew)


class Scene:
    """A subject's mesh and camera on the device of a rasteriser backend.

    weights (L,): of the landmarks. dtype: float64 serves tests of gradients with the reference backend.
    """

    def __init__(
        self, backend: RasterBackend, model: MorphableModel, camera: Camera, weights: np.ndarray,
        settings: JointSettings | None = None, solver: SolverSettings | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.backend, self.model, self.camera, self.dtype = backend, model, camera, dtype
        self.settings, self.solver = settings or JointSettings(), solver or SolverSettings()
        self.device = getattr(backend, "device", torch.device("cpu"))
        self.template, self.basis = self.tensor(model.template), self.tensor(model.expression_basis)
        self.uv = self.tensor(model.uv)[None]
        self.tri = torch.as_tensor(np.ascontiguousarray(model.tri, np.int32), device=self.device)
        self.skin = torch.as_tensor(model.tri_part == 0, device=self.device)
        self.outwards = orient_outwards(model.template, model.tri)
        self.landmarks = model.used_landmarks
        self.at = torch.as_tensor(model.landmark_vertices[self.landmarks], device=self.device).long()
        chosen = weights[self.landmarks]
        self.weights = self.tensor(chosen / max(chosen.sum(), 1e-9))
        st = self.solver
        expression = st.expression_step * np.maximum(model.expression_scale, 1e-6)
        pose = np.concatenate([np.full(3, st.rotation_step), np.array([1, 1, 3]) * st.translation_step])
        self.steps = self.tensor(np.concatenate([pose, expression]))
        free = np.full(6, np.inf)
        low, high = model.expression_limits()
        self.low, self.high = self.tensor(np.concatenate([-free, low])), self.tensor(np.concatenate([free, high]))

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """Move an array to the device."""
        return torch.as_tensor(np.asarray(array), device=self.device).to(self.dtype)

    def points(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Coefficients (B, 6 + E): rotation, translation, expression -> camera points (B, V, 3), cm."""
        shape = self.template + torch.tensordot(coefficients[:, 6:], self.basis, 1)
        return shape @ rotation_matrices(coefficients[:, :3]).transpose(1, 2) + coefficients[:, None, 3:6]

    def normals(self, points: torch.Tensor) -> torch.Tensor:
        """Area-weighted outward normals (B, V, 3), see `normals.vertex_normals`."""
        corners = self.tri.long()
        a, b, c = (points[:, corners[:, k]] for k in range(3))
        faces = torch.cross(b - a, c - a, dim=2)
        total = torch.zeros_like(points)
        for k in range(3):
            total = total.index_add(1, corners[:, k], faces)
        return self.outwards * F.normalize(total, dim=2)

    def irradiance(self, normals: torch.Tensor, lights: torch.Tensor) -> torch.Tensor:
        """Return (B, V, 3) of normals (B, V, 3) under lights (B, 9, 3), see `shading.shade`."""
        x, y, z = normals.unbind(2)
        bands = [torch.ones_like(x), y, z, x, x * y, y * z, 3.0 * z * z - 1.0, x * z, x * x - y * y]
        return (torch.stack(bands, dim=2) * self.tensor(BAND_FACTORS) @ lights).clamp(min=0.0)

    def draw(
        self, points: torch.Tensor, texture: torch.Tensor, lights: torch.Tensor, behind: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the face before images `behind` (B, S, S, 3) in [0, 1]; also each pixel's triangle (B, S, S) or -1."""
        size = behind.shape[1], behind.shape[2]
        clip = camera_to_clip(points, self.camera.focal_px, self.camera.principal, size)
        rast = self.backend.rasterize(clip, self.tri, size)
        values = torch.cat([self.irradiance(self.normals(points), lights), self.uv.expand(len(points), -1, -1)], dim=2)
        values = self.backend.interpolate(values, rast, self.tri)
        face = rast[..., 3].detach().round().long() - 1
        lit = self.backend.texture(texture[None], values[..., 3:]) * values[..., :3]
        image = torch.where((face >= 0)[..., None], lit, behind)
        return self.backend.antialias(image, rast, clip, self.tri), face

    def counted(self, face: torch.Tensor, mattes: torch.Tensor) -> torch.Tensor:
        """Mark skin of the person (B, S, S), a little inside the outline of the mesh; mattes (B, S, S) in [0, 1]."""
        reach = max(1, face.shape[1] // 128)
        off = F.max_pool2d((face < 0).to(self.dtype)[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0
        return (face >= 0) & self.skin[face.clamp(min=0)] & ~off & (mattes >= 0.5)

    def photo_energy(
        self, points: torch.Tensor, texture: torch.Tensor, lights: torch.Tensor, images: torch.Tensor,
        mattes: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Return (B,) photometric energy."""
        st = self.settings
        drawn, face = self.draw(points, texture, lights, images)
        weight = self.counted(face, mattes).to(self.dtype)
        distance = (((drawn - images) ** 2).mean(3) + st.charbonnier**2).sqrt() - st.charbonnier
        mean = (distance * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)
        return st.photo_support * mean / st.photo_noise

    def landmark_energy(self, points: torch.Tensor, wanted: torch.Tensor, eye_distance: torch.Tensor) -> torch.Tensor:
        """Return the robust landmark energy (B,) against wanted (B, M, 2) px, NaN if unknown; eye_distance (B,) px."""
        shown = points[:, self.at]
        principal = self.tensor(np.asarray(self.camera.principal))
        pixels = self.camera.focal_px * shown[..., :2] / shown[..., 2:] + principal
        known = wanted.isfinite().all(dim=2)
        offset = torch.where(known[..., None], pixels - wanted, torch.zeros_like(pixels))
        square = (offset**2).sum(2) / (eye_distance[:, None] * self.solver.noise) ** 2
        return self.solver.support * (square / (1.0 + square / FINE**2) * self.weights * known).sum(1)

    def change_energy(self, change: torch.Tensor, linked: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
        """Energy of changes (N, 6 + E) in steps: their size, and their differences in time (linked (N - 1,))."""
        energy = self.settings.keep * (change**2).sum()
        energy = energy + self.settings.temporal * (((change[1:] - change[:-1]) ** 2).sum(1) * linked).sum()
        if before is not None:
            energy = energy + self.settings.temporal * ((change[0] - before) ** 2).sum()
        return energy


def retouched(painted: torch.Tensor, retouch: torch.Tensor) -> torch.Tensor:
    """Texture (T, T, 3) plus a coarser change (1, 3, R, R), in [0, 1]."""
    fine = F.interpolate(retouch, size=painted.shape[:2], mode="bilinear", align_corners=False)
    return (painted + fine[0].permute(1, 2, 0)).clamp(0.0, 1.0)


def refine(
    scene: Scene,
    observations: Observations,
    start: Appearance,
    learn_appearance: bool,
    before: np.ndarray | None = None,
) -> tuple[Appearance, np.ndarray]:
    """Minimise by Adam: the appearance, and the change (N, 6 + E) of pose and expression.

    learn_appearance: texture and light are learnt too (the light's first band stays: it fixes the scale), else they
    stay. before (6 + E,): the change of the frame before the first, where this continues a take.
    """
    st = scene.settings
    base = scene.tensor(np.concatenate([start.rotation, start.translation, start.expression], axis=1))
    change = torch.zeros_like(base, requires_grad=True)
    painted = scene.tensor(start.texture)
    # No finer than the images show the face: texels between the samples would drift and flicker.
    side = min(len(painted), max(observations.images.shape[1] // 2, 8))
    retouch = torch.zeros(1, 3, side, side, dtype=scene.dtype, device=scene.device, requires_grad=learn_appearance)
    factors = scene.tensor(BAND_FACTORS)[1:, None]
    ambient = scene.tensor(start.lights[:, :1])
    directed = (scene.tensor(start.lights[:, 1:]) * factors).requires_grad_(learn_appearance)
    groups = [{"params": [change], "lr": st.rate}]
    if learn_appearance:
        groups += [{"params": [retouch], "lr": st.texture_rate}, {"params": [directed], "lr": st.light_rate}]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: 1.0 - 0.9 * n / st.iterations)
    wanted = scene.tensor(observations.points[:, scene.landmarks])
    eye_distance = scene.tensor(observations.eye_distance)
    linked = scene.tensor(observations.linked.astype(float))
    previous = None if before is None else scene.tensor(before)
    owner = torch.as_tensor(start.owner, device=scene.device).long()
    for _ in range(st.iterations):
        optimiser.zero_grad(set_to_none=True)
        scene.change_energy(change, linked, previous).backward()
        for low in range(0, len(base), st.batch):
            rows = slice(low, low + st.batch)
            lights = torch.cat([ambient, directed / factors], dim=1)[owner[rows]]
            texture = retouched(painted, retouch)
            points = scene.points(base[rows] + change[rows] * scene.steps)
            images, mattes = (
                scene.tensor(observations.images[rows]) / 255.0,
                scene.tensor(observations.mattes[rows]) / 255.0,
            )
            energy = scene.photo_energy(points, texture, lights, images, mattes)
            (energy + scene.landmark_energy(points, wanted[rows], eye_distance[rows])).sum().backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():  # weights of blendshapes keep within their limits
            kept = (base + change * scene.steps).clamp(scene.low, scene.high)
            change.copy_((kept - base) / scene.steps)
    moved = change.detach()
    final = (base + moved * scene.steps).cpu().double().numpy()
    learnt = torch.cat([ambient, directed / factors], dim=1).detach().cpu().numpy()
    learnt = positive(learnt).astype(np.float32) if learn_appearance else start.lights
    finest = retouched(painted, retouch.detach()).cpu().numpy()
    result = Appearance(final[:, :3], final[:, 3:6], final[:, 6:], finest, learnt, start.owner)
    return result, moved.cpu().numpy()


def refine_clip(
    scene: Scene, clip: ClipFit, points: np.ndarray, texture: np.ndarray, lights: np.ndarray,
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], set_name: str = MEDIAPIPE,
) -> ClipFit:  # fmt: skip
    """Refine pose and expression of a clip under a known texture (T, T, 3) uint8 and lights (N, 9, 3).

    points (N, L, 2) px, of the landmark set `set_name`. read: images (n, S, S, 3) and mattes (n, S, S) uint8 of rows
    (n,). Takes are refined piece by piece, each tied to the one before; lost frames stay lost.
    """
    eye_distance = inter_ocular_distance(points, set_name)
    known = np.where((clip.quality == OK)[:, None, None], points, np.nan)
    pose, expression = np.concatenate([clip.rotation, clip.translation], axis=1), clip.expression.copy()
    for take in takes(clip.quality, clip.cuts):
        before = None
        for low in range(0, len(take), _CHUNK):
            rows = take[low : low + _CHUNK]
            observations = Observations(
                *read(rows), known[rows], np.nan_to_num(eye_distance[rows], nan=1.0), np.ones(len(rows) - 1, bool)
            )
            start = Appearance(
                pose[rows, :3], pose[rows, 3:], expression[rows], texture / 255.0, lights[rows], np.arange(len(rows))
            )
            result, change = refine(scene, observations, start, learn_appearance=False, before=before)
            before = change[-1]
            pose[rows] = np.concatenate([result.rotation, result.translation], axis=1)
            expression[rows] = result.expression
    error = reprojection_error(scene.model, scene.camera, points, eye_distance, pose, expression)
    error[clip.quality != OK] = np.nan
    return replace(clip, rotation=pose[:, :3], translation=pose[:, 3:], expression=expression, error=error)


def refine_appearance(
    backend: RasterBackend, model: MorphableModel, camera: Camera, fit: FitResult, observations: tuple[np.ndarray, ...],
    owner: np.ndarray, appearance: dict[str, np.ndarray], set_name: str = MEDIAPIPE,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Refine texture (T, T, 3) uint8 and light (9, 3) together with the frames' pose and expression.

    Args:
        backend: rasteriser. model, camera, fit: of the frames. observations: landmarks (N, L, 2), clip (N,), images and
            mattes of separate frames. owner: (N,) number of the light. appearance: what `lighting.learn_appearance`
            found, to start from. set_name: of the landmarks.
    """
    points, _, images, mattes = observations
    scene = Scene(backend, model, camera, landmark_weights(set_name))
    distance, apart = inter_ocular_distance(points, set_name), np.zeros(len(points) - 1, bool)
    footage = Observations(images, mattes, points, distance, apart)
    texture, lights = appearance["texture"] / 255.0, appearance["lights"]
    start = Appearance(fit.rotation, fit.translation, fit.expression, texture, lights, owner)
    result, _ = refine(scene, footage, start, learn_appearance=True)
    texture = np.clip(np.round(result.texture * 255.0), 0, 255).astype(np.uint8)
    return {"texture": texture, "light": result.lights[owner].mean(axis=0)}
