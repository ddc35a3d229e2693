"""dlib's face recognition network in torch: the numbers are dlib's own."""

import numpy as np
import pytest
import torch
from skimage import data

from selfieavatar.detection import face_descriptor
from selfieavatar.errors import UserError
from selfieavatar.io import dlib_file
from selfieavatar.networks.backbones import load_backbone
from selfieavatar.settings.packaged import packaged_path

# dlib 20.0.1 (the wheel dlib-bin 20.0.1.post1), on scikit-image's astronaut:
#   dlib.face_recognition_model_v1(FILE).compute_face_descriptor(np.ascontiguousarray(astronaut()[52:202, 148:298]))
DLIB = np.array([
    -0.09740, 0.06130, -0.00112, -0.01806, -0.14232, -0.01079, -0.00263, -0.18594, 0.10136, -0.11338, 0.18928, -0.08822,
    -0.29929, -0.03025, 0.02199, 0.17821, -0.15280, -0.14480, -0.17215, -0.06211, 0.00737, 0.07188, 0.04401, 0.08437,
    -0.19570, -0.33464, -0.05482, -0.09013, 0.02818, -0.04816, -0.07988, 0.13618, -0.08425, 0.02750, 0.11192, 0.10050,
    -0.02263, -0.09418, 0.15071, -0.05216, -0.25394, -0.06288, 0.06319, 0.21253, 0.29284, -0.06811, 0.01281, -0.09396,
    0.09112, -0.28231, -0.01854, 0.10367, 0.06404, 0.09880, 0.03877, -0.17720, -0.01025, 0.20698, -0.25885, -0.03243,
    0.03406, -0.15017, -0.02189, -0.04631, 0.18114, 0.12746, -0.18669, -0.14132, 0.16692, -0.23703, -0.01280, 0.08735,
    -0.14330, -0.22055, -0.31252, -0.04747, 0.43999, 0.20454, -0.17877, -0.05205, -0.06630, 0.01026, 0.04996, 0.05177,
    -0.06497, -0.09808, -0.11470, 0.04213, 0.19605, -0.03360, -0.02168, 0.27557, 0.02052, -0.01820, 0.03824, 0.12750,
    -0.11530, -0.06090, -0.09166, -0.03170, -0.05309, -0.09195, 0.06870, 0.16940, -0.13980, 0.21473, -0.03196, 0.02409,
    0.00543, -0.04253, -0.01692, -0.04468, 0.14667, -0.28091, 0.07290, 0.19410, 0.06528, 0.16862, -0.04008, 0.04835,
    -0.04567, -0.04774, -0.17919, -0.03884, 0.06591, -0.05697, 0.02184, 0.02057,
])  # fmt: skip


@pytest.fixture(scope="module")
def net():
    return load_backbone("dlib_face", "packaged")


def chip():
    """The astronaut's face, 150 px: (1,3,150,150) RGB in [0,1]."""
    return torch.from_numpy(data.astronaut()[52:202, 148:298].copy()).permute(2, 0, 1)[None].float() / 255


def test_descriptor_is_dlib_s(net):
    with torch.no_grad():
        taps = net(chip())
    assert np.abs(taps["descriptor"].flatten().numpy() - DLIB).max() < 1e-5
    assert {name: tuple(tap.shape[1:]) for name, tap in taps.items()} == {
        "stage1": (32, 35, 35), "stage2": (64, 17, 17), "stage3": (128, 8, 8), "stage4": (256, 4, 4),
        "stage5": (256, 2, 2), "descriptor": (128, 1, 1),
    }  # fmt: skip


def test_the_descriptor_without_torch_is_the_same():
    face = data.astronaut()[52:202, 148:298]
    describe = face_descriptor.FaceDescriptor()
    assert np.abs(describe(face) - DLIB).max() < 1e-5
    tall = face_descriptor.CHIP_PX / face_descriptor.CHIP_SCALE
    box = np.array([223 - 50, 127 - tall / 2, 223 + 50, 127 + tall / 2])
    np.testing.assert_array_equal(face_descriptor.face_chip(data.astronaut(), box), face)


def test_it_is_frozen_and_gradients_reach_the_image(net):
    net.train()
    assert net.label == "packaged" and not any(module.training for module in net.modules())
    image = chip().requires_grad_()
    for tap in net(image).values():
        (gradient,) = torch.autograd.grad(tap.square().sum(), image, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("damage", ["cut", "layer", "kernel"])
def test_a_network_of_another_form_is_refused(tmp_path, monkeypatch, damage):
    """Past the check of the hash, too."""
    known = packaged_path("dlib_face")
    layers = dlib_file.read_dlib_layers(known)
    if damage == "cut":
        (tmp_path / "cut.dat").write_bytes(known.read_bytes()[:-1])
        monkeypatch.setattr(face_descriptor, "packaged_path", lambda name: tmp_path / "cut.dat")
    elif damage == "layer":
        monkeypatch.setattr(face_descriptor, "read_dlib_layers", lambda path: layers[:-2] + layers[-1:] * 2)
    else:
        first = layers[0]._replace(fields=(*layers[0].fields[:4], 1, *layers[0].fields[5:]))
        monkeypatch.setattr(face_descriptor, "read_dlib_layers", lambda path: [first, *layers[1:]])
    with pytest.raises(UserError, match="cannot be read as|does not hold dlib's face recognition network"):
        load_backbone("dlib_face", "packaged")
