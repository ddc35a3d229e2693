"""The Basel Face Model, put together from the files of the Deep3D recipe."""

import numpy as np
import pytest
from scipy import io

from selfieavatar.errors import UserError
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.published import load_model
from tests.morphable.published import makers

TURN = np.array([1, -1, -1])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bfm") / "BFM"
    return folder, makers.bfm_folder(folder)


@pytest.fixture(scope="module")
def model(pair):
    return load_model("bfm", pair[0])


def test_crops_scales_and_deviations(pair, model):
    truth, source = pair[1], model.source_vertices
    shape = truth["vertices"][source] * TURN / 10  # the sheet is in mm
    np.testing.assert_allclose(model.template - model.template[0], shape - shape[0], atol=1e-4)
    for mine, key in ((model.identity_basis, "identity"), (model.expression_basis, "expression")):
        expected = np.moveaxis(truth[key], 2, 0)[:, source] * TURN * 1e-4
        np.testing.assert_allclose(mine, expected, atol=1e-5)
    assert (len(model.identity_basis), len(model.expression_basis)) == (80, 64)


def test_topology_landmarks_and_eyes(pair, model):
    truth = pair[1]
    np.testing.assert_array_equal(model.source_vertices[model.tri], truth["tri"])
    np.testing.assert_array_equal(model.source_vertices[model.landmark_vertices], truth["points"])
    np.testing.assert_allclose(model.template[model.landmark_vertices[[36, 45]]].sum(0), 0, atol=1e-4)
    assert model.landmark_set == ls.IBUG and model.uv.min() >= 0 and model.uv.max() <= 1


def test_the_packed_file_of_deep3d_is_the_same_model(pair, model, tmp_path):
    truth = pair[1]
    io.savemat(tmp_path / "BFM_model_front.mat", {
        "meanshape": truth["vertices"].reshape(1, -1) / 100, "idBase": truth["identity"].reshape(1200, 80) / 1e5,
        "exBase": truth["expression"].reshape(1200, 64) / 1e5, "tri": truth["tri"] + 1,
        "keypoints": truth["points"].reshape(1, -1) + 1})  # fmt: skip
    packed = load_model("bfm", tmp_path)
    for key in ("template", "identity_basis", "expression_basis", "tri", "landmark_vertices"):
        np.testing.assert_allclose(getattr(packed, key), getattr(model, key), atol=1e-4)


FILES = ("01_MorphableModel.mat", "Exp_Pca.bin", "std_exp.txt", "BFM_front_idx.mat", "BFM_exp_idx.mat",
         "facemodel_info.mat")  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["absent", "truncated", "empty", "other"])
def test_each_file_is_checked(pair, tmp_path, name, what):
    for other in FILES:
        if other != name:
            (tmp_path / other).symlink_to(pair[0] / other)
    whole = (pair[0] / name).read_bytes()
    if what != "absent":
        content = {"truncated": whole[: len(whole) // 2], "empty": b"", "other": b"\x00not this\xff" * 50}[what]
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        load_model("bfm", tmp_path)


def test_a_file_that_may_end_scipys_reader_is_refused(pair, tmp_path):
    for name in FILES:
        if name != "BFM_exp_idx.mat":
            (tmp_path / name).symlink_to(pair[0] / name)
    whole = bytearray((pair[0] / "BFM_exp_idx.mat").read_bytes())
    tag = whole.index(b"trimIndex") + 16  # of the numbers: their type and how many bytes they have
    whole[tag : tag + 8] = bytes(8)
    (tmp_path / "BFM_exp_idx.mat").write_bytes(whole)
    with pytest.raises(UserError, match="BFM_exp_idx.mat is not the crop"):
        load_model("bfm", tmp_path)


@pytest.mark.parametrize("name, change, message", [
    ("facemodel_info.mat", {"tri": [[1, 2, 999]]}, "'tri' names"),
    ("facemodel_info.mat", {"keypoints": [[1, 2, 3]]}, "'keypoints' has 3"),
    ("BFM_front_idx.mat", {"idx": [[9999]]}, "'idx' names"),
    ("BFM_exp_idx.mat", {"trimIndex": [[1]]}, "'trimIndex' names 1 "),
    ("01_MorphableModel.mat", {"shapePC": np.zeros((9, 9))}, "'shapePC' is 9 x 9"),
])  # fmt: skip
def test_wrong_content_is_one_clear_error(pair, tmp_path, name, change, message):
    for other in FILES:
        if other != name:
            (tmp_path / other).symlink_to(pair[0] / other)
    data = {key: value for key, value in io.loadmat(pair[0] / name).items() if key[0] != "_"}
    io.savemat(tmp_path / name, data | change)
    with pytest.raises(UserError, match=message) as error:
        load_model("bfm", tmp_path)
    assert name in str(error.value)


def test_only_its_own_landmarks(pair):
    with pytest.raises(UserError, match="face_alignment"):
        load_model("bfm", pair[0], ls.MEDIAPIPE)
    with pytest.raises(KeyError, match="unknown model 'bfm2017'"):
        load_model("bfm2017", pair[0])
