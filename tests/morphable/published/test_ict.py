"""ICT-FaceKit: packed and as OBJ files, made up and real."""

import os
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera
from selfieavatar.identity import Identity
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.published import ict, load_model
from selfieavatar.morphable.published.ict_data import IBUG_VERTICES, mediapipe_places
from selfieavatar.rendering.eyes import eye_discs
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.settings.assets import ICT_FACEKIT, verify
from tests.morphable.published import makers


@pytest.fixture(scope="module")
def arrays():
    return makers.ict_arrays()


@pytest.fixture(scope="module")
def files(arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ict")
    np.savez(folder / "ict.npz", **arrays)
    return folder / "ict.npz", makers.ict_folder(folder / "FaceXModel", arrays)


@pytest.fixture(scope="module")
def made_up(files):
    return load_model("ict", files[0])


@pytest.fixture(scope="module")
def real_folder(shared):
    folder = shared / "models" / "ict_facekit"
    if not (folder / "ict_facekit_light.npz").is_file():
        pytest.skip(f"needs the real model: {folder}/ict_facekit_light.npz is absent")
    return folder


@pytest.fixture(scope="module")
def real(real_folder):
    return load_model("ict", real_folder / "ict_facekit_light.npz")


def test_folder_and_npz_are_the_same_model(files, made_up):
    other = load_model("ict", files[1])
    assert other.expression_names == made_up.expression_names == ("eyeBlink_L", "jawOpen")
    for key in ("template", "uv", "identity_basis", "expression_basis"):
        np.testing.assert_allclose(getattr(other, key), getattr(made_up, key), atol=2e-5)
    for key in ("tri", "tri_part", "landmark_vertices", "source_vertices"):
        order = np.lexsort(other.tri.T[::-1]) if key.startswith("tri") else slice(None)
        mine = np.lexsort(made_up.tri.T[::-1]) if key.startswith("tri") else slice(None)
        np.testing.assert_array_equal(getattr(other, key)[order], getattr(made_up, key)[mine])


def test_axes_origin_and_bases_are_ours(arrays, made_up):
    source = made_up.source_vertices
    mesh = source >= 0
    moved = arrays["neutral"][source[mesh]] * [1, -1, -1]
    np.testing.assert_allclose(made_up.template[mesh] - made_up.template[0], moved - moved[0], atol=1e-5)
    np.testing.assert_allclose(made_up.identity_basis[1][mesh], arrays["identity_delta"][1, source[mesh]] * [1, -1, -1])
    np.testing.assert_allclose(made_up.expression_basis[1][mesh],
                               arrays["expression_delta"][2, source[mesh]] * [1, -1, -1])  # fmt: skip
    assert (made_up.expression_low == 0).all() and (made_up.expression_high == 1).all()


def test_seams_are_split_and_lashes_left_out(arrays, made_up):
    seam = made_up.source_vertices[np.unique(made_up.tri)]
    assert (np.bincount(seam, minlength=12)[2:7] == 2).any()
    assert not ((seam >= 25351) | ((seam >= 22221) & (seam < 23021))).any()
    corners = np.sort(made_up.source_vertices[made_up.tri], axis=1)
    kept = np.isin(arrays["tri_material"], [makers.MATERIALS.index(name) for name in ict._TILES])
    np.testing.assert_array_equal(np.unique(corners, axis=0), np.unique(np.sort(arrays["tri"][kept], 1), axis=0))


def test_parts_and_eyes(made_up):
    corners = made_up.source_vertices[made_up.tri]
    socket = ((corners >= 13294) & (corners < 14062)).any(1)
    np.testing.assert_array_equal(made_up.tri_part == ls.EYE_PART, socket)
    np.testing.assert_array_equal(made_up.tri_part == ls.SKIN_PART, (corners < 6706).all(1))
    assert (made_up.tri_part[(corners >= 17039).all(1)] == ls.TEETH_PART).all()
    neck = (corners >= 9409).all(1) & (corners < 11248).all(1)
    assert neck.any() and (made_up.tri_part[neck] == ls.HIDDEN_PART).all()


def test_eyes_are_of_the_usual_size_and_touch_the_lids_where_the_published_ones_do(made_up):
    np.testing.assert_allclose(made_up.eye_radius, 1.2, atol=1e-4)  # published: 1.5
    balls = np.array([made_up.template[eye] for eye in made_up.identity_eyes])
    for axis in (0, 1):
        middle = 0.5 * (balls[..., axis].min(1) + balls[..., axis].max(1))
        np.testing.assert_allclose(made_up.eye_center[:, axis], middle, atol=0.01)
    np.testing.assert_allclose(made_up.eye_center[:, 2] - 1.2, balls[..., 2].min(1), atol=0.01)
    apart = made_up.eye_center[0] - made_up.eye_center[1]
    np.testing.assert_allclose(apart, (makers.EYES[0] - makers.EYES[1]) * [1, -1, -1], atol=1e-4)


def test_landmarks_of_both_sets(files, made_up):
    by_ibug = load_model("ict", files[0], ls.IBUG)
    np.testing.assert_array_equal(by_ibug.source_vertices[by_ibug.landmark_vertices], IBUG_VERTICES)
    np.testing.assert_allclose(by_ibug.template[by_ibug.landmark_vertices[[36, 45]]].mean(0), 0, atol=1e-5)
    number, corners, weights = mediapipe_places()
    assert (made_up.landmark_vertices[468:] == -1).all() and len(number) == 468
    shift = made_up.template[0] - by_ibug.template[0]
    first = {int(source): at for at, source in reversed(list(enumerate(by_ibug.source_vertices)))}
    at = np.vectorize(first.get)(corners)
    expected = np.einsum("lk,lkc->lc", weights, by_ibug.template[at].astype(float)) + shift
    np.testing.assert_allclose(made_up.template[made_up.landmark_vertices[:468]], expected, atol=1e-4)
    with pytest.raises(UserError, match="wflw98"):
        load_model("ict", files[0], ls.WFLW)


def test_a_person_keeps_eyes_and_landmarks_on_the_surface(made_up):
    person = made_up.with_identity([1.0, -0.5, 0.2])
    expected = made_up.template + np.einsum("k,kvc->vc", [1.0, -0.5, 0.2], made_up.identity_basis.astype(float))
    np.testing.assert_allclose(person.template, expected, atol=1e-5)
    assert person.identity_basis is None and type(person).__name__ == "MorphableModel"
    ball = person.template[made_up.identity_eyes[0]]
    assert np.linalg.norm(person.eye_center[0] + [0, 0, 0.3] - ball.mean(0)) < 0.1
    assert set(person.to_arrays()) == set(made_up.to_arrays())
    again = MorphableModel.from_arrays(replace(made_up, identity_basis=None, identity_scale=None).to_arrays())
    np.testing.assert_array_equal(again.template, made_up.template)


BAD = {
    "missing": (lambda a: a.pop("uv"), "'uv' is missing"),
    "no names": (lambda a: a.pop("expression_names"), "expression_names"),
    "few names": (lambda a: a.update(expression_names=a["expression_names"][:1]), "1 names for 3"),
    "shape": (lambda a: a.update(neutral=a["neutral"][:-1]), "'neutral' is 26718 x 3"),
    "nan": (lambda a: a.update(neutral=np.full_like(a["neutral"], np.nan)), "not finite"),
    "range": (lambda a: a.update(tri=a["tri"] + 9), "'tri' names"),
    "negative": (lambda a: a.update(tri_uv=a["tri_uv"] - 99), "'tri_uv' names -"),
    "text": (lambda a: a.update(identity_delta=np.array(["x"])), "'identity_delta' holds no numbers"),
    "fractions": (lambda a: a.update(tri=a["tri"] + 0.5), "fractions"),
    "materials": (lambda a: a.update(materials=a["materials"].astype("U3")), "M_Face"),
    "objects": (lambda a: a.update(uv=np.array([os.getcwd], dtype=object)), "nothing was run"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_one_clear_error(tmp_path, arrays, name):
    changed = dict(arrays)
    change, message = BAD[name]
    change(changed)
    path = tmp_path / "bad.npz"
    np.savez(path, **changed)
    with pytest.raises(UserError, match=message) as error:
        load_model("ict", path)
    assert "bad.npz" in str(error.value) and "\n" not in str(error.value)


def test_damaged_and_missing_files(tmp_path, files):
    (tmp_path / "cut.npz").write_bytes(files[0].read_bytes()[:5000])
    for name in ("cut.npz", "none.npz"):
        with pytest.raises(UserError, match=name):
            load_model("ict", tmp_path / name)
    with pytest.raises(UserError, match="lacks generic_neutral_mesh.obj"):
        load_model("ict", tmp_path)


@pytest.mark.parametrize("name, change, message", [
    ("identity001.obj", lambda text: text[:10000], "identity001.obj is not an OBJ file.*vertices where 26719"),
    ("eyeBlink_L.obj", lambda text: text.replace("v ", "v x", 3), "eyeBlink_L.obj"),
    ("generic_neutral_mesh.obj", lambda text: text.split("usemtl")[0], "no polygons"),
    ("generic_neutral_mesh.obj", lambda text: text.replace("f 1/", "f 99999/"), "'tri' names"),
    ("identity000.obj", None, "not those from 0 up"),
])  # fmt: skip
def test_damaged_folder_is_one_clear_error(tmp_path, files, name, change, message):
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    for path in files[1].iterdir():
        if path.name != name:
            (folder / path.name).symlink_to(path)
        elif change:
            (folder / name).write_text(change(path.read_text()))
    with pytest.raises(UserError, match=message):
        load_model("ict", folder)


# -------------------------------------------------------------------------------------------------- the real model


def test_real_folder_agrees_with_the_packed_model(real, real_folder):
    folder = load_model("ict", real_folder / "FaceXModel")
    np.testing.assert_array_equal(folder.tri, real.tri)
    np.testing.assert_array_equal(folder.uv, real.uv)
    np.testing.assert_allclose(folder.template, real.template, atol=1e-5)
    np.testing.assert_allclose(folder.identity_basis, real.identity_basis[: len(folder.identity_basis)], atol=1e-3)
    for number, name in enumerate(folder.expression_names):
        packed = real.expression_basis[real.expression_names.index(name)]
        np.testing.assert_allclose(folder.expression_basis[number], packed, atol=3e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning:trimesh.*")
def test_real_obj_has_the_vertices_that_trimesh_reads(real_folder):
    path = real_folder / "FaceXModel" / "jawOpen.obj"
    oracle = trimesh.load(path, process=False, maintain_order=True, skip_materials=True, force="mesh")
    mine = ict._read_vertices(path)
    assert mine.shape == (26719, 3)
    assert cKDTree(oracle.vertices).query(mine)[0].max() < 1e-5


def test_real_files_have_the_digests_of_the_assets(real_folder):
    assert len(ICT_FACEKIT) == 158 and all(len(asset.sha256) == 64 for asset in ICT_FACEKIT.values())
    for path in sorted((real_folder / "FaceXModel").glob("*.obj")):
        verify(path, ICT_FACEKIT[f"ict_facekit/FaceXModel/{path.name}"])


def test_real_face_looks_at_the_camera(real):
    points = real.template[np.maximum(real.landmark_vertices, 0)]
    assert np.linalg.norm(points[33] - points[263]) == pytest.approx(8.9, abs=0.3)
    np.testing.assert_allclose(0.5 * (points[33] + points[263]), 0, atol=1e-4)
    assert points[263, 0] > 0 and points[ls.CHIN, 1] > 5 and points[ls.NOSE_TIP, 2] < -3
    assert len(real.expression_names) == 55 and len(real.identity_basis) == 100
    assert (real.eye_center[:, 0] > 0).tolist() == [True, False] and (real.eye_center[:, 2] > 0).all()
    assert real.uv.min() >= 0 and real.uv.max() <= 1


def test_mediapipes_places_agree_with_the_authors_own_landmarks(real, real_folder):
    own = load_model("ict", real_folder / "ict_facekit_light.npz", ls.IBUG)
    # The same corners of eyes, mouth and nose in both sets; found by a detector, named by people.
    pairs = {33: 36, 133: 39, 362: 42, 263: 45, 61: 48, 291: 54, 0: 51, 17: 57, 4: 30, 2: 33, 159: 37, 386: 44}
    shift = (real.template[real.source_vertices >= 0] - own.template[own.source_vertices >= 0]).mean(0)
    mine = real.template[real.landmark_vertices[list(pairs)]]
    theirs = own.template[own.landmark_vertices[list(pairs.values())]] + shift
    distance = np.linalg.norm(mine - theirs, axis=1)
    assert np.median(distance) < 0.3 and distance.max() < 0.8
    middle = 0.5 * shift[0]
    points = real.template[real.landmark_vertices[:468]]
    mirrored = points[ls.mirror_pairs()] * [-1, 1, 1]
    assert np.percentile(np.abs(points - mirrored - [2 * middle, 0, 0]), 95) < 0.1


def test_mediapipes_lips_part_when_the_jaw_opens(real):
    jaw = real.expression_basis[real.expression_names.index("jawOpen")][real.landmark_vertices[:468], 1]
    ring = ls.LIPS_INNER
    lower, upper = np.array(ring[1:10]), np.array(ring[:10:-1])
    assert (jaw[lower] > jaw[upper] + 0.15).all()
    assert jaw[ls.CHIN] > 2 and abs(jaw[ls.NOSE_TIP]) < 0.1


def test_real_lids_close_over_the_eyeball(real):
    blink = np.zeros(55)
    blink[real.expression_names.index("eyeBlink_L")] = 1
    points = real.vertices(blink)[real.landmark_vertices[:468]]
    rest = real.template[real.landmark_vertices[:468]]
    gap = [np.mean([abs(shape[up, 1] - shape[low, 1]) for up, low in ls.LEFT_LIDS]) for shape in (points, rest)]
    assert gap[0] < 0.35 * gap[1]


def test_the_renderer_draws_a_real_person(real):
    person = real.with_identity(np.random.default_rng(0).normal(size=100))
    known = Identity(person, Camera(320.0, (64.0, 64.0), 128), np.full((32, 32, 3), 180, np.uint8))
    drawn = Renderer(known).render(np.zeros(3), np.array([0, -3.0, 60]), np.zeros(55))
    assert 0.15 < drawn.mask.mean() < 0.9
    points = person.template[person.landmark_vertices[:468]] + [0, -3.0, 60]
    low, high = (points[:, :2] / points[:, 2:] * 320 + 64).min(0), (points[:, :2] / points[:, 2:] * 320 + 64).max(0)
    rows, columns = np.nonzero(drawn.mask)
    # From the hairline to the chin: neither ears, neck nor shoulders.
    assert low[0] - 4 < columns.min() and columns.max() < high[0] + 4
    assert low[1] - 8 < rows.min() and rows.max() < high[1] + 8
    discs = eye_discs(person.uv, person.tri)
    uv = drawn.uv[drawn.mask][:, :2] / 65535
    in_eye = [np.linalg.norm(uv - disc[:2], axis=1) < disc[2] for disc in discs]
    assert all(10 < pixels.sum() < 400 for pixels in in_eye)
