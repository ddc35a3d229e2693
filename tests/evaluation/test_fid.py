"""Fréchet distance against closed forms and torch-fidelity's own, and the adapter on an untrained Inception network."""

import numpy as np
import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as inception
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from selfieavatar.errors import UserError
from selfieavatar.evaluation import fid
from selfieavatar.evaluation.fid import frechet_distance


def torch_fidelity_distance(a, b):
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def test_equals_torch_fidelity_with_many_and_with_few_samples():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(8, 8))
    for count in (500, 30):
        a, b = rng.normal(size=(count, 8)), rng.normal(size=(count + 3, 8)) @ mix + 0.5
        assert frechet_distance(a, b) == pytest.approx(torch_fidelity_distance(a, b), rel=1e-4)


def test_closed_form_of_shifted_and_scaled_clouds():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(400, 5))
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(a, a + 2.0) == pytest.approx(5 * 4.0)
    centred = a - a.mean(axis=0)
    # tr(C + 9C - 6C) = 4 tr C
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * np.cov(a.T).trace())


def test_fewer_samples_than_features_and_the_reverse_agree():
    """The triangular factor that stands in for many samples must not change the distance."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(40, 6)), rng.normal(size=(50, 6)) * 1.5
    wide = np.zeros((1, 60))  # features that are always zero change nothing but the shapes
    pad = [np.concatenate([x, np.repeat(wide, len(x), axis=0)], axis=1) for x in (a, b)]
    assert frechet_distance(*pad) == pytest.approx(frechet_distance(a, b))


def test_too_few_frames_give_none():
    assert frechet_distance(np.zeros((1, 4)), np.zeros((9, 4))) is None


def test_missing_weights_stop_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    with pytest.raises(UserError, match="inception"):
        fid.FidScore("cpu")


def test_a_method_may_be_called_truth():
    """The true images are no method: one of that name is measured against them like any other."""
    score = fid.FidScore.__new__(fid.FidScore)  # without the network, whose weights are not there
    score._truth, score._methods = {}, {}
    score._extract = lambda images: images.reshape(len(images), -1)
    images = np.random.default_rng(3).random((2, 4, 6, 6, 3))
    masks = {"full": np.ones((4, 6, 6), bool)}
    score.add_truth(images[0], masks)
    assert score.value("truth", "full") is None
    for name in ("truth", "peer"):
        score.add(name, images[1], masks)
    flat = images.reshape(2, 4, -1)
    assert score.value("truth", "full") == score.value("peer", "full") == frechet_distance(flat[1], flat[0]) > 0.1


@pytest.mark.slow
def test_adapter_collects_features_by_region(tmp_path, monkeypatch):
    file = tmp_path / "inception.pth"
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        # the constructor insists on weights; an untrained network of its kind gives us a file of their layout
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = inception.FeatureExtractorInceptionV3("x", ["2048"])
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
        torch.save(net.state_dict(), file)
    # a third of the published input size: this network knows nothing anyway, and is nine times faster
    monkeypatch.setattr(inception.FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 99)
    monkeypatch.setattr(fid, "asset_path", lambda name: {"inception_fid": file}[name])
    score = fid.FidScore("cpu")
    truth = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    masks = {"full": np.ones((3, 32, 32), bool), "face": np.zeros((3, 32, 32), bool)}
    masks["face"][:2, 8:24, 8:24] = True
    score.add_truth(truth, masks)
    score.add("same", truth, masks)
    outside = truth.copy()
    outside[~masks["face"]] = 0.5
    score.add("outside", outside, masks)
    assert score.value("same", "full") == pytest.approx(0.0, abs=1e-6)
    assert score.value("outside", "full") > 1e-6
    assert score.value("outside", "face") == pytest.approx(0.0, abs=1e-6)
    assert score.value("never", "full") is None
