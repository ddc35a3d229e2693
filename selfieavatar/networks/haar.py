"""Transform images by the orthonormal Haar wavelet: the space in which the generators keep their colours.

StyleAvatar (Wang et al., SIGGRAPH 2023) keeps every RGB branch in Haar space, as SWAGAN (Gal et al. 2021) does: twelve
channels at resolution r stand for three at 2r. The transform is orthonormal: its inverse is its transpose. Both are one
convolution with a fixed kernel, which on a CPU takes a third of the time of sums over strided pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.networks.resample import own_precision

# Mean, horizontal, vertical, diagonal difference, of the pixels top left, top right, bottom left, bottom right.
_BANDS = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], device="cpu") / 2


def haar(image: Tensor) -> Tensor:
    """Compute one level of the 2D Haar transform.

    image: (B, C, H, W), H and W even. Returns (B, 4C, H/2, W/2) in the channel order mean, horizontal difference,
    vertical difference, diagonal difference, each with the C channels of the image.

    Raises:
        ValueError: a side is odd.
    """
    if image.shape[-1] % 2 or image.shape[-2] % 2:
        raise ValueError(f"the Haar transform needs even sides, got {tuple(image.shape[-2:])}")
    with own_precision(image):
        return F.conv2d(image, _kernel(image.shape[1], image), stride=2)


def inverse_haar(bands: Tensor) -> Tensor:
    """Invert `haar`: (B, 4C, H, W) to (B, C, 2H, 2W).

    Raises:
        ValueError: the channels are not a multiple of 4.
    """
    if bands.shape[1] % 4:
        raise ValueError(f"the inverse Haar transform needs a multiple of 4 channels, got {bands.shape[1]}")
    with own_precision(bands):
        return F.conv_transpose2d(bands, _kernel(bands.shape[1] // 4, bands), stride=2)


def _kernel(channels: int, like: Tensor) -> Tensor:
    """Lay the transform of so many channels out as a convolution (4C,C,2,2), of the type and device of a tensor."""
    each = torch.eye(channels, device=like.device, dtype=like.dtype)
    return torch.einsum("bp,cd->bcdp", _BANDS.to(like), each).reshape(4 * channels, channels, 2, 2)
