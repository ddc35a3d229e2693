"""Load the frozen feature networks of losses and metrics by name and weights.

VGG19 is ID-MRF's, ResNet50 and dlib's face network are for the cosine loss and for identity similarity. The weights are
published ones, from a file that the asset rule fetched or that a package brought, or seeded random ones, for places
that have neither. Which are used is always the caller's explicit choice, and the choice is written in ``label`` so that
every metric can say what it was made with.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from selfieavatar.errors import UserError
from selfieavatar.io.pickles import load_pickle
from selfieavatar.networks.face_resnet import packaged_face_resnet
from selfieavatar.networks.frozen import FrozenNetwork
from selfieavatar.networks.resnet50 import ResNet50Features, VGGFace2Features
from selfieavatar.networks.vgg19 import VGG19Features, packaged_vgg19
from selfieavatar.settings.assets import asset_path, given_path

_CALIBRATION_IMAGES = 16
_CALIBRATION_PX = 96


def load_backbone(name: str, weights: str, seed: int = 0) -> FrozenNetwork:
    """Build a frozen feature network on the CPU.

    name: "vgg19", "resnet50" or "dlib_face". weights: "imagenet" (torchvision's published state dict; a UserError of
    the asset rule says what to do where the file is missing), "packaged" (from an installed package), "vggface2" (the
    user's own file) or "random" (He-normal from ``seed``, then calibrated so that activations have unit scale), as far
    as the network has them. The module's ``label`` is the same, but for "random:<seed>".
    """
    loaders: dict[tuple[str, str], Callable[[], FrozenNetwork]] = {
        ("vgg19", "imagenet"): lambda: _load_published(VGG19Features(), "vgg19"),
        ("vgg19", "packaged"): packaged_vgg19,
        ("vgg19", "random"): lambda: _init_random(VGG19Features(), seed),
        ("resnet50", "imagenet"): lambda: _load_published(ResNet50Features(), "resnet50"),
        ("resnet50", "vggface2"): _load_vggface2,
        ("resnet50", "random"): lambda: _init_random(ResNet50Features(), seed),
        ("dlib_face", "packaged"): packaged_face_resnet,
    }
    if (name, weights) in loaders:
        return loaders[name, weights]()
    known = [source for network, source in loaders if network == name]
    if not known:
        raise UserError(f"unknown feature network {name!r}; known are vgg19, resnet50 and dlib_face")
    raise UserError(f"unknown weights {weights!r} for {name}; known are {', '.join(known)}")


def _load_published(backbone: VGG19Features | ResNet50Features, name: str) -> FrozenNetwork:
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
    backbone.freeze("imagenet")
    return backbone


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
def _init_random(backbone: VGG19Features | ResNet50Features, seed: int) -> FrozenNetwork:
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
    backbone.freeze(f"random:{seed}")
    return backbone


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
