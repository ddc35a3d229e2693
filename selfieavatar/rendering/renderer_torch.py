"""The renderer's images made with a rasteriser backend (nvdiffrast, or the torch reference) on its device.

The same formulas as the numba kernels, written for whole images; a test holds both paths together.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from selfieavatar.geometry.normals import vertex_normals
from selfieavatar.rendering import shading
from selfieavatar.rendering.eyes import gaze_axes
from selfieavatar.rendering.face_mesh import FaceMesh, rodrigues
from selfieavatar.rendering.kernels import EYE, HIDDEN, IRIS, MOUTH, MOUTH_DIMMING, PUPIL, PUPIL_SHARE, SCLERA
from selfieavatar.rendering.raster import RasterBackend, camera_to_clip


class _Scene:
    """One posed frame on the backend's device: mesh, and what is needed to cast rays at the eyeballs."""

    def __init__(self, owner: FaceMesh, backend: RasterBackend, pose: tuple[np.ndarray, ...]) -> None:
        rotation, translation, expression, gaze, light = pose
        self.owner, self.backend = owner, backend
        self.device = getattr(backend, "device", torch.device("cpu"))
        points = owner.vertices(rotation, translation, expression)
        normals = vertex_normals(points, owner.tri) * owner.outwards
        self.points = self.tensor(points)[None]
        self.values = self.tensor(np.concatenate([shading.shade(normals, light), owner.uv], axis=1))[None]
        self.tri = torch.as_tensor(owner.tri, device=self.device)
        matrix = rodrigues(rotation)
        self.to_model = self.tensor(matrix.T)
        self.origin = self.tensor(-matrix.T @ np.asarray(translation, np.float64))
        self.axes, self.eyes = self.tensor(gaze_axes(gaze)), self.tensor(owner.eyes)
        self.part = torch.as_tensor(owner.part, device=self.device).long()
        self.eye_of = torch.as_tensor(owner.eye_of, device=self.device).long()

    def tensor(self, array: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array, np.float32), device=self.device)

    def draw(self, factor: int) -> tuple[torch.Tensor, ...]:
        """Draw at factor times the size: face (H, W) long, -1 if none or hidden; shading (H, W, 3); uv (H, W, 2)."""
        owner, side = self.owner, self.owner.size_px * factor
        principal = float(owner.principal[0]) * factor, float(owner.principal[1]) * factor
        clip = camera_to_clip(self.points, owner.focal_px * factor, principal, (side, side))
        rast = self.backend.rasterize(clip, self.tri, (side, side))
        values = self.backend.interpolate(self.values, rast, self.tri)[0]
        face = rast[0, ..., 3].round().long() - 1
        face = torch.where(self.part[face.clamp(min=0)] == HIDDEN, -1, face)
        return face, values[..., :3], values[..., 3:]

    def eyeballs(self, face: torch.Tensor, factor: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Cast rays at the eyeballs: mask (H, W) of eye openings, their eye (P,), and points (P, 3) in gaze axes."""
        seen = (face >= 0) & (self.part[face.clamp(min=0)] == EYE)
        row, column = torch.nonzero(seen, as_tuple=True)
        eye = self.eye_of[face[row, column]]
        place = torch.stack([column, row], dim=1).float() + 0.5
        flat = (place - self.tensor(self.owner.principal * factor)) / (self.owner.focal_px * factor)
        direction = F.pad(flat, (0, 1), value=1.0) @ self.to_model.T
        offset = self.origin - self.eyes[eye, :3]
        squared, along = (direction**2).sum(1), (direction * offset).sum(1)
        under_root = along**2 - squared * ((offset**2).sum(1) - self.eyes[eye, 3] ** 2)
        reach = (-along - under_root.clamp(min=0.0).sqrt()) / squared
        point = F.normalize(offset + reach[:, None] * direction, dim=1)
        return seen, eye, torch.einsum("pc,pkc->pk", point, self.axes[eye])

    def behind_the_lips(self, inside: torch.Tensor) -> torch.Tensor:
        """Compute UV (P, 2) of the pixels `inside` (H, W) at the image's own size, see `kernels._behind_the_lips`."""
        mouth = self.tensor(self.owner.mouth)
        row, column = torch.nonzero(inside, as_tuple=True)
        flat = (torch.stack([column, row], dim=1) + 0.5 - self.tensor(self.owner.principal)) / self.owner.focal_px
        direction = F.pad(flat, (0, 1), value=1.0) @ self.to_model.T
        reach = (mouth[2] - self.origin[2]) / direction[:, 2:].clamp(min=1e-3)
        place = mouth[3] * (self.origin[:2] + reach * direction[:, :2] - mouth[:2])
        return mouth[4:6] + place * mouth[6] / place.norm(dim=1, keepdim=True).clamp(min=float(mouth[6]))


def _image(scene: _Scene) -> np.ndarray:
    factor = scene.owner.supersample
    face, light, uv = scene.draw(factor)
    texture = scene.tensor(scene.owner.texture)[None]
    colour = scene.backend.texture(texture, uv[None])[0]
    covered = face >= 0
    mouth = covered & (scene.part[face.clamp(min=0)] == MOUTH)
    colour = torch.where(mouth[..., None], colour * MOUTH_DIMMING, colour)
    seen, eye, point = scene.eyeballs(face, factor)
    sine, iris = point[:, :2].norm(dim=1), scene.eyes[eye, 4]
    ahead = (point[:, 2] > 0) & (sine < iris)
    ball = torch.where(ahead[:, None], scene.tensor(IRIS), scene.tensor(SCLERA))
    colour[seen] = torch.where((ahead & (sine < PUPIL_SHARE * iris))[:, None], scene.tensor(PUPIL), ball)
    lit = (colour * light).clamp(0.0, 255.0) * covered[..., None]
    smooth = F.avg_pool2d(lit.permute(2, 0, 1)[None], factor)[0].permute(1, 2, 0)
    return (smooth + 0.5).to(torch.uint8).cpu().numpy()


def _coordinates(scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    face, _, uv = scene.draw(1)
    seen, eye, point = scene.eyeballs(face, 1)
    discs = scene.tensor(scene.owner.discs)[eye]
    plane = torch.where(point[:, 2:] < 0.0, F.normalize(point[:, :2], dim=1), point[:, :2])
    uv = uv.clone()
    uv[seen] = torch.where(discs[:, 2:] > 0.0, discs[:, :2] + discs[:, 2:] * plane, uv[seen])
    if scene.owner.mouth[6] > 0.0:
        inside = (face >= 0) & (scene.part[face.clamp(min=0)] == MOUTH)
        uv[inside] = scene.behind_the_lips(inside)
    image = np.zeros((*face.shape, 3), np.uint16)
    mask = (face >= 0).cpu().numpy()
    image[..., :2] = (uv.clamp(0.0, 1.0).double() * 65535.0 + 0.5).cpu().numpy() * mask[..., None]
    image[..., 2] = mask * 65535
    return image, mask


def render_on_device(
    owner: FaceMesh,
    backend: RasterBackend,
    rotation: np.ndarray,
    translation: np.ndarray,
    expression: np.ndarray,
    gaze: np.ndarray,
    light: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one frame on the backend's device: I_R (S, S, 3) uint8, I_UV (S, S, 3) uint16 and mask (S, S) bool."""
    with torch.no_grad():
        scene = _Scene(owner, backend, (rotation, translation, expression, gaze, light))
        return (_image(scene), *_coordinates(scene))
