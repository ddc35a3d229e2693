"""Build StyleGAN-like networks: modulated convolutions, Haar-space RGB branches, the latent mapping.

All images that networks exchange are in [-1, 1] and all RGB branches live in Haar space: twelve channels at r px
stand for an RGB image at 2r px. Activations are plain LeakyReLU(0.2) with ordinary biases. Modulation follows
StyleGAN2 (Karras et al. 2020, section 2.2) in its unfused form: inputs are scaled, the shared kernel is applied,
outputs are demodulated, which is the same arithmetic as a kernel per sample and far faster on a CPU.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.networks.haar import haar, inverse_haar
from selfieavatar.networks.resample import downsample2, upsample2

LEAK = 0.2


def count_parameters(module: nn.Module) -> int:
    """Count the scalars in the parameters of a module."""
    return sum(p.numel() for p in module.parameters())


class Conv(nn.Module):
    """A convolution with bias, optional LeakyReLU and optional equalised learning rate.

    Equalised: weights are stored with unit variance and scaled by 1/sqrt(fan_in) when used, so that one learning rate
    suits layers of any width (Karras et al. 2018); otherwise they are stored at that scale.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int = 3, stride: int = 1, *, active: bool = True, equalized: bool = False
    ) -> None:
        super().__init__()
        fan_in = cin * kernel * kernel
        gain = math.sqrt(2 / (1 + LEAK**2)) if active else 1.0
        std = gain / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(cout, cin, kernel, kernel).normal_(0, 1.0 if equalized else std))
        self.bias = nn.Parameter(torch.zeros(cout))
        self.scale = std if equalized else 1.0
        self.stride, self.padding, self.active = stride, kernel // 2, active
        self.fixed: tuple[Tensor, Tensor] | None = None  # kernel and bias of test time, see `fold`

    def fold(self, dtype: torch.dtype) -> None:
        """Fix the kernel as it is now."""
        self.fixed = ((self.weight * self.scale).to(dtype), self.bias.to(dtype))

    def forward(self, x: Tensor) -> Tensor:  # (B, cin, H, W) -> (B, cout, H/stride, W/stride)
        """Convolve."""
        if self.fixed is not None:
            x = F.conv2d(x.to(self.fixed[0].dtype), *self.fixed, stride=self.stride, padding=self.padding)
        else:
            weight = self.weight * self.scale if self.scale != 1.0 else self.weight
            x = F.conv2d(x, weight, self.bias, stride=self.stride, padding=self.padding)
        return F.leaky_relu(x, LEAK, inplace=True) if self.active else x


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, optional doubling of the resolution, optional noise, bias, LeakyReLU.

    Noise is added, with one learned weight that starts at zero, only when a noise tensor is passed.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        style: int,
        *,
        up: bool = False,
        active: bool = True,
        kernel: int = 3,
        demodulate: bool = True,
        equalized: bool = False,
    ) -> None:
        super().__init__()
        fan_in = cin * kernel * kernel
        std = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(cout, cin, kernel, kernel).normal_(0, 1.0 if equalized else std))
        self.scale = std if equalized else 1.0
        self.gain = math.sqrt(2 / (1 + LEAK**2)) if active else 1.0
        self.bias = nn.Parameter(torch.zeros(cout))
        self.noise_weight = nn.Parameter(torch.zeros(()))
        self.modulation = nn.Linear(style, cin)
        nn.init.normal_(self.modulation.weight, std=0.1 / math.sqrt(style))
        nn.init.ones_(self.modulation.bias)
        self.up, self.active, self.demodulate, self.padding = up, active, demodulate, kernel // 2
        self.fixed: tuple[Tensor, Tensor] | None = None  # kernel and bias of test time, see `fold`

    def kernel(self, factor: Tensor) -> Tensor:
        """Modulate the kernel by factor (1, cin), and demodulate it."""
        weight = self.weight * self.scale if self.scale != 1.0 else self.weight
        weight = weight * factor.view(1, -1, 1, 1)
        if not self.demodulate:
            return weight
        energy = weight.float().square().sum((1, 2, 3), keepdim=True)
        return weight * (self.gain * torch.rsqrt(energy + 1e-8)).to(weight)

    def fold(self, style: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Fix the kernel to that of style (1, style); returns kernel and bias."""
        kernel = self.kernel(self.modulation(style)).to(dtype).contiguous(memory_format=torch.channels_last)
        self.fixed = (kernel, self.bias.to(dtype))
        return self.fixed

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None = None) -> Tensor:
        """Convolve x (B,cin,H,W) by style (B or 1, style) and noise (B or 1,1,H',W') or None -> (B,cout,H',W')."""
        if self.fixed is not None:
            return self._folded(x, noise, *self.fixed)
        factor = self.modulation(style)  # (b, cin), b = B or 1
        if factor.shape[0] == 1:
            # one style for the whole batch (the usual case when there is no time code): into the kernel
            x = F.conv2d(x, self.kernel(factor), None if self.up else self.bias, padding=self.padding)
        else:
            weight = self.weight * self.scale if self.scale != 1.0 else self.weight
            x = F.conv2d(x * factor[:, :, None, None], weight, padding=self.padding)
            if self.demodulate:
                energy = weight.float().square().sum((2, 3))  # (cout, cin)
                x = x * (self.gain * torch.rsqrt(factor.float().square() @ energy.T + 1e-8)).to(x)[:, :, None, None]
        if self.up:
            x = upsample2(x)
        if noise is not None:
            x = x + self.noise_weight * noise
        if self.up or factor.shape[0] != 1:
            x = x + self.bias.to(x.dtype)[None, :, None, None]
        return F.leaky_relu(x, LEAK, inplace=True) if self.active else x

    def _folded(self, x: Tensor, noise: Tensor | None, kernel: Tensor, bias: Tensor) -> Tensor:
        """Convolve in fewer passes over memory.

        The bias goes before the doubling, and the border, where the zeros around the image have their part, is fixed
        afterwards. ONNX has no writing in place: there the zeros are laid around the image, as `upsample2` does.
        """
        lay_around = self.up and torch.compiler.is_exporting()
        x = F.conv2d(x.to(kernel.dtype), kernel, None if lay_around else bias, padding=self.padding)
        if lay_around:
            x = upsample2(x) + bias[None, :, None, None]
        elif self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            for line in (x[..., :1, :], x[..., -1:, :], x[..., :1], x[..., -1:]):
                line.mul_(0.75).add_(0.25 * bias[None, :, None, None])
        if noise is not None:
            x = x.add_((self.noise_weight * noise).to(x.dtype))
        return F.leaky_relu(x, LEAK, inplace=True) if self.active else x


class ToRGB(nn.Module):
    """1x1 modulated convolution to twelve Haar channels, as an image, added to the branch from the coarser level.

    The published network doubles the branch in Haar space: inverse transform, blur-up, transform. Since the transforms
    of neighbouring levels cancel out, the branch is kept as an image here: the same sum in a third of the steps.
    """

    def __init__(self, cin: int, style: int, *, channels: int = 12, equalized: bool = False) -> None:
        super().__init__()
        self.conv = StyledConv(cin, channels, style, active=False, kernel=1, demodulate=False, equalized=equalized)
        self.fixed: tuple[Tensor, Tensor] | None = None

    def fold(self, style: Tensor) -> None:
        """Fix the convolution, and take the inverse Haar transform into it; in float32, since colours show steps."""
        kernel, bias = self.conv.fold(style, torch.float32)
        count = len(bias)
        bands = torch.eye(count, device=bias.device)[:, :, None, None]
        transform = F.pixel_unshuffle(inverse_haar(bands), 2).view(count, count).T  # bands -> shuffled pixels
        self.fixed = (torch.einsum("ok,kcij->ocij", transform, kernel), transform @ bias)

    def forward(self, x: Tensor, style: Tensor, image: Tensor | None = None) -> Tensor:
        """Convert x (B,cin,r,r), image (B,3,r,r) or None -> image (B,3,2r,2r)."""
        if self.fixed is not None:
            rgb = F.pixel_shuffle(F.conv2d(x.float(), *self.fixed), 2)
        else:
            rgb = inverse_haar(self.conv(x, style).float())  # levels add up in float32, as do the folded ones
        return rgb if image is None else rgb + upsample2(image)


class ConvBlock(nn.Module):
    """Encoder step: 3x3 at full resolution, then 3x3 with stride 2.

    Blurred first where `blur`, as in the discriminator.
    """

    def __init__(self, cin: int, cout: int, *, blur: bool = False, equalized: bool = False) -> None:
        super().__init__()
        self.first = Conv(cin, cin, equalized=equalized)
        self.second = Conv(cin, cout, stride=1 if blur else 2, equalized=equalized)
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:  # (B, cin, r, r) -> (B, cout, r/2, r/2)
        """Halve the resolution."""
        x = self.first(x)
        return self.second(downsample2(x)) if self.blur else self.second(x)


class Mapping(nn.Module):
    """Latent -> style: pixel norm, then linear layers with LeakyReLU(0.1) between them and none after the last."""

    def __init__(self, latent: int, layers: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for k in range(layers):
            stack += [nn.Linear(latent, latent)] + ([nn.LeakyReLU(0.1)] if k < layers - 1 else [])
        self.layers = nn.Sequential(*stack)

    def forward(self, latent: Tensor) -> Tensor:  # (B, latent) -> (B, latent)
        """Map the latent."""
        return self.layers(latent * torch.rsqrt(latent.square().mean(1, keepdim=True) + 1e-8))


def positional_code(position: Tensor, size: int) -> Tensor:
    """Encode positions (B,) in [0, 1] by sines and cosines, in octaves from pi/2 on: (B, size).

    The published code runs to 2^31, where float32 leaves only noise; octaves stop at 2^12 here, which tells apart the
    frames of ten minutes of video.
    """
    octaves = torch.linspace(-1, 12, size // 2, device=position.device)
    phase = position[:, None].float() * math.pi * torch.exp2(octaves)[None]
    return torch.cat([phase.sin(), phase.cos()], 1)


def _haar_down_kernel() -> Tensor:
    """Derive `haar_down` of one colour as a convolution (4,4,4,4) with stride 2, from its impulse responses."""
    impulses = torch.eye(64, device="cpu").view(64, 4, 4, 4)
    answers = haar(downsample2(inverse_haar(F.pad(impulses, (1, 3, 1, 3)))))[:, :, 1, 1]
    return answers.T.reshape(4, 4, 4, 4)


_HAAR_DOWN = _haar_down_kernel()


def haar_down(x: Tensor) -> Tensor:
    """Halve a Haar-space image: (B,4C,r,r) -> (B,4C,r/2,r/2), as inverse transform, blur-down and transform do."""
    colours = x.shape[1] // 4
    each = torch.eye(colours, device=x.device, dtype=x.dtype)
    kernel = torch.einsum("oiab,cd->ocidab", _HAAR_DOWN.to(x), each).reshape(4 * colours, 4 * colours, 4, 4)
    return F.conv2d(x, kernel, stride=2, padding=1)


@torch.no_grad()
def fold(module: nn.Module, style: Tensor | None, dtype: torch.dtype) -> None:
    """Fix all convolutions of a network for test time, with one style (1, L) for all frames; arithmetic in dtype.

    What is constant from frame to frame (modulation, demodulation, scales) is computed once. Training ends with it.
    """
    for part in module.modules():
        if isinstance(part, Conv):
            part.fold(dtype)
        elif isinstance(part, StyledConv) and style is not None:
            part.fold(style, dtype)
    for part in module.modules():
        if isinstance(part, ToRGB) and style is not None:
            part.fold(style)
