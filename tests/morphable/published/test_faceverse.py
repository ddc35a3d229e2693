"""FaceVerse v2, v3 and v4 with their own keys, units and axes."""

import os

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.published import load_model
from tests.morphable.published import makers

SET = {2: ls.IBUG, 3: ls.MEDIAPIPE, 4: ls.MEDIAPIPE}
SCALE = {2: (10.0, 1), 3: (0.1, 1), 4: (1.0, -1)}  # cm per unit, 1 for y up


class Danger:
    """Would make a folder when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.fixture(scope="module", params=[2, 3, 4])
def pair(request, tmp_path_factory):
    table = makers.faceverse(request.param)
    path = makers.faceverse_file(tmp_path_factory.mktemp("fv") / "faceverse.npy", table)
    return request.param, table, load_model("faceverse", path, SET[request.param])


def test_shape_and_bases_in_our_axes(pair):
    version, table, model = pair
    scale, up = SCALE[version]
    turn = np.array([1, -up, -up]) * scale
    source = model.source_vertices
    mean = table["meanshape"][source] * turn
    np.testing.assert_allclose(model.template - model.template[0], mean - mean[0], atol=1e-3)
    count = len(table["meanshape"])
    key = "exBase_52" if version == 3 else "exBase"
    for mine, theirs in ((model.identity_basis, table["idBase"]), (model.expression_basis, table[key])):
        expected = np.moveaxis(theirs.reshape(count, 3, -1), 2, 0)[: len(mine), source] * turn
        np.testing.assert_allclose(mine, expected, atol=1e-4)
    assert len(model.expression_basis) == (171 if version == 4 else 52)
    assert (model.expression_low == 0).all() and (model.expression_high == 1).all()


def test_face_looks_at_the_camera(pair):
    version, _, model = pair
    right, left = model.template[model.landmark_vertices[list(ls.landmark_set(SET[version]).outer_eyes)]]
    np.testing.assert_allclose(right + left, 0, atol=1e-4)
    assert left[0] > 0 and 7 < left[0] - right[0] < 13
    nose = {2: 30, 3: ls.NOSE_TIP, 4: ls.NOSE_TIP}[version]
    assert model.template[model.landmark_vertices[nose], 2] < -1


def test_landmarks(pair):
    version, table, model = pair
    numbers = model.source_vertices[model.landmark_vertices]
    if version == 2:
        assert model.landmark_vertices[48] == model.landmark_vertices[54] == -1
        kept = np.setdiff1d(np.arange(68), [48, 54])
        np.testing.assert_array_equal(numbers[kept], table["keypoints"].ravel())
    else:
        key = "mediapipe_keypoints" if version == 3 else "keypoints_mediapipe"
        np.testing.assert_array_equal(numbers, table[key].ravel())


def test_eyes(pair):
    version, table, model = pair
    if version == 2:
        assert not model.identity_eyes and (model.tri_part == 0).all()
        assert model.eye_center[0, 0] > model.eye_center[1, 0]
        person = model.with_identity(np.r_[3.0, np.zeros(149)])
        assert np.isfinite(person.eye_center).all() and (person.eye_center != model.eye_center).any()
        return
    np.testing.assert_allclose(model.eye_radius, 1.2, atol=1e-3)
    assert model.eye_center[0, 0] == pytest.approx(3.2 - 0.0, abs=0.3) and model.eye_center[1, 0] < 0
    assert (model.tri_part == ls.EYE_PART).sum() == 160


def test_uv(pair):
    version, table, model = pair
    assert model.uv.shape == (len(model.template), 2) and model.uv.min() >= 0 and model.uv.max() <= 1
    if version == 3:
        np.testing.assert_allclose(model.uv, table["uvtex"][model.source_vertices, :2] / 255, atol=1e-6)


BAD = {
    "missing": (lambda t: t.pop("idBase"), "'idBase' is missing"),
    "no shape": (lambda t: t.pop("meanshape"), "meanshape"),
    "shape": (lambda t: t.update(exBase_52=t["exBase_52"][:-3]), "'exBase_52' is"),
    "range": (lambda t: t.update(tri=t["tri"] + 100), "'tri' names"),
    "keypoints": (lambda t: t.update(mediapipe_keypoints=t["mediapipe_keypoints"] + 9999), "'landmarks' names"),
    "nan": (lambda t: t.update(meanshape=t["meanshape"] * np.nan), "not finite"),
    "ends": (lambda t: t.update(ver_inds=[5, 4, 3]), "ver_inds"),
    "unit": (lambda t: t.update(meanshape=t["meanshape"] * 2.2), "no unit of length"),
    "flat": (lambda t: t.update(meanshape=t["meanshape"] * [1, 0, 1]), "do not form a face"),
    "evil": (lambda t: t.update(parsing=Danger()), "posix.mkdir.*nothing was run"),
    "no landmarks": (lambda t: t.pop("mediapipe_keypoints"), "no places for the landmarks mediapipe478"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_one_clear_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    table = makers.faceverse(3)
    change, message = BAD[name]
    change(table)
    path = makers.faceverse_file(tmp_path / "bad.npy", table)
    with pytest.raises(UserError, match=message) as error:
        load_model("faceverse", path)
    assert "bad.npy" in str(error.value) and not (tmp_path / "ran").exists()


def test_missing_and_truncated(tmp_path):
    with pytest.raises(UserError, match="none.npy is missing"):
        load_model("faceverse", tmp_path / "none.npy")
    path = makers.faceverse_file(tmp_path / "cut.npy", makers.faceverse(2))
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(UserError, match="cut.npy is damaged"):
        load_model("faceverse", path)
    np.save(path, np.zeros(3))
    with pytest.raises(UserError, match="no table"):
        load_model("faceverse", path)
