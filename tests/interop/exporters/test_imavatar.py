"""Test IMAvatar's file: read as its public code reads it, and by this project's own reader, against naive skinning."""

import json

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.fitting.imported_coefficients import Crop, place
from selfieavatar.geometry.camera import Camera, transform
from selfieavatar.interop.exporters import imavatar as peer
from selfieavatar.morphable.coefficient_files import read_flame_params
from selfieavatar.morphable.published import load_model
from tests.fitting import imported_makers
from tests.fitting import makers as face_makers
from tests.morphable.published import makers

SIZE, FRAMES = 64, 4


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    folder = makers.flame_folder(tmp_path_factory.mktemp("flame"))
    return {"data": makers.flame_data(), "folder": folder, "model": load_model("flame", folder)}


@pytest.fixture(scope="module")
def person(flame):
    """The subject: 100 shape coefficients."""
    shape = 0.5 * np.random.default_rng(2).normal(size=100)
    return shape, flame["model"].with_identity(np.pad(shape, (0, 200)))


def camera():
    return Camera(2.0 * SIZE, (SIZE / 2 + 1.5, SIZE / 2 - 1.0), SIZE)


def rows(opening=0.0, gaze=0.0, count=50, seed=3):
    """Coefficients of a head that turns and moves, with the mouth open by an angle."""
    rng = np.random.default_rng(seed)
    rotation, translation, _ = face_makers.movement(FRAMES, seed)
    found = []
    for number in range(FRAMES):
        expression = np.zeros(103, np.float32)
        expression[:count] = 0.3 * rng.normal(size=count)
        expression[100:102] = np.sin(opening), 1 - np.cos(opening)
        look = np.float32(gaze) * rng.normal(size=4).astype(np.float32)
        found.append({"rotation": rotation[number], "translation": translation[number], "expression": expression,
                      "gaze": look})  # fmt: skip
    return found


def written(tmp_path, flame, person, motion):
    """Export the frames; returns the data, the file's path and its content."""
    data = peer.ImavatarData("anna", flame["model"], person[1], camera())
    files = {}
    for number, row in enumerate(motion):
        filmed = np.full((SIZE, SIZE, 3), number, np.uint8), np.full((SIZE, SIZE), 255, np.uint8)
        files |= data.frame_files(number, "test", row, filmed)
    files |= data.shared_files({"train": [], "test": range(len(motion))}, tmp_path)
    assert set(files) == {"imavatar.conf", "anna/anna/test/flame_params.json"} | {
        f"anna/anna/test/{kind}/{number:06d}.png" for kind in ("image", "mask") for number in range(len(motion))
    }
    path = tmp_path / "flame_params.json"
    path.write_bytes(files["anna/anna/test/flame_params.json"])
    return data, path, json.loads(path.read_bytes())


def tracked(person, row):
    """Where the subject's camera sees all vertices, px."""
    points = transform(
        person.vertices(row["expression"]).astype(float), row["rotation"][None], row["translation"][None]
    )
    return camera().project(points[0])


def test_imavatar_sees_the_mesh_where_the_tracking_does(tmp_path, flame, person):
    """Naive skinning of the published file, four times as large, by negative fx along -z: what its code computes."""
    motion = rows()
    _, _, content = written(tmp_path, flame, person, motion)
    assert {frame["file_path"] for frame in content["frames"]} == {f"./image/{k:06d}" for k in range(FRAMES)}
    assert len(content["shape_params"]) == 100 and len(content["frames"][0]["expression"]) == 50
    source, data = flame["model"].flame_source, flame["data"]
    shaped = data["v_template"] + data["shapedirs"][:, :, :100] @ content["shape_params"]
    for frame, row in zip(content["frames"], motion, strict=True):
        world = np.array(frame["world_mat"])
        np.testing.assert_array_equal(world[:, :3], np.eye(3))
        shape = shaped + data["shapedirs"][:, :, 300:350] @ frame["expression"]
        pose = np.array(frame["pose"]).reshape(5, 3)
        points = 4 * imported_makers.naive(data, shape, pose) @ world[:, :3].T + world[:, 3]
        fx, fy, cx, cy = content["intrinsics"]
        assert fx < 0 < fy and (points[:, 2] < 0).all()
        seen = SIZE * (points[:, :2] / points[:, 2:] * [fx, fy] + [cx, cy])
        np.testing.assert_allclose(seen[source], tracked(person[1], row)[: len(source)], atol=2e-3)


def test_our_own_reader_gets_the_same_back(tmp_path, flame, person):
    motion = rows(gaze=0.2)
    _, path, _ = written(tmp_path, flame, person, motion)
    track = read_flame_params(path)
    assert track.number.tolist() == list(range(FRAMES))
    np.testing.assert_allclose(track.identity, person[0], atol=1e-3)
    again = flame["model"].with_identity(np.pad(track.identity, (0, 200)))
    found = place(flame["model"], again, camera(), track, Crop((0, 0, SIZE), SIZE, SIZE))
    np.testing.assert_allclose(found.gaze, [row["gaze"] for row in motion], atol=1e-5)
    for number, row in enumerate(motion):
        back = {name: getattr(found, name)[number] for name in ("rotation", "translation", "expression")}
        np.testing.assert_allclose(back["expression"], row["expression"], atol=2e-3)
        # The lids follow the eyes in the file, and rest in our mesh.
        np.testing.assert_allclose(tracked(again, back), tracked(person[1], row), atol=0.05)


def test_without_gaze_the_mesh_comes_back_within_rounding(tmp_path, flame, person):
    motion = rows()
    _, path, _ = written(tmp_path, flame, person, motion)
    track = read_flame_params(path)
    again = flame["model"].with_identity(np.pad(track.identity, (0, 200)))
    found = place(flame["model"], again, camera(), track, Crop((0, 0, SIZE), SIZE, SIZE))
    assert found.residual.max() < 1e-3
    for number, row in enumerate(motion):
        back = {name: getattr(found, name)[number] for name in ("rotation", "translation", "expression")}
        np.testing.assert_allclose(tracked(again, back), tracked(person[1], row), atol=2e-3)


def test_an_open_mouth_is_the_joints_angle_and_near(tmp_path, flame, person):
    data, _, content = written(tmp_path, flame, person, rows(opening=0.25))
    np.testing.assert_allclose([frame["pose"][6] for frame in content["frames"]], 0.25, atol=1e-6)
    assert not np.array([frame["pose"][3:6] for frame in content["frames"]]).any(), "the neck rests"
    assert data.facts()["worst"] < 0.1


def test_more_coefficients_than_the_networks_take_are_told_in_pixels(tmp_path, flame):
    everything = flame["model"].with_identity(np.random.default_rng(1).normal(size=300))
    data, *_ = written(tmp_path, flame, (None, everything), rows(count=100))
    assert data.facts()["usual"] > 0.05


def test_the_box_holds_the_landmarks(tmp_path, flame, person):
    motion = rows()
    model = person[1]
    _, _, content = written(tmp_path, flame, person, motion)
    for frame, row in zip(content["frames"], motion, strict=True):
        x0, y0, x1, y1 = (np.array(frame["bbox"]) + 1) * SIZE / 2
        marks = tracked(model, row)[model.landmark_vertices[model.used_landmarks]]
        np.testing.assert_allclose([[x0, y0], [x1, y1]], [marks.min(0), marks.max(0)], atol=1e-3)


def test_a_gaze_that_is_not_known_looks_ahead():
    assert not peer.eye_rotations(np.full(4, np.nan)).any()


def test_other_models_are_refused(tmp_path, flame, person):
    with pytest.raises(UserError, match="fitted with 'facemesh'; set `fit: {model: flame, model_path"):
        peer.load_flame(face_makers.identity(), flame["folder"])
    mine = face_makers.identity(person[1])
    assert len(person[1].landmark_vertices) == 478
    with pytest.raises(UserError, match="name it by --model-path"):
        peer.load_flame(mine, None)
    peer.load_flame(mine, flame["folder"])
    other = makers.flame_data()
    other["v_template"] = other["v_template"] * [1, 1.1, 1]
    with pytest.raises(UserError, match="is not the FLAME that the subject was fitted with"):
        peer.load_flame(mine, makers.flame_folder(tmp_path / "other", other))
