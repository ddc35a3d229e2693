"""Rasterise through one interface with two backends: nvdiffrast on CUDA, torch over the numba z-buffer elsewhere.

The operations and their tensors are nvdiffrast's (Laine et al. 2020, "Modular Primitives for High-Performance
Differentiable Rendering"):

- positions: (B, V, 4) float32 clip space, see `camera_to_clip`; tri: (F, 3) int32;
- rast: (B, H, W, 4) float32 of u, v, z/w and triangle number plus one, zero where nothing is drawn. Attributes are
  u*a[0] + v*a[1] + (1-u-v)*a[2].

Images are top row first with both: nvdiffrast's first row is y = -w, and our clip space has y downwards. Both draw back
faces; the z-buffer decides.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from selfieavatar.errors import UserError
from selfieavatar.rendering import raster_autograd
from selfieavatar.rendering.raster_cpu import FAR_CM, NEAR_CM, clip_matrix


class RasterBackend(Protocol):
    """Define the differentiable rasteriser of the renderer and the photometric fit."""

    name: str

    def rasterize(self, positions: torch.Tensor, tri: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Rasterise clip positions (B, V, 4) to rast (B, H, W, 4); differentiable in positions through u and v."""

    def interpolate(self, attributes: torch.Tensor, rast: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
        """Interpolate attributes (B, V, A) or (1, V, A) to (B, H, W, A), zero where empty; differentiable in both."""

    def texture(self, texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        """Sample (B or 1, T, U, C) bilinearly at uv (B, H, W, 2), border repeated: (B, H, W, C); differentiable."""

    def antialias(
        self, colour: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, tri: torch.Tensor
    ) -> torch.Tensor:
        """Blend colour (B, H, W, C) along silhouettes by the analytic position of the edge.

        It gives positions their gradient where visibility changes.
        """


def camera_to_clip(
    points: torch.Tensor, focal_px: float, principal: Sequence[float] | np.ndarray, size: tuple[int, int],
    near: float = NEAR_CM, far: float = FAR_CM,
) -> torch.Tensor:  # fmt: skip
    """Project camera points (B, V, 3) in cm to clip positions (B, V, 4); see `raster_cpu.clip_matrix`."""
    matrix = torch.from_numpy(clip_matrix(focal_px, principal, size, near, far)).to(points)
    return points @ matrix[:, :3].T + matrix[:, 3]


class CpuBackend:
    """Rasterise CPU tensors: visibility by the exact z-buffer, the rest in differentiable torch; the reference."""

    name = "cpu"

    rasterize = staticmethod(raster_autograd.rasterize)
    interpolate = staticmethod(raster_autograd.interpolate)
    antialias = staticmethod(raster_autograd.antialias)

    def texture(self, texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        """See `RasterBackend.texture`."""
        image = texture.permute(0, 3, 1, 2).expand(len(uv), -1, -1, -1)
        read = F.grid_sample(image, uv * 2.0 - 1.0, mode="bilinear", padding_mode="border", align_corners=False)
        return read.permute(0, 2, 3, 1)


class NvdiffrastBackend:
    """Rasterise by nvdiffrast on CUDA. Optional: its licence is non-commercial and it is built from source.

    device: "cuda" or "cuda:N".

    Raises:
        UserError: the package or the GPU is missing.
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

    def _ready(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return tensor.to(device=self.device, dtype=dtype).contiguous()

    def rasterize(self, positions: torch.Tensor, tri: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """See `RasterBackend.rasterize`."""
        positions, tri = self._ready(positions, torch.float32), self._ready(tri, torch.int32)
        rast, _ = self._dr.rasterize(self._context, positions, tri, resolution=list(size), grad_db=False)
        return rast

    def interpolate(self, attributes: torch.Tensor, rast: torch.Tensor, tri: torch.Tensor) -> torch.Tensor:
        """See `RasterBackend.interpolate`."""
        image, _ = self._dr.interpolate(self._ready(attributes, torch.float32), rast, self._ready(tri, torch.int32))
        return image

    def texture(self, texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        """See `RasterBackend.texture`."""
        texture = self._ready(texture, torch.float32)
        return self._dr.texture(texture, uv.contiguous(), filter_mode="linear", boundary_mode="clamp")

    def antialias(
        self, colour: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, tri: torch.Tensor
    ) -> torch.Tensor:
        """See `RasterBackend.antialias`."""
        positions, tri = self._ready(positions, torch.float32), self._ready(tri, torch.int32)
        return self._dr.antialias(colour.contiguous(), rast.contiguous(), positions, tri)


def backend_for(device: str | torch.device) -> RasterBackend:
    """Make the backend of a device: nvdiffrast for CUDA, the reference for the CPU; UserError without nvdiffrast."""
    return NvdiffrastBackend(str(device)) if torch.device(device).type == "cuda" else CpuBackend()
