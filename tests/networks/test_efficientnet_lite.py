"""EfficientNet-Lite0: it knows an espresso, and its features are those that others compute."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data

from selfieavatar.errors import UserError
from selfieavatar.networks import efficientnet_lite
from selfieavatar.networks.efficientnet_lite import packaged_efficientnet_lite0
from selfieavatar.settings.packaged import packaged_path

ESPRESSO = 967  # of ImageNet's 1000 classes
# The network of efficientnet_lite_pytorch 0.1.0 (from_name("efficientnet-lite0"), eval) with the same file, on
# (coffee()[88:312, 188:412] - 127) / 128 of scikit-image: deviation of each level, and its channels 0, ceil(N/6), ...
# at row 3, column 3.
LEVELS = {
    "level1": (6.909754, [2.52649, -7.80297, 0.00889859, 4.27926, 6.34061, 4.8663]),
    "level2": (9.005564, [-6.14139, -1.79589, -5.32382, 5.81081, 4.64913, 6.39162]),
    "level3": (8.105522, [-2.15014, -9.09175, 4.53652, -5.56479, 2.49647, -6.26171]),
    "level4": (7.046861, [11.1193, -13.0916, -2.73718, -1.72105, 1.1277, -0.130994]),
    "level5": (3.144073, [1.44623, -1.6128, 3.34608, 1.73184, -1.58975, -3.87621]),
}


@pytest.fixture(scope="module")
def net():
    return packaged_efficientnet_lite0()


@pytest.fixture(scope="module")
def levels(net):
    image = torch.from_numpy(data.coffee()[88:312, 188:412].copy()).permute(2, 0, 1)[None].float() / 255
    return net(image)


def test_features_are_those_of_another_implementation(net, levels):
    assert net.label == "packaged" and not any(parameter.requires_grad for parameter in net.parameters())
    for name, (deviation, values) in LEVELS.items():
        level = levels[name][0]
        assert level.double().std().item() == pytest.approx(deviation, rel=1e-6)
        np.testing.assert_allclose(level[:: -(-len(level) // 6), 3, 3], values, rtol=1e-5, atol=5e-5)


def test_the_published_classifier_sees_an_espresso(levels):
    """Its head on our features: they are what it was trained on."""
    stored = torch.load(packaged_path("efficientnet_lite0"), weights_only=True)
    norm = [stored[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    x = F.relu6(F.batch_norm(F.conv2d(levels["level5"], stored["_conv_head.weight"]), *norm, eps=1e-3))
    share = F.linear(x.mean(dim=(2, 3)), stored["_fc.weight"], stored["_fc.bias"]).softmax(1)[0]
    assert share.argmax() == ESPRESSO and share[ESPRESSO] == pytest.approx(0.81718, abs=1e-4)


@pytest.mark.parametrize("side", [64, 50, 33])
def test_levels_halve_the_sides_rounding_up(net, side):
    sizes = [tuple(level.shape[1:]) for level in net(torch.rand(1, 3, side, side)).values()]
    halved = [-(-side // 2**k) for k in range(1, 6)]
    assert sizes == [(channels, n, n) for channels, n in zip((16, 24, 40, 112, 320), halved, strict=True)]


def test_a_file_of_another_network_is_refused(tmp_path, monkeypatch):
    torch.save({"_conv_stem.weight": torch.zeros(3)}, tmp_path / "other.pth")
    monkeypatch.setattr(efficientnet_lite, "packaged_path", lambda name: tmp_path / "other.pth")
    with pytest.raises(UserError, match="does not hold EfficientNet-Lite0"):
        packaged_efficientnet_lite0()
