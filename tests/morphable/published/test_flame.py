"""FLAME: skinning against a naive one, the jaw as a linear basis, landmarks and UV from the files beside the model."""

import os
import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selfieavatar.errors import UserError
from selfieavatar.fitting.visibility import Sight
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.published import load_model
from tests.morphable.published import makers

FLIP = np.array([1, -1, -1])


class Danger:
    """Would make a folder when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.fixture(scope="module")
def data():
    return makers.flame_data()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data):
    return makers.flame_folder(tmp_path_factory.mktemp("flame"), data, chumpy=("v_template", "shapedirs"))


@pytest.fixture(scope="module")
def model(folder):
    return load_model("flame", folder)


@pytest.fixture(scope="module")
def by_ibug(folder):
    return load_model("flame", folder / "generic_model.pkl", ls.IBUG)


def naive(data, shape, pose):
    """Linear blend skinning as the SMPL paper writes it: 4 x 4 matrices, one vertex after the other."""
    turns = Rotation.from_rotvec(pose).as_matrix()
    corrected = shape + np.array([[row @ np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
                                   for row in axis] for axis in data["posedirs"]])  # fmt: skip
    joints = data["J_regressor"].toarray() @ shape
    world = []
    for joint, parent in enumerate([-1, 0, 1, 1, 1]):
        local = np.eye(4)
        local[:3, :3] = turns[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    out = np.empty_like(shape)
    for v, vertex in enumerate(corrected):
        blended = np.zeros((4, 4))
        for joint in range(5):
            rest = np.eye(4)
            rest[:3, 3] = -joints[joint]
            blended += data["weights"][v, joint] * (world[joint] @ rest)
        out[v] = (blended @ [*vertex, 1])[:3]
    return out


def test_skinning_equals_a_naive_one(data, model):
    pose = np.random.default_rng(0).normal(size=(5, 3)) * 0.4
    np.testing.assert_allclose(model.rig.posed(data["v_template"], pose), naive(data, data["v_template"], pose),
                               atol=1e-7)  # fmt: skip


@pytest.mark.parametrize("degrees", [3, 12, 25])
def test_linear_jaw_follows_the_exact_motion(data, model, degrees):
    angle = np.radians(degrees)
    pose = np.zeros((5, 3))
    pose[2, 0] = angle
    exact = (naive(data, data["v_template"], pose) - data["v_template"])[model.flame_source] * FLIP * 100
    coefficients = np.zeros(model.expression_count)
    coefficients[-3:-1] = np.sin(angle), 1 - np.cos(angle)
    linear = (model.vertices(coefficients) - model.template)[: len(exact)]
    assert np.abs(exact).max() > 0.2
    assert np.abs(linear - exact).max() < 0.01 * np.abs(exact).max()
    assert (coefficients >= model.expression_low - 1e-6).all() and (coefficients <= model.expression_high + 1e-6).all()


def test_jaw_vectors_are_the_derivatives_at_rest(data, model):
    for column, axis in ((-3, 0), (-1, 1)):
        step = 1e-4
        ends = []
        for sign in (1, -1):
            pose = np.zeros((5, 3))
            pose[2, axis] = sign * step
            ends.append(naive(data, data["v_template"], pose))
        slope = ((ends[0] - ends[1]) / (2 * step))[model.flame_source] * FLIP * 100
        mine = model.expression_basis[column][: len(slope)]
        assert np.abs(mine - slope).max() < 0.01 * np.abs(slope).max()


def test_chin_goes_down_and_back_when_the_jaw_opens(model):
    mesh = model.template[: len(model.flame_source)]
    chin = np.argmin(np.abs(mesh - [0, mesh[:, 1].max() * 0.5, mesh[:, 2].min()]).sum(1))
    assert model.expression_names[-3] == "jaw_open"
    assert model.expression_basis[-3][chin, 1] > 1  # cm per radian, y down


def test_a_persons_jaw_turns_about_the_persons_joint(data, model):
    coefficients = np.random.default_rng(1).normal(size=300)
    person = model.with_identity(coefficients)
    shape = data["v_template"] + data["shapedirs"][:, :, :300] @ coefficients
    expected = (shape[model.flame_source] * FLIP * 100) - model.origin
    np.testing.assert_allclose(person.template[: len(expected)], expected, atol=1e-4)
    pose = np.zeros((5, 3))
    pose[2, 0] = 0.35
    exact = (naive(data, shape, pose) - shape)[model.flame_source] * FLIP * 100
    weights = np.zeros(model.expression_count)
    weights[-3:-1] = np.sin(0.35), 1 - np.cos(0.35)
    own = np.abs((person.vertices(weights) - person.template)[: len(exact)] - exact).max()
    mean = np.abs((model.vertices(weights) - model.template)[: len(exact)] - exact).max()
    assert own < 0.01 * np.abs(exact).max() and own < 0.5 * mean


def test_landmarks_lie_on_their_triangles(data, model, by_ibug):
    vertices = data["v_template"] * FLIP * 100
    table = makers.flame_mediapipe(len(data["f"]))
    expected = np.einsum("lk,lkc->lc", table["lmk_b_coords"], vertices[data["f"]][table["lmk_face_idx"]])
    mine = model.template[model.landmark_vertices[table["landmark_indices"]]] + model.origin
    np.testing.assert_allclose(mine, expected, atol=1e-4)
    assert (model.landmark_vertices >= 0).sum() == 51
    table = makers.flame_landmarks(len(data["f"]))
    inner = np.einsum("lk,lkc->lc", table["static_lmk_bary_coords"], vertices[data["f"]][table["static_lmk_faces_idx"]])
    border = np.einsum("alk,alkc->alc", table["dynamic_lmk_bary_coords"],
                       vertices[data["f"]][table["dynamic_lmk_faces_idx"]])  # fmt: skip
    points = by_ibug.template + by_ibug.origin
    np.testing.assert_allclose(points[by_ibug.landmark_vertices], np.concatenate([border[0], inner]), atol=1e-4)
    # Rows of the file: 0, 1, ..., 39, -1, -2, ..., -39 degrees; ours rise from -39 to 39.
    degrees = np.r_[0:40, -1:-40:-1]
    np.testing.assert_allclose(points[by_ibug.contour_vertices], border[np.argsort(degrees)], atol=1e-4)


def test_the_border_of_the_jaw_stays_with_the_person_and_slides(by_ibug):
    person = by_ibug.with_identity(np.random.default_rng(1).normal(size=300))
    again = MorphableModel.from_arrays(person.to_arrays())
    np.testing.assert_array_equal(again.contour_vertices, by_ibug.contour_vertices)
    sight = Sight(again, ls.landmark_weights(ls.IBUG), occlusion=False)
    for number in range(17):
        strip = sight.vertices[sight.landmarks == number]
        assert strip[0] == again.landmark_vertices[number] and len(strip) > 10
        assert np.isin(strip[1:], again.contour_vertices[:, number]).all()


def test_eyes_and_parts(data, model):
    np.testing.assert_allclose(model.eye_radius, 1.2, atol=1e-4)
    np.testing.assert_allclose(model.eye_center, [[3.1, 0, 0], [-3.1, 0, 0]], atol=1e-4)
    assert (model.tri_part == ls.EYE_PART).sum() == 160
    assert (model.iris_radius > 0.5) and model.identity_basis.shape[0] == 300


def test_cylinder_has_no_triangle_across_the_seam(model):
    assert model.uv.min() >= 0 and model.uv.max() <= 1 and np.isfinite(model.uv).all()
    head = model.tri[model.tri_part == 0]
    middle = 0.5 * (model.template.min(0) + model.template.max(0))
    around_the_pole = np.linalg.norm((model.template[head] - middle)[..., [0, 2]], axis=2).min(1) < 3
    assert np.ptp(model.uv[head[~around_the_pole]][..., 0], axis=1).max() < 0.1


def test_uv_of_the_head_template(tmp_path, data):
    folder = makers.flame_folder(tmp_path / "flame", data)
    rng = np.random.default_rng(3)
    uv, tri_uv = rng.random((900, 2)), rng.integers(900, size=data["f"].shape)
    lines = [f"v {x} {y} {z}" for x, y, z in data["v_template"]] + [f"vt {u} {v}" for u, v in uv]
    lines += ["f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(a, b, strict=True))
              for a, b in zip(data["f"], tri_uv, strict=True)]  # fmt: skip
    (folder / "head_template.obj").write_text("\n".join(lines))
    model = load_model("flame", folder)
    np.testing.assert_array_equal(model.flame_source[model.tri], data["f"])
    np.testing.assert_allclose(model.uv[model.tri], uv[tri_uv] * [1, -1] + [0, 1], atol=1e-6)
    (folder / "head_template.obj").write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match="head_template.obj.*triangles are not those"):
        load_model("flame", folder)


def test_tensors_in_the_embedding(tmp_path, data, by_ibug):
    torch = pytest.importorskip("torch")
    folder = makers.flame_folder(tmp_path / "flame", data)
    table = makers.flame_landmarks(len(data["f"]))
    table |= {key: torch.from_numpy(table[key]) for key in ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords")}
    np.save(folder / "landmark_embedding.npy", table, allow_pickle=True)
    np.testing.assert_array_equal(load_model("flame", folder, ls.IBUG).template, by_ibug.template)


BAD = {
    "missing": (lambda d: d.pop("weights"), "'weights' is missing"),
    "shape": (lambda d: d.update(shapedirs=d["shapedirs"][..., :100]), "'shapedirs' is 726 x 3 x 100"),
    "range": (lambda d: d.update(f=d["f"] + 700), "'f' names"),
    "nan": (lambda d: d.update(v_template=d["v_template"] * np.nan), "not finite"),
    "weights": (lambda d: d.update(weights=d["weights"] * 2), "sum to 1"),
    "tree": (lambda d: d.update(kintree_table=d["kintree_table"][:, ::-1]), "kintree_table"),
    "regressor": (lambda d: d.update(J_regressor=d["J_regressor"][:4]), "J_regressor"),
    "evil": (lambda d: d.update(J=Danger()), "posix.mkdir.*nothing was run"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_one_clear_error(tmp_path, monkeypatch, data, name):
    monkeypatch.chdir(tmp_path)
    change, message = BAD[name]
    changed = dict(data)
    change(changed)
    folder = makers.flame_folder(tmp_path / "flame", changed)
    with pytest.raises(UserError, match=message) as error:
        load_model("flame", folder)
    assert "generic_model.pkl" in str(error.value) and not (tmp_path / "ran").exists()


def test_missing_and_damaged_files(tmp_path, data):
    with pytest.raises(UserError, match="holds none of generic_model.pkl"):
        load_model("flame", tmp_path)
    folder = makers.flame_folder(tmp_path / "flame", data)
    whole = (folder / "generic_model.pkl").read_bytes()
    (folder / "generic_model.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="generic_model.pkl is damaged"):
        load_model("flame", folder)
    (folder / "generic_model.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="'v_template' is missing"):
        load_model("flame", folder)
    (folder / "generic_model.pkl").write_bytes(whole)
    table = makers.flame_mediapipe(len(data["f"]))
    for change, message in (
        ({"lmk_face_idx": table["lmk_face_idx"] + 5000}, "'lmk_face_idx' names"),
        ({"lmk_b_coords": table["lmk_b_coords"] * 2}, "barycentric"),
        ({"landmark_indices": table["landmark_indices"] + 400}, "'landmark_indices' names"),
    ):
        np.savez(folder / "mediapipe_landmark_embedding.npz", **(table | change))
        with pytest.raises(UserError, match=message):
            load_model("flame", folder)
    (folder / "mediapipe_landmark_embedding.npz").unlink()
    (folder / "landmark_embedding.npy").unlink()
    with pytest.raises(UserError, match="mediapipe_landmark_embedding.npz is missing.*face_alignment"):
        load_model("flame", folder)
    with pytest.raises(UserError, match="lacks landmark_embedding.npy"):
        load_model("flame", folder, ls.IBUG)
    with pytest.raises(UserError, match="wflw98"):
        load_model("flame", folder, ls.WFLW)
