"""One rasteriser interface, two implementations: nvdiffrast on CUDA, torch over the numba z-buffer elsewhere.

The operations and their tensors are nvdiffrast's (Laine et al. 2020, "Modular Primitives for High-Performance
Differentiable Rendering"):

- positions: (B, V, 4) float32 clip space, see `camera_to_clip`; tri: (F, 3) int32;
- rast: (B, H, W, 4) float32 of u, v, z/w and triangle number plus one, zero where nothing is drawn. Attributes are
  u*a[0] + v*a[1] + (1-u-v)*a[2].

Images come out top row first with both: nvdiffrast's first row is y = -w, and our clip space has y downwards.
Neither culls back faces; the z-buffer decides.
"""

from typing import Protocol

import torch
import torch.nn.functional as F

from selfieavatar.errors import UserError
from selfieavatar.rendering import raster_autograd
from selfieavatar.rendering.raster_cpu import FAR_CM, NEAR_CM, clip_matrix


class RasterBackend(Protocol):
    """What the renderer and the photometric fit need of a rasteriser."""

    name: str

    def rasterize(self, positions: torch.Tensor, tri: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Clip positions (B, V, 4) -> rast (B, H, W, 4); differentiable in positions through u and v."""

    def interpolate(self, attributes: torch.Tensor, rast: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
        """Attributes (B, V, A) or (1, V, A) -> (B, H, W, A), zero where empty; differentiable in both."""

    def texture(self, texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        """Bilinear look-up, border repeated: (B or 1, T, U, C) at uv (B, H, W, 2) -> (B, H, W, C); differentiable."""

    def antialias(
        self, colour: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, tri: torch.Tensor
    ) -> torch.Tensor:
        """Blend the pixels along silhouettes by the analytic position of the edge; gives positions their gradient
        where visibility changes. colour (B, H, W, C)."""


def camera_to_clip(
    points: torch.Tensor,
    focal_px: float,
    principal: tuple[float, float],
    size: tuple[int, int],
    near: float = NEAR_CM,
    far: float = FAR_CM,
) -> torch.Tensor:
    """Camera points (B, V, 3) in cm -> clip positions (B, V, 4); differentiable. See `raster_cpu.clip_matrix`."""
    matrix = torch.from_numpy(clip_matrix(focal_px, principal, size, near, far)).to(points)
    return points @ matrix[:, :3].T + matrix[:, 3]


class CpuBackend:
    """The reference: visibility from the exact z-buffer, everything differentiable in plain torch (CPU tensors).

    `antialias` follows nvdiffrast: analytic coverage where a silhouette edge passes between two pixel centres.
    """

    name = "cpu"

    def rasterize(self, positions: torch.Tensor, tri: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return raster_autograd.rasterize(positions, tri, size)

    def interpolate(self, attributes: torch.Tensor, rast: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
        return raster_autograd.interpolate(attributes, rast, tri)

    def texture(self, texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        image = texture.permute(0, 3, 1, 2).expand(len(uv), -1, -1, -1)
        read = F.grid_sample(image, uv * 2.0 - 1.0, mode="bilinear", padding_mode="border", align_corners=False)
        return read.permute(0, 2, 3, 1)

    def antialias(
        self, colour: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, tri: torch.Tensor
    ) -> torch.Tensor:
        return raster_autograd.antialias(colour, rast, positions, tri)


class NvdiffrastBackend:
    """nvdiffrast's CUDA rasteriser. Optional: its licence is non-commercial and it is built from source.

    device: "cuda" or "cuda:N". Raises UserError when the package or the GPU is missing.
    """

    name = "nvdiffrast"

    def __init__(self, device: str = "cuda:0") -> None:
        if not torch.cuda.is_available():
            raise UserError("nvdiffrast needs an NVIDIA GPU that torch can use; set the backend to cpu")
        try:
            import nvdiffrast.torch as dr
        except ImportError as error:
            raise UserError(
                "nvdiffrast is not installed; build it with `pip install --no-build-isolation "
                "git+https://github.com/NVlabs/nvdiffrast`, or set the backend to cpu"
            ) from error
        self.device = torch.device(device)
        self._dr = dr
        self._context = dr.RasterizeCudaContext(device=self.device)

    def _ready(self, tensor: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
        return tensor.to(device=self.device, dtype=kind).contiguous()

    def rasterize(self, positions: torch.Tensor, tri: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        positions, tri = self._ready(positions, torch.float32), self._ready(tri, torch.int32)
        rast, _ = self._dr.rasterize(self._context, positions, tri, resolution=list(size), grad_db=False)
        return rast

    def interpolate(self, attributes: torch.Tensor, rast: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
        image, _ = self._dr.interpolate(self._ready(attributes, torch.float32), rast, self._ready(tri, torch.int32))
        return image

    def texture(self, texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        texture = self._ready(texture, torch.float32)
        return self._dr.texture(texture, uv.contiguous(), filter_mode="linear", boundary_mode="clamp")

    def antialias(
        self, colour: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, tri: torch.Tensor
    ) -> torch.Tensor:
        positions, tri = self._ready(positions, torch.float32), self._ready(tri, torch.int32)
        return self._dr.antialias(colour.contiguous(), rast.contiguous(), positions, tri)


def backend_for(device: str | torch.device) -> RasterBackend:
    """nvdiffrast for a CUDA device, the reference for the CPU. Raises UserError when nvdiffrast cannot be had."""
    kind = torch.device(device).type
    if kind == "cuda":
        return NvdiffrastBackend(str(device))
    return CpuBackend()
