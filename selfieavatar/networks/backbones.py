"""Load the frozen feature networks of the detail losses: VGG19 (for ID-MRF) and ResNet50 (for the cosine loss).

The architectures are torchvision's. Their weights are either the published ImageNet ones, read from a file that the
asset rule fetched, or seeded random ones, for places that have no such file. Which of the two is used is always the
caller's explicit choice, and the choice is written in ``label`` so that every figure can say what it was made with.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import resnet50, vgg19

from selfieavatar.errors import UserError
from selfieavatar.io.pickles import load_pickle
from selfieavatar.settings.assets import asset_path, given_path

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
VGGFACE2_MEAN_BGR = (91.4953, 103.8827, 131.0912)  # of 0 to 255; its networks come from Caffe and see blue first

# Places of the taps in torchvision's vgg19().features: conv1_1 is 0, every convolution is followed by its ReLU, and
# each of the four blocks (2, 2, 4, 4 convolutions) that come before by one pooling layer. So conv3_2 is 12, conv4_2 is
# 21.
VGG19_TAPS = {"relu3_2": 13, "relu4_2": 22}
RESNET50_TAPS = ("layer1", "layer2", "layer3", "layer4")

_CALIBRATION_IMAGES = 16
_CALIBRATION_PX = 96


class _Backbone(nn.Module):
    """Frozen feature network, always in eval mode, with ImageNet normalisation of images in [0,1]."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.label = "none"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> _Backbone:
        """Stay in eval mode whatever the caller asks: batch statistics of a loss network must never move."""
        del mode
        return super().train(False)

    def freeze(self, label: str) -> None:
        """Fix every parameter and note where the weights came from."""
        self.label = label
        self.requires_grad_(False)
        self.eval()

    def normalise(self, image: Tensor) -> Tensor:
        """Normalise (B,3,H,W) RGB in [0,1] by ImageNet's mean and deviation."""
        return (image - self.mean) / self.std


class VGG19Features(_Backbone):
    """VGG19 up to relu4_2.

    ``forward`` maps (B,3,H,W) RGB in [0,1] to {"relu3_2": (B,256,H/4,W/4), "relu4_2": (B,512,H/8,W/8)}.
    """

    def __init__(self) -> None:
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


class ResNet50Features(_Backbone):
    """ResNet50 without its classifier; ``forward`` maps (B,3,H,W) RGB in [0,1] to the outputs of its four stages.

    {"layer1": (B,256,H/4,W/4), "layer2": (B,512,H/8,W/8), "layer3": (B,1024,H/16,W/16), "layer4": (B,2048,H/32,W/32)}.
    """

    def __init__(self) -> None:
        super().__init__()
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

    The older form, which halves in the first convolution of a block and pools without padding; images are BGR, less
    their mean.
    """

    mean_bgr: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for name in RESNET50_TAPS[1:]:
            block = getattr(self.net, name)[0]
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
        self.register_buffer("mean_bgr", torch.tensor(VGGFACE2_MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        """Normalise (B,3,H,W) RGB in [0,1] to what the published network expects."""
        return 255 * image.flip(1) - self.mean_bgr


def load_backbone(name: str, weights: str, seed: int = 0) -> VGG19Features | ResNet50Features:
    """Build a frozen feature network on the CPU.

    name: "vgg19" or "resnet50". weights: "imagenet" (torchvision's published state dict; a UserError of the asset rule
    says what to do where the file is missing), "random" (He-normal from ``seed``, then calibrated so that activations
    have unit scale) or, for resnet50, "vggface2" (the user's own file). The module's ``label`` is "imagenet",
    "random:<seed>" or "vggface2".
    """
    builders: dict[str, type[VGG19Features | ResNet50Features]] = {"vgg19": VGG19Features, "resnet50": ResNet50Features}
    if name not in builders:
        raise UserError(f"unknown feature network {name!r}; known are {', '.join(builders)}")
    if (name, weights) == ("resnet50", "vggface2"):
        return _load_vggface2()
    backbone = builders[name]()
    if weights == "imagenet":
        _load_published(backbone, name)
        backbone.freeze("imagenet")
    elif weights == "random":
        _init_random(backbone, seed)
        backbone.freeze(f"random:{seed}")
    else:
        raise UserError(f"unknown weights {weights!r} for {name}; choose 'imagenet' or 'random'")
    return backbone


def _load_published(backbone: VGG19Features | ResNet50Features, name: str) -> None:
    """Copy torchvision's published state dict into the part of the network that is kept."""
    path = asset_path(f"{name}_imagenet")
    published = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(backbone, VGG19Features):
        target, prefix = backbone.features, "features."
    else:
        target, prefix = backbone.net, ""
    wanted = target.state_dict()
    found = {key: published[prefix + key] for key in wanted if prefix + key in published}
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    if missing:
        raise UserError(
            f"{path} does not hold torchvision's {name}: {prefix + missing[0]} is missing; fetch the file again"
        )
    for key in wanted:  # files of early releases have no such counter
        if key.endswith("num_batches_tracked") and key not in found:
            found[key] = torch.zeros((), dtype=torch.long)
    target.load_state_dict(found)


def _load_vggface2() -> VGGFace2Features:
    """Load the user's file: a pickle of a dict of NumPy arrays, of which nothing is executed."""
    path = given_path("resnet50_vggface2")
    published = load_pickle(path, encoding="latin1")
    backbone = VGGFace2Features()
    wanted = backbone.net.state_dict()
    for key, value in wanted.items():
        if key.endswith("num_batches_tracked"):
            wanted[key] = torch.zeros_like(value)
            continue
        found = published.get(key) if isinstance(published, dict) else None
        if not isinstance(found, np.ndarray) or found.shape != tuple(value.shape):
            raise UserError(f"{path} does not hold VGGFace2's ResNet50: {key} is missing or of another shape")
        wanted[key] = torch.from_numpy(found.astype(np.float32))
    backbone.net.load_state_dict(wanted)
    backbone.freeze("vggface2")
    return backbone


@torch.no_grad()
def _init_random(backbone: VGG19Features | ResNet50Features, seed: int) -> None:
    """Draw He-normal weights (He et al. 2015), then scale activations to unit variance on natural image statistics.

    He's rule alone keeps the scale of white noise, but on real images, whose neighbouring pixels agree, all channels
    end up carrying the same brightness and every patch looks like every other. Normalising each channel on 1/f noise
    undoes that.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    backbone.eval()
    backbone.calibrate(_pink_images(generator))


def _pink_images(generator: torch.Generator) -> Tensor:
    """Draw images (N,3,P,P) in [0,1] whose amplitude spectrum falls as 1/f, as photographs' do, mostly grey."""
    count, side = _CALIBRATION_IMAGES, _CALIBRATION_PX
    fy = torch.fft.fftfreq(side).view(-1, 1)
    fx = torch.fft.rfftfreq(side).view(1, -1)
    amplitude = 1.0 / torch.sqrt(fx * fx + fy * fy).clamp_min(1.0 / side)
    spectrum = torch.fft.rfft2(torch.randn(count, 4, side, side, generator=generator)) * amplitude
    noise = torch.fft.irfft2(spectrum, s=(side, side))
    noise = noise / noise.std(dim=(2, 3), keepdim=True)
    images = noise[:, :1] + 0.4 * noise[:, 1:]
    return (0.5 + 0.25 * images).clamp(0.0, 1.0)
