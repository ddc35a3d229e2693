"""Define dlib's face recognition network, a ResNet of 29 convolutions (King 2017), for losses.

`selfieavatar.detection.face_descriptor` reads its weights, and computes the descriptor alone without torch.
`face_chip` cuts the faces out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.detection.face_descriptor import DESCRIPTOR, MEAN, SCALE, STAGES, block_shapes, packaged_weights
from selfieavatar.networks.frozen import FrozenNetwork


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
        super().__init__(MEAN, [SCALE] * 3, scale=255)
        self.stem = nn.Conv2d(3, STAGES[0][0], 7, stride=2)
        self.stages = nn.ModuleList(nn.Sequential(*(_Block(*block) for block in stage)) for stage in block_shapes())
        self.last = nn.Conv2d(STAGES[-1][0], DESCRIPTOR, 1)

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
    net = FaceResNet()
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for conv, (weight, bias) in zip(convolutions, packaged_weights(), strict=True):
            assert conv.bias is not None
            conv.weight.copy_(torch.from_numpy(weight))
            conv.bias.copy_(torch.from_numpy(bias))
    net.freeze("packaged")
    return net
