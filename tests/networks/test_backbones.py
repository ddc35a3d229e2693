"""The feature networks: the right layers, frozen, repeatable when random, and never silently random."""

import pickle

import numpy as np
import pytest
import torch
from torchvision.models import resnet50, vgg19
from torchvision.models.feature_extraction import create_feature_extractor

from selfieavatar.errors import UserError
from selfieavatar.networks import backbones
from selfieavatar.networks.backbones import load_backbone
from selfieavatar.networks.vgg19 import VGG19_TAPS


def photo_like(count=4, side=64, seed=11):
    return backbones._pink_images(torch.Generator().manual_seed(seed))[:count, :, :side, :side]


@pytest.fixture(scope="module")
def vgg():
    return load_backbone("vgg19", "random", 0)


@pytest.fixture(scope="module")
def resnet():
    return load_backbone("resnet50", "random", 0)


def convolutions_before(features, place):
    """(block, number) of the last convolution up to a place of VGG19's features, counted from pooling layers."""
    block, number = 1, 0
    for layer in features[: place + 1]:
        if isinstance(layer, torch.nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(layer, torch.nn.Conv2d):
            number += 1
    return block, number


def test_vgg_taps_are_truly_relu3_2_and_relu4_2(vgg):
    for name, wanted in (("relu3_2", (3, 2)), ("relu4_2", (4, 2))):
        place = VGG19_TAPS[name]
        assert isinstance(vgg.features[place], torch.nn.ReLU)
        assert convolutions_before(vgg.features, place) == wanted


def test_vgg_with_published_weights_equals_torchvision(tmp_path, monkeypatch):
    # The published file holds the state dict of torchvision's whole network; random values stand in for its values.
    with torch.random.fork_rng():
        torch.manual_seed(5)
        reference = vgg19(weights=None, init_weights=False).eval()
    file = tmp_path / "vgg19.pth"
    torch.save({k: v for k, v in reference.state_dict().items() if k.startswith("features.")}, file)
    monkeypatch.setattr(backbones, "asset_path", lambda name: {"vgg19_imagenet": file}[name])
    net = load_backbone("vgg19", "imagenet")
    assert net.label == "imagenet"
    image = photo_like(2)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        oracle = reference.features[:23]((image - mean) / std)
        ours = net(image)
    torch.testing.assert_close(ours["relu4_2"], oracle)
    assert ours["relu3_2"].shape == (2, 256, 16, 16)
    assert (ours["relu3_2"] >= 0).all()


def test_resnet_with_published_weights_equals_torchvision(tmp_path, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        reference = resnet50(weights=None).eval()
    file = tmp_path / "resnet50.pth"
    torch.save(reference.state_dict(), file)
    monkeypatch.setattr(backbones, "asset_path", lambda name: {"resnet50_imagenet": file}[name])
    net = load_backbone("resnet50", "imagenet")
    image = photo_like(2)
    oracle = create_feature_extractor(reference, {"layer2": "layer2", "layer4": "layer4"})
    with torch.no_grad():
        ours, wanted = net(image), oracle(net.normalise(image))
    torch.testing.assert_close(ours["layer2"], wanted["layer2"])
    torch.testing.assert_close(ours["layer4"], wanted["layer4"])
    assert list(ours) == ["layer1", "layer2", "layer3", "layer4"]


def test_random_weights_repeat_and_leave_the_global_generator_alone(vgg):
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    again = load_backbone("vgg19", "random", 0)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(vgg.parameters(), again.parameters(), strict=True))
    other = load_backbone("vgg19", "random", 1)
    assert other.label == "random:1"
    assert not torch.equal(vgg.features[0].weight, other.features[0].weight)


@pytest.mark.parametrize("name", ["vgg", "resnet"])
def test_random_activations_have_unit_scale_and_tell_patches_apart(name, request):
    net = request.getfixturevalue(name)
    with torch.no_grad():
        maps = net(photo_like())
    for tap, values in maps.items():
        assert 0.2 < values.square().mean().sqrt() < 4.0, tap
        # share of the variance between places, against that common to all: the plain He rule leaves next to nothing
        centred = values - values.mean(dim=(0, 2, 3), keepdim=True)
        assert centred.square().mean() > 0.2 * values.square().mean(), tap


@pytest.mark.parametrize("name", ["vgg", "resnet"])
def test_frozen_and_always_in_eval_mode(name, request):
    net = request.getfixturevalue(name)
    net.train()
    assert not any(module.training for module in net.modules())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    image = photo_like(1).requires_grad_()
    sum(m.sum() for m in net(image).values()).backward()
    assert image.grad.abs().sum() > 0


def test_missing_published_weights_stop_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    with pytest.raises(UserError, match="vgg19"):
        load_backbone("vgg19", "imagenet")


def test_a_file_of_another_network_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(1)}, file)
    monkeypatch.setattr(backbones, "asset_path", lambda name: file)
    with pytest.raises(UserError, match="does not hold"):
        load_backbone("resnet50", "imagenet")


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="vgg19"):
        load_backbone("vgg16", "random")
    with pytest.raises(UserError, match="unknown weights 'pretrained' for vgg19; known are imagenet, packaged, random"):
        load_backbone("vgg19", "pretrained")
    with pytest.raises(UserError, match="for resnet50; known are imagenet, vggface2, random"):
        load_backbone("resnet50", "packaged")
    with pytest.raises(UserError, match="for dlib_face; known are packaged"):
        load_backbone("dlib_face", "random")


def vggface2_file(path, change=None):
    """A file of the published form: NumPy arrays by the names of the layers, with the classifier, without counters."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = resnet50(weights=None, num_classes=10).state_dict()
    arrays = {key: value.numpy() for key, value in state.items() if not key.endswith("num_batches_tracked")}
    path.write_bytes(pickle.dumps(arrays | (change or {}), protocol=2))
    return arrays


def test_vggface2_is_read_from_the_users_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    with pytest.raises(UserError, match="resnet50_ft_weight.pkl is missing: .*put it there"):
        load_backbone("resnet50", "vggface2")
    arrays = vggface2_file(tmp_path / "resnet50_ft_weight.pkl")
    net = load_backbone("resnet50", "vggface2")
    assert net.label == "vggface2" and not any(parameter.requires_grad for parameter in net.parameters())
    image = photo_like(1, 64)
    taps = net(image)
    assert [tuple(tap.shape[1:]) for tap in taps.values()] == [
        (256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)
    ]  # fmt: skip
    # the first layers by hand: BGR of 0 to 255 less the mean, convolution, norm, pooling without padding
    bgr = 255 * image[:, [2, 1, 0]] - torch.tensor([91.4953, 103.8827, 131.0912]).view(1, 3, 1, 1)
    x = torch.nn.functional.conv2d(bgr, torch.from_numpy(arrays["conv1.weight"]), stride=2, padding=3)
    x = torch.nn.functional.max_pool2d((x / (1 + 1e-5) ** 0.5).relu(), 3, 2, ceil_mode=True)
    torch.testing.assert_close(net.net.maxpool(net.net.relu(net.net.bn1(net.net.conv1(net.normalise(image))))), x)
    assert [getattr(net.net, f"layer{k}")[0].conv1.stride for k in (1, 2, 3, 4)] == [(1, 1), (2, 2), (2, 2), (2, 2)]


def test_a_hostile_or_other_vggface2_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    file = tmp_path / "resnet50_ft_weight.pkl"
    vggface2_file(file, {"layer1.0.conv1.weight": np.zeros((3, 3), np.float32)})
    with pytest.raises(UserError, match="layer1.0.conv1.weight is missing or of another shape"):
        load_backbone("resnet50", "vggface2")

    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    file.write_bytes(pickle.dumps({"conv1.weight": Harm()}))
    with pytest.raises(UserError):
        load_backbone("resnet50", "vggface2")
    assert not (tmp_path / "harmed").exists()
