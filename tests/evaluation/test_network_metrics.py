"""Figures that need published weights: null with a reason where these are missing."""

import json

import numpy as np
import pytest

from selfieavatar.evaluation.network_metrics import FID_REGIONS, REGION_METRICS, NetworkScores
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.evaluation.results import Results
from selfieavatar.settings import packaged

NOTHING = {region: dict.fromkeys(REGION_METRICS) for region in REGIONS}
for region in FID_REGIONS:
    NOTHING[region]["fid"] = None
NOTHING["face"]["identity_similarity"] = None


def add_one(scores):
    truth = np.zeros((1, 64, 64, 3), np.float32)
    scores.add({"avatar": truth}, truth, {region: np.ones((1, 64, 64), bool) for region in REGIONS})


def test_without_weights_figures_are_null_and_notes_say_why(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    monkeypatch.setattr(packaged, "packaged_file", lambda name: None)
    scores = NetworkScores("cpu")
    add_one(scores)
    assert scores.summary("avatar") == NOTHING
    assert scores.weights == {
        "alexnet": None, "efficientnet_lite0": None, "inception": None, "identity_network": None
    }  # fmt: skip
    assert "alexnet" in scores.notes["lpips"] and "inception" in scores.notes["fid"]
    for metric in ("effnet_distance", "identity_similarity"):
        assert "not installed; run `make setup`" in scores.notes[metric]
    json.dumps(scores.notes, allow_nan=False)
    results = Results(["avatar"], scores, None)
    notes = results.all_notes()
    assert any("alexnet-owt-7be5be79.pth" in note for note in notes) and str(tmp_path) not in " ".join(notes)


def test_packages_bring_two_of_the_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    scores = NetworkScores("cpu")
    truth = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    masks = {region: np.ones((1, 64, 64), bool) for region in REGIONS}
    scores.add({"avatar": truth, "mean_frame": 1 - truth}, truth, masks)
    assert scores.weights == {
        "alexnet": None, "efficientnet_lite0": "imagenet", "inception": None, "identity_network": "dlib_face"
    }  # fmt: skip
    assert set(scores.notes) == {"lpips", "fid"}
    mine, other = scores.summary("avatar"), scores.summary("mean_frame")
    for region in REGIONS:
        assert mine[region]["effnet_distance"] == 0 < other[region]["effnet_distance"] < 4
    assert mine["face"]["identity_similarity"] == pytest.approx(1)
    assert other["face"]["identity_similarity"] < 0.99


def test_left_out_by_choice():
    scores = NetworkScores("cpu", wanted=False)
    add_one(scores)
    assert scores.summary("avatar") == NOTHING
    assert all("network_metrics" in note for note in scores.notes.values())


def test_lpips_is_kept_by_method_and_region():
    scores = NetworkScores("cpu", wanted=False)
    scores._lpips = lambda images, truth, masks: {region: np.full(len(truth), images.mean()) for region in masks}
    truth = np.zeros((2, 8, 8, 3), np.float32)
    masks = {region: np.ones((2, 8, 8), bool) for region in REGIONS}
    scores.add({"avatar": truth, "mean_frame": truth + 1}, truth, masks)
    assert scores.summary("avatar")["face"]["lpips"] == 0.0
    assert scores.summary("mean_frame")["full"]["lpips"] == 1.0


def test_lpips_has_an_interval_where_it_has_frames():
    network = NetworkScores("cpu", wanted=False)
    result = Results(["avatar"], network)
    truth, masks = np.zeros((8, 16, 16, 3), np.float32), {region: np.ones((8, 16, 16), bool) for region in REGIONS}
    result.add("talk", np.arange(8), np.arange(8), truth, masks, {"avatar": truth + 0.1})
    assert result.intervals("avatar")["face"]["lpips"] is None
    network._parts, result.block = {("avatar", "face", "lpips"): [np.linspace(0.1, 0.3, 8)]}, 1
    low, high = result.intervals("avatar")["face"]["lpips"]
    assert 0.1 < low < 0.2 < high < 0.3 and result.intervals("avatar")["full"]["lpips"] is None


def test_a_small_sample_is_said():
    scores = NetworkScores("cpu", wanted=False)
    assert scores.warnings() == []
    seen = []

    class Fid:
        def add_truth(self, images, masks):
            seen.append(("the true ones", set(masks)))

        def add(self, method, images, masks):
            seen.append((method, set(masks)))

    scores._fid = Fid()
    add_one(scores)
    assert scores.warnings() == [scores.warnings()[0]] and "of 1 frames, fewer than the 2048" in scores.warnings()[0]
    assert seen == [("the true ones", set(FID_REGIONS)), ("avatar", set(FID_REGIONS))]
    scores._count = 2048
    assert scores.warnings() == []
