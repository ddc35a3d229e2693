"""Transform images by the orthonormal Haar wavelet: the space in which the generators keep their colours.

StyleAvatar (Wang et al., SIGGRAPH 2023) keeps every RGB branch in Haar space, as SWAGAN (Gal et al. 2021) does: twelve
channels at resolution r stand for three at 2r. The transform is orthonormal: its inverse is its transpose.
"""

import torch


def haar(image: torch.Tensor) -> torch.Tensor:
    """Compute one level of the 2D Haar transform.

    image: (B, C, H, W), H and W even. Returns (B, 4C, H/2, W/2) in the channel order mean, horizontal difference,
    vertical difference, diagonal difference, each with the C channels of the image.

    Raises:
        ValueError: a side is odd.
    """
    if image.shape[-1] % 2 or image.shape[-2] % 2:
        raise ValueError(f"the Haar transform needs even sides, got {tuple(image.shape[-2:])}")
    a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
    c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
    top, bottom, top_step, bottom_step = a + b, c + d, a - b, c - d
    bands = (top + bottom, top_step + bottom_step, top - bottom, top_step - bottom_step)
    return torch.cat(bands, dim=1) * 0.5


def inverse_haar(bands: torch.Tensor) -> torch.Tensor:
    """Invert `haar`: (B, 4C, H, W) to (B, C, 2H, 2W).

    Raises:
        ValueError: the channels are not a multiple of 4.
    """
    batch, channels, height, width = bands.shape
    if channels % 4:
        raise ValueError(f"the inverse Haar transform needs a multiple of 4 channels, got {channels}")
    mean, horizontal, vertical, diagonal = bands.chunk(4, dim=1)
    top, bottom = mean + vertical, mean - vertical
    top_step, bottom_step = horizontal + diagonal, horizontal - diagonal
    quarters = torch.stack((top + top_step, top - top_step, bottom + bottom_step, bottom - bottom_step), dim=2) * 0.5
    # pixel_shuffle reads channel c*4 + 2*row + column, which is exactly the order of the stack above.
    return torch.nn.functional.pixel_shuffle(quarters.reshape(batch, channels, height, width), 2)
