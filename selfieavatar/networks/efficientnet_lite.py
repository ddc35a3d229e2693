"""Define EfficientNet-Lite0 without its classifier (Tan and Le 2019, Google's edge variant of 2020).

No loss uses it, so that it can judge what was trained on others. Names of the layers are those of the published file.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.errors import UserError
from selfieavatar.networks.frozen import FrozenNetwork
from selfieavatar.settings.packaged import packaged_path

# Blocks, side of the kernel, stride, expansion and channels of each stage, after a stem of 32 channels.
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
           (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
# Each level is the last block of its resolution.
LEVELS = {0: "level1", 2: "level2", 4: "level3", 10: "level4", 15: "level5"}
_EPS = 1e-3


class _SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME: the output is the input over the stride, rounded up."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in input.shape[2:])
        if rows or columns:
            input = F.pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(input)


class _Block(nn.Module):
    """Inverted residual (Sandler et al. 2018): expand, filter each channel, project."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        if expansion > 1:
            self._expand_conv = _SameConv2d(channels, inner, 1)
            self._bn0 = nn.BatchNorm2d(inner, eps=_EPS)
        self._depthwise_conv = _SameConv2d(inner, inner, kernel, stride, groups=inner)
        self._bn1 = nn.BatchNorm2d(inner, eps=_EPS)
        self._project_conv = _SameConv2d(inner, out, 1)
        self._bn2 = nn.BatchNorm2d(out, eps=_EPS)
        self.expands, self.adds = expansion > 1, stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(FrozenNetwork):
    """EfficientNet-Lite0; ``forward`` maps (B,3,H,W) RGB in [0,1] to five levels of features.

    {"level1": (B,16,H/2,W/2), "level2": (B,24,H/4,W/4), "level3": (B,40,H/8,W/8), "level4": (B,112,H/16,W/16),
    "level5": (B,320,H/32,W/32)}, sides rounded up.
    """

    def __init__(self) -> None:
        super().__init__((127.0, 127.0, 127.0), (128.0, 128.0, 128.0), scale=255)
        self._conv_stem = _SameConv2d(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPS)
        self._blocks = nn.ModuleList()
        channels = 32
        for blocks, kernel, stride, expansion, out in _STAGES:
            for block in range(blocks):
                self._blocks.append(_Block(channels, out, kernel, 1 if block else stride, expansion))
                channels = out

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Extract the features."""
        x = F.relu6(self._bn0(self._conv_stem(self.normalise(image))))
        taps: dict[str, Tensor] = {}
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in LEVELS:
                taps[LEVELS[number]] = x
        return taps


def packaged_efficientnet_lite0() -> EfficientNetLite0:
    """Load the published weights from the package that holds them.

    Raises:
        UserError: the package is missing, or its file is another.
    """
    path = packaged_path("efficientnet_lite0")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    net = EfficientNetLite0()
    try:
        net.load_state_dict({key: stored[key] for key in net.state_dict()})
    except (KeyError, RuntimeError, TypeError):
        raise UserError(f"{path} does not hold EfficientNet-Lite0: a layer is missing or of another shape") from None
    net.freeze("packaged")
    return net
