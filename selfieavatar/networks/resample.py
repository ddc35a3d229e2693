"""Resample with a blur in plain torch, with the meaning of StyleGAN2's upfirdn2d.

upfirdn2d (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN") is usually a compiled CUDA
operator, and the failure to compile it is the most frequent complaint about such code. Here it is a handful of
ordinary torch calls: it runs on any device, differentiates twice (R1 penalty) and exports to ONNX.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F

BLUR = (1.0, 3.0, 3.0, 1.0)


def own_precision(image: torch.Tensor) -> AbstractContextManager[object]:
    """Compute in the precision that an image has, whatever autocast says."""
    kind = image.device.type
    under_autocast = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if under_autocast else nullcontext()


def upfirdn2d(
    image: torch.Tensor,
    kernel: Sequence[float],
    up: int = 1,
    down: int = 1,
    pad: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> torch.Tensor:
    """Insert zeros, pad with zeros, filter with a separable kernel, keep every `down`-th pixel.

    image (B, C, H, W); kernel: the taps along one axis, used normalised to sum 1 along both and applied as a
    convolution (flipped); pad: zeros before and after along both axes, counted after the insertion of zeros.
    Returns (B, C, H', W') with H' = (H*up + pad[0] + pad[1] - len(kernel)) // down + 1, scaled by `gain`.
    """
    batch, channels, height, width = image.shape
    taps = torch.tensor(kernel, dtype=image.dtype, device=image.device)
    taps = (taps / taps.sum()).flip(0)
    if up > 1:
        spread = image.reshape(batch, channels, height, 1, width, 1)
        spread = F.pad(spread, (0, up - 1, 0, 0, 0, up - 1))
        image = spread.reshape(batch, channels, height * up, width * up)
    image = F.pad(image, (pad[0], pad[1], pad[0], pad[1]))
    flat = image.reshape(batch * channels, 1, *image.shape[-2:])
    flat = F.conv2d(flat, (taps * gain).reshape(1, 1, -1, 1), stride=(down, 1))
    flat = F.conv2d(flat, taps.reshape(1, 1, 1, -1), stride=(1, down))
    return flat.reshape(batch, channels, *flat.shape[-2:])


def upsample2(image: torch.Tensor) -> torch.Tensor:
    """Blur up by two with [1,3,3,1]: (B, C, H, W) -> (B, C, 2H, 2W), equal to upfirdn2d(up=2, pad=(2, 1), gain=4).

    With this kernel the new pixels are the 3:1 mixtures of bilinear interpolation, only that the image is surrounded by
    zeros. ONNX gets it in that form, in half the time of a transposed convolution per channel there.
    """
    if torch.compiler.is_exporting():
        wide = F.interpolate(F.pad(image, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear", align_corners=False)
        return wide[..., 2:-2, 2:-2]
    with own_precision(image):
        wide = _computed_in(image)
        return F.conv_transpose2d(wide, 4 * _blur(wide), stride=2, padding=1, groups=image.shape[1]).to(image.dtype)


def downsample2(image: torch.Tensor) -> torch.Tensor:
    """Blur down by two with [1,3,3,1]: (B, C, H, W) -> (B, C, H/2, W/2), equal to upfirdn2d(down=2, pad=(1, 1))."""
    with own_precision(image):
        wide = _computed_in(image)
        return F.conv2d(wide, _blur(wide), stride=2, padding=1, groups=image.shape[1]).to(image.dtype)


def _computed_in(image: torch.Tensor) -> torch.Tensor:
    """Give an image the precision in which one convolution per channel is fast: on CPUs float32, ten times so."""
    return image.float() if image.dtype == torch.bfloat16 and not image.is_cuda else image


def _blur(image: torch.Tensor) -> torch.Tensor:
    """Lay [1,3,3,1] out as one kernel for each channel of an image: (C, 1, 4, 4)."""
    taps = torch.tensor(BLUR, dtype=image.dtype, device=image.device) / sum(BLUR)
    return torch.outer(taps, taps).expand(image.shape[1], 1, -1, -1)


def area_downsample(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Average blocks of factor x factor pixels: (B, C, H, W) -> (B, C, H/factor, W/factor).

    Raises ValueError when a side is not a multiple of the factor.
    """
    if image.shape[-1] % factor or image.shape[-2] % factor:
        raise ValueError(f"sides {tuple(image.shape[-2:])} are no multiples of {factor}")
    return F.avg_pool2d(image, factor) if factor > 1 else image


def local_mean(image: torch.Tensor, width: int) -> torch.Tensor:
    """Average over width x width neighbours (width odd), the border replicated: (B,1,H,W)."""
    wide = F.pad(image, (width // 2,) * 4, mode="replicate")
    taps = image.new_full((1, 1, 1, width), 1 / width)
    return F.conv2d(F.conv2d(wide, taps), taps.mT)


def coarser_noise(noise: torch.Tensor, px: int) -> torch.Tensor:
    """Sum white noise (1,1,r,r) over blocks of r/px pixels, scaled to unit variance again: (1,1,px,px)."""
    factor = noise.shape[-1] // px
    return noise if factor == 1 else F.avg_pool2d(noise, factor) * factor
