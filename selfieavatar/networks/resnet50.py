"""Define ResNet50 without its classifier (He et al. 2016), in torchvision's form and in that of VGGFace2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from selfieavatar.networks.frozen import FrozenNetwork

VGGFACE2_MEAN_BGR = (91.4953, 103.8827, 131.0912)  # of 0 to 255
RESNET50_TAPS = ("layer1", "layer2", "layer3", "layer4")


class ResNet50Features(FrozenNetwork):
    """ResNet50 without its classifier; ``forward`` maps (B,3,H,W) RGB in [0,1] to the outputs of its four stages.

    {"layer1": (B,256,H/4,W/4), "layer2": (B,512,H/8,W/8), "layer3": (B,1024,H/16,W/16), "layer4": (B,2048,H/32,W/32)}.
    """

    def __init__(self, **normalisation: Any) -> None:
        super().__init__(**normalisation)
        with torch.device("meta"):
            net = resnet50(weights=None)
            del net.fc
        self.net = net.to_empty(device="cpu")

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Extract the features."""
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(self.normalise(image)))))
        taps: dict[str, Tensor] = {}
        for name in RESNET50_TAPS:
            x = getattr(net, name)(x)
            taps[name] = x
        return taps

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Set the statistics of every batch normalisation to those of ``images``."""
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # a plain average: after one pass, the statistics of this batch
            norm.training = True
        self(images)
        for norm in norms:
            norm.training = False


class VGGFace2Features(ResNet50Features):
    """ResNet50 as trained on faces (Cao et al. 2018).

    The older form, which halves in the first convolution of a block and pools without padding; images are BGR of 0 to
    255, less their mean.
    """

    def __init__(self) -> None:
        super().__init__(mean=VGGFACE2_MEAN_BGR, std=(1.0, 1.0, 1.0), scale=255, bgr=True)
        self.net.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for name in RESNET50_TAPS[1:]:
            block = getattr(self.net, name)[0]
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
