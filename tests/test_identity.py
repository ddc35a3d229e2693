"""An identity comes back as it was saved; damaged, hostile and contradictory files end in one sentence."""

import io
import pickle
import resource
import zipfile
from dataclasses import fields

import numpy as np
import pytest

from selfieavatar import Identity, UserError
from selfieavatar.geometry.camera import Camera
from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.identity import Torso, TorsoMotion
from selfieavatar.morphable.landmark_sets import MEDIAPIPE
from tests.fitting import makers
from tests.rendering import faces


class Hostile:
    """Pickles into a call that would leave a trace."""

    def __reduce__(self):
        return (open, ("hostile.txt", "w"))


@pytest.fixture
def full():
    """An identity that holds all there is."""
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return makers.identity(
        view=Camera(500.5, (128.25, 127.75), 256), texture_weight=np.ones((16, 16), np.float32),
        light=np.ones((9, 3), np.float32), pose_range=PoseRange(*np.arange(18, dtype=np.float32).reshape(3, 6)),
        head_sphere=np.array([0, -3, 8, 9], np.float32), torso=Torso(image, image, 0.75),
        registration_reference=image,
        torso_motion=TorsoMotion(np.eye(7, 2, dtype=np.float32), *np.float32([[0, 0], [1, 1]])),
    )  # fmt: skip


def test_an_identity_comes_back_and_gives_the_same_bytes(full, tmp_path):
    full.save(tmp_path / "identity.npz")
    again = Identity.load(tmp_path / "identity.npz")
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "identity.npz").read_bytes()
    assert again.camera == full.camera and again.torso.top == 0.75 and again.landmark_set.name == MEDIAPIPE
    assert all(getattr(again, field.name) is not None for field in fields(Identity))
    np.testing.assert_array_equal(again.model.template, full.model.template.astype(np.float32))
    np.testing.assert_array_equal(again.pose_range.high, full.pose_range.high)
    with np.load(tmp_path / "identity.npz") as stored:
        assert set(stored.files) == set(full.to_arrays()) and str(stored["model"]) == "facemesh"


def test_what_was_not_learnt_is_none(tmp_path):
    makers.identity().save(tmp_path / "identity.npz")
    again = Identity.load(tmp_path / "identity.npz")
    assert [field.name for field in fields(Identity) if getattr(again, field.name) is None] == [
        "texture_weight", "light", "pose_range", "head_sphere", "torso", "registration_reference",
        "torso_motion",
    ]  # fmt: skip


def test_damage(full, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "identity.npz"
    full.save(path)
    data = path.read_bytes()
    np.save(tmp_path / "plain.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", template=np.array([Hostile()], dtype=object))
    (tmp_path / "hostile.txt").unlink(missing_ok=True)
    flipped = bytearray(data)
    flipped[200:400] = bytes(200)
    cases = [b"", data[: len(data) // 2], bytes(flipped), b"text", (tmp_path / "plain.npy").read_bytes()]
    cases += [(tmp_path / "objects.npz").read_bytes(), pickle.dumps(Hostile())]
    for case in cases:
        path.write_bytes(case)
        with pytest.raises(UserError, match="not a readable identity"):
            Identity.load(path)
    assert not (tmp_path / "hostile.txt").exists()


def packed(path, shape, content):
    """Write an .npz that holds a texture of this shape alone, as its header says."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("texture.npy", header.getvalue() + content)
    return path


def test_giants_are_refused_before_they_are_unpacked(full, tmp_path):
    np.savez_compressed(tmp_path / "more.npz", **full.to_arrays(), not_ours=np.zeros(10**6, np.uint8))
    assert Identity.load(tmp_path / "more.npz").model.name == full.model.name, "what is not known is passed over"
    bomb = bytes(1 << 25)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="its arrays have more than 256 MB"):
        Identity.load(packed(tmp_path / "giant.npz", (1 << 14, 1 << 13, 3), bomb))
    for shape in ((8, 8, 3), (1 << 13, 1 << 13, 3)):
        with pytest.raises(UserError, match="texture holds other numbers than it says"):
            Identity.load(packed(tmp_path / "liar.npz", shape, bomb))
    with pytest.raises(UserError, match="not a readable identity"):
        Identity.load(packed(tmp_path / "deep.npz", (1,) * 5000, b"1"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10  # KiB


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        Identity.load(tmp_path / "identity.npz")


COUNT = len(faces.identity()["template"])


@pytest.mark.parametrize(("name", "value", "said"), [
    ("uv", np.zeros((3, 2)), "uv has the shape"),
    ("uv", np.zeros((COUNT, 3)), "uv has the shape"),
    ("tri", np.array([[0, 1, 10**6]], np.int32), "tri names vertices"),
    ("tri", faces.identity()["tri"] + 0.5, "tri is not of finite whole"),
    ("tri", np.zeros((2, 4), np.int32), "tri has the shape"),
    ("tri_part", np.full(len(faces.identity()["tri"]), 99, np.int8), "tri_part is out of range"),
    ("expression_basis", np.zeros((2, 5, 3)), "expression_basis"),
    ("template", np.zeros(4), "template has the shape"),
    ("template", np.full((COUNT, 3), np.nan), "template is not of finite"),
    ("focal_px", np.float32(-80), "focal_px is out of range"),
    ("focal_px", np.ones(2), "focal_px has the shape"),
    ("size_px", np.int32(0), "size_px is out of range"),
    ("principal", np.ones(3), "principal has the shape"),
    ("texture", np.full((8, 8, 3), 1e30), "texture is not of finite whole"),
    ("texture", np.zeros((4, 4, 3), np.uint8), "texture has the shape"),
    ("texture", np.zeros((8, 9, 3), np.uint8), "texture has the shape"),
    ("light", np.full((9, 3), np.nan), "light is not of finite"),
    ("light", np.zeros((5, 3)), "light has the shape"),
    ("landmark_vertices", np.array([10**6]), "landmark_vertices names vertices"),
    ("contour_vertices", np.array([[COUNT]]), "contour_vertices names vertices"),
    ("expression_scale", np.full(2, np.nan), "expression_scale is not of finite"),
    ("skull", np.zeros(3), "skull has the shape"),
    ("skull", np.array([0, -3, 8, 0.0]), "skull is out of range"),
    ("reference", np.zeros((0, 0), np.uint8), "reference is not of finite"),
    ("pose_low", np.zeros(6), "lacks pose_rest, pose_high"),
    ("torso_top", np.float32(0.5), "lacks torso_picture, torso_mask"),
])  # fmt: skip
def test_contradictory_arrays_are_refused(name, value, said):
    with pytest.raises(ValueError, match=said):
        Identity.from_arrays(faces.identity() | {name: value})


@pytest.mark.parametrize("name", ["eye_center", "model", "uv", "texture"])
def test_missing_arrays_are_named(name):
    arrays = faces.identity()
    del arrays[name]
    with pytest.raises(ValueError, match=f"lacks {name}"):
        Identity.from_arrays(arrays)
