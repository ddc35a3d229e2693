"""Define VGG19 up to relu4_2 (Simonyan and Zisserman 2015), whose features ID-MRF compares."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import vgg19

from selfieavatar.errors import UserError
from selfieavatar.networks.frozen import FrozenNetwork
from selfieavatar.settings.packaged import packaged_path

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # of 0 to 255
# Places of the taps in torchvision's vgg19().features: conv1_1 is 0, every convolution is followed by its ReLU, and
# each of the four blocks (2, 2, 4, 4 convolutions) that come before by one pooling layer. So conv3_2 is 12, conv4_2 is
# 21.
VGG19_TAPS = {"relu3_2": 13, "relu4_2": 22}
_BLOCKS = (2, 2, 4, 4)


class VGG19Features(FrozenNetwork):
    """VGG19 up to relu4_2.

    ``forward`` maps (B,3,H,W) RGB in [0,1] to {"relu3_2": (B,256,H/4,W/4), "relu4_2": (B,512,H/8,W/8)}. caffe: the
    authors' own weights, which see BGR of 0 to 255 less its mean; else torchvision's.
    """

    def __init__(self, caffe: bool = False) -> None:
        if caffe:
            super().__init__(CAFFE_MEAN_BGR, (1.0, 1.0, 1.0), scale=255, bgr=True)
        else:
            super().__init__()
        # On the meta device nothing is allocated or drawn: the classifier alone would be half a gigabyte.
        with torch.device("meta"):
            layers = vgg19(weights=None).features[: max(VGG19_TAPS.values()) + 1]
        self.features = layers.to_empty(device="cpu")
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # an in-place ReLU would overwrite a tap that is still needed

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Extract the features."""
        names = {place: name for name, place in VGG19_TAPS.items()}
        taps: dict[str, Tensor] = {}
        x = self.normalise(image)
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in names:
                taps[names[place]] = x
        return taps

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Scale each convolution so that its outputs have zero mean and unit variance per channel on ``images``."""
        x = self.normalise(images)
        for layer in self.features:
            y = layer(x)
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                mean = y.mean(dim=(0, 2, 3))
                std = y.std(dim=(0, 2, 3)).clamp_min(1e-6)
                layer.weight.div_(std.view(-1, 1, 1, 1))
                layer.bias.sub_(mean).div_(std)
                y = (y - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
            x = y


@torch.no_grad()
def packaged_vgg19() -> VGG19Features:
    """Load the authors' weights from the package that holds them, as a table of 256 values for each layer.

    Raises:
        UserError: the package is missing, or its file is another.
    """
    path = packaged_path("vgg19")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    net = VGG19Features(caffe=True)
    names = [f"block{b}_conv{c}" for b, count in enumerate(_BLOCKS, 1) for c in range(1, count + 1)]
    layers = [layer for layer in net.features if isinstance(layer, nn.Conv2d)]
    for name, layer in zip(names, layers, strict=False):  # the last two of block 4 are not needed
        places, table, bias = (stored.get(f"{name}_{part}") for part in ("W_q", "W_table", "b"))
        if places is None or table is None or bias is None or layer.bias is None or places.shape != layer.weight.shape:
            raise UserError(f"{path} does not hold VGG19: {name} is missing or of another shape")
        layer.weight.copy_(table[places.int()])
        layer.bias.copy_(bias)
    net.freeze("packaged")
    return net
