"""Likeness of faces by a made-up file of VGGFace2's weights, and by dlib's: the same is 1, only the face counts."""

import numpy as np
import pytest
from skimage import data

from selfieavatar.errors import UserError
from selfieavatar.evaluation.identity_similarity import FaceFeatures, mean_face
from selfieavatar.evaluation.network_metrics import NetworkScores
from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.settings import packaged
from tests.networks.test_backbones import vggface2_file


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    vggface2_file(folder / "resnet50_ft_weight.pkl")
    return folder


@pytest.fixture
def images(assets, monkeypatch):
    """Three images with a face of 20 px within 64, the last without a face."""
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(assets))
    faces = np.zeros((3, 64, 64), bool)
    faces[:2, 20:40, 22:42] = True
    return np.random.default_rng(0).random((3, 64, 64, 3), np.float32), faces


def test_the_same_face_is_one_and_what_lies_around_it_does_not_count(images):
    shown, faces = images
    features = FaceFeatures("cpu")
    mine = features(shown, faces)
    np.testing.assert_allclose(np.linalg.norm(mine, axis=1), [1, 1, np.nan])
    elsewhere = shown.copy()
    elsewhere[:, :10], elsewhere[:, 50:] = 0, 1
    np.testing.assert_allclose((mine * features(elsewhere, faces)).sum(1), [1, 1, np.nan], atol=1e-9)
    assert (mine[0] * mine[1]).sum() < 0.99999
    person = mean_face(mine)
    np.testing.assert_allclose(mine[:2] @ person, mine[1::-1] @ person)  # as near to one as to the other
    assert np.isnan(mean_face(mine[2:])).all()


def test_it_is_measured_over_the_face_for_every_method(images):
    shown, faces = images
    scores = NetworkScores("cpu")
    masks = {region: faces for region in REGIONS}
    scores.add({"avatar": shown, "mean_frame": shown[::-1].copy()}, shown, masks)
    found = scores.summary("avatar")
    assert found["face"]["identity_similarity"] == pytest.approx(1) and "identity_similarity" not in found["full"]
    assert scores.summary("mean_frame")["face"]["identity_similarity"] < 0.99999
    assert np.isnan(scores.per_frame("avatar", "face", "identity_similarity")).tolist() == [False, False, True]
    assert scores.weights["identity_network"] == "vggface2" and "identity_similarity" not in scores.notes


def test_without_the_file_dlib_s_network_is_taken_and_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    features = FaceFeatures("cpu")
    assert (features.label, features.length) == ("dlib_face", 128)
    astronaut = data.astronaut()[:256, 96:352].astype(np.float32) / 255
    darker, other = 0.8 * astronaut, np.random.default_rng(0).random(astronaut.shape, np.float32)
    faces = np.zeros((4, 256, 256), bool)
    faces[:3, 60:190, 80:180] = True
    mine = features(np.stack([astronaut, darker, other, other]), faces)
    np.testing.assert_allclose(np.linalg.norm(mine, axis=1), [1, 1, 1, np.nan])
    assert mine[0] @ mine[1] > 0.97 > 0.9 > mine[0] @ mine[2]
    monkeypatch.setattr(packaged, "packaged_file", lambda name: None)
    with pytest.raises(UserError, match="'dlib_face' come with the package"):
        FaceFeatures("cpu")


def test_a_damaged_file_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    (tmp_path / "resnet50_ft_weight.pkl").write_bytes(b"no pickle")
    with pytest.raises(UserError, match="resnet50_ft_weight.pkl"):
        FaceFeatures("cpu")
