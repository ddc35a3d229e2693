"""Define dlib's face recognition network, a ResNet of 29 convolutions (King 2017).

The layers are those of `anet_type` in dlib's tools/python/src/face_recognition.cpp. Its authors take two faces whose
descriptors are nearer than 0.6 (Euclidean) for one person's. `face_chip` cuts the faces out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.errors import UserError
from selfieavatar.io.dlib_file import Layer, read_dlib_layers
from selfieavatar.networks.frozen import FrozenNetwork
from selfieavatar.settings.packaged import packaged_path

DESCRIPTOR = 128
_MEAN = (122.782, 117.001, 104.298)  # of 0 to 255
# Channels and blocks of each stage; the first block of all but the first halves the resolution.
_STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))


class _Block(nn.Module):
    """Two convolutions, to which the input is added, halved by averaging if they halve."""

    def __init__(self, channels: int, out: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.conv1 = nn.Conv2d(channels, out, 3, stride=2, padding=0) if halves else nn.Conv2d(channels, out, 3, 1, 1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        x = F.avg_pool2d(x, 2) if self.halves else x
        # The halved input may have fewer channels, and one row and column more: what is missing counts as 0.
        size = [max(a, b) for a, b in zip(x.shape[1:], y.shape[1:], strict=True)]
        return F.relu(_zero_padded(x, size) + _zero_padded(y, size))


def _zero_padded(x: Tensor, size: list[int]) -> Tensor:
    channels, rows, columns = (wanted - have for wanted, have in zip(size, x.shape[1:], strict=True))
    return F.pad(x, (0, columns, 0, rows, 0, channels))


class FaceResNet(FrozenNetwork):
    """dlib's network; its affine layers are folded into the convolutions before them.

    ``forward`` maps faces (B,3,150,150) RGB in [0,1] to {"stage1": (B,32,35,35), "stage2": (B,64,17,17),
    "stage3": (B,128,8,8), "stage4": (B,256,4,4), "stage5": (B,256,2,2), "descriptor": (B,128,1,1)}.
    """

    def __init__(self) -> None:
        super().__init__(_MEAN, (256.0, 256.0, 256.0), scale=255)
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        self.stages = nn.ModuleList()
        channels = 32
        for number, (out, blocks) in enumerate(_STAGES):
            halves = [number > 0 and block == 0 for block in range(blocks)]
            self.stages.append(nn.Sequential(*(_Block(channels if h else out, out, h) for h in halves)))
            channels = out
        self.last = nn.Conv2d(256, DESCRIPTOR, 1, bias=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Extract the features."""
        x = F.max_pool2d(F.relu(self.stem(self.normalise(image))), 3, stride=2)
        taps: dict[str, Tensor] = {}
        for number, stage in enumerate(self.stages, 1):
            x = stage(x)
            taps[f"stage{number}"] = x
        return taps | {"descriptor": self.last(x.mean(dim=(2, 3), keepdim=True))}


def packaged_face_resnet() -> FaceResNet:
    """Load dlib's weights from the package that holds them.

    Raises:
        UserError: the package is missing, or its file is another.
    """
    path = packaged_path("dlib_face")
    net = FaceResNet()
    wanted = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    try:
        _assign(wanted, [layer for layer in read_dlib_layers(path) if layer.name in ("con_4", "affine_", "fc_2")])
    except ValueError as error:
        raise UserError(f"{path} does not hold dlib's face recognition network: {error}") from None
    net.freeze("packaged")
    return net


@torch.no_grad()
def _assign(convolutions: list[nn.Conv2d], layers: list[Layer]) -> None:
    """Copy the layers' weights; ValueError where they are of another network."""
    if [layer.name for layer in layers] != ["con_4", "affine_"] * (len(convolutions) - 1) + ["fc_2"]:
        raise ValueError("its layers are others")
    for conv, filters, affine in zip(convolutions[:-1], layers[:-1:2], layers[1:-1:2], strict=True):
        values, shape, out = filters.fields[0], tuple(conv.weight.shape), conv.out_channels
        form = (out, *shape[2:], *conv.stride, *conv.padding, shape)
        gain_offset = affine.fields[0]
        if filters.fields[1:9] != form or values.size != conv.weight.numel() + out or gain_offset.size != 2 * out:
            raise ValueError(f"a layer is not of the form {form}")
        gain, offset = torch.from_numpy(gain_offset.reshape(2, out).astype(np.float32))
        bias = torch.from_numpy(values[-out:].astype(np.float32))
        conv.weight.copy_(torch.from_numpy(values[:-out].reshape(shape).astype(np.float32)) * gain.view(-1, 1, 1, 1))
        assert conv.bias is not None
        conv.bias.copy_(bias * gain + offset)
    weights, last = layers[-1].fields[2], convolutions[-1]
    if weights.size != last.weight.numel():
        raise ValueError("the descriptor has another length")
    last.weight.copy_(torch.from_numpy(weights.reshape(-1, DESCRIPTOR).T.astype(np.float32))[..., None, None])
