"""Coefficients of others: they project as their own programs say, and damaged files are refused in one sentence."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selfieavatar.errors import UserError
from selfieavatar.morphable.coefficient_files import (
    check_coefficients,
    euler_matrix,
    numbers_of,
    read_coefficients,
    read_faceverse,
    read_flame_params,
)


def flame_content(count=3, seed=0):
    rng = np.random.default_rng(seed)
    frames = []
    for n in range(count):
        turn = Rotation.from_rotvec(rng.normal(0, 0.3, 3)).as_matrix()
        world = np.concatenate([turn, [[0.1], [-0.2], [-4.0]]], 1)
        frames.append({
            "file_path": f"./image/{n + 1}", "world_mat": world.tolist(), "expression": rng.normal(0, 1, 50).tolist(),
            "pose": rng.normal(0, 0.2, 15).tolist(), "bbox": [-1, -1, 1, 1],
        })  # fmt: skip
    return {"frames": frames, "intrinsics": [-2.5, 2.5, 0.52, 0.47], "shape_params": rng.normal(0, 1, 100).tolist()}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("pixels", [False, True])
def test_flame_params_project_as_imavatar_projects(tmp_path, pixels):
    content = flame_content()
    intrinsics = np.array(content["intrinsics"])
    if pixels:  # older files
        content["intrinsics"] = (intrinsics * 512).tolist()
    track = read_flame_params(write(tmp_path / "flame_params.json", content))
    assert track.number.tolist() == [1, 2, 3] and track.identity.shape == (100,) and track.joints.shape == (3, 4, 3)
    metres = np.random.default_rng(1).uniform(-0.1, 0.1, (20, 3))  # FLAME: y up, z towards the viewer
    for n, frame in enumerate(content["frames"]):
        world = np.array(frame["world_mat"])
        seen = 4 * metres @ world[:, :3].T + world[:, 3]
        expected = intrinsics[:2] * seen[:, :2] / seen[:, 2:] + intrinsics[2:]
        ours = metres * [100, -100, -100] @ track.rotation[n].T + track.translation[n]
        assert (ours[:, 2] > 0).all()
        np.testing.assert_allclose(track.focal * ours[:, :2] / ours[:, 2:] + track.principal, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c.pop("shape_params"), "layout of IMAvatar's"),
        (lambda c: c["frames"][1].pop("world_mat"), "layout of IMAvatar's"),
        (lambda c: c["frames"][1]["pose"].append(0.0), "layout of IMAvatar's"),
        (lambda c: c["frames"][0].update(file_path="./image/last"), "does not end in a number"),
        (lambda c: c["frames"][0].update(expression=[float("nan")] * 50), "not finite"),
        (lambda c: c.update(frames=[]), "layout of IMAvatar's"),
        (lambda c: c.update(intrinsics=[2.5, 2.5, 0.5, 0.5]), "fx must be negative"),
    ],
)
def test_wrong_flame_params_are_refused(tmp_path, spoil, words):
    content = flame_content()
    spoil(content)
    with pytest.raises(UserError, match="flame_params.json") as caught:
        read_flame_params(write(tmp_path / "flame_params.json", content))
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame.update(world_mat=np.zeros((3, 4)).tolist()),
        lambda frame: frame.update(world_mat=(np.array(frame["world_mat"]) * [-1, 1, 1, 1]).tolist()),
        lambda frame: frame.update(world_mat=(np.array(frame["world_mat"]) * 1e30).tolist()),
        lambda frame: frame.update(expression=[1e300] * 50),
        lambda frame: frame.update(pose=[1e30] * 15),
    ],
)
def test_frames_that_hold_no_head_are_left_out(tmp_path, caplog, spoil):
    content = flame_content()
    spoil(content["frames"][1])
    assert read_flame_params(write(tmp_path / "flame_params.json", content)).number.tolist() == [1, 3]
    assert "1 of 3 frames, first number 2" in caplog.text
    content = flame_content()
    for frame in content["frames"]:
        spoil(frame)
    with pytest.raises(UserError, match="in none of its frames"):
        read_flame_params(write(tmp_path / "flame_params.json", content))


def test_files_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(UserError, match="are missing"):
        read_flame_params(tmp_path / "none.json")
    for text in ("{half", "[1, 2]", "[" * 100000):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(UserError, match="x.json"):
            read_flame_params(tmp_path / "x.json")


def test_euler_angles_are_those_of_scipy():
    angles = np.random.default_rng(0).uniform(-3, 3, (50, 3))
    np.testing.assert_allclose(euler_matrix(angles), Rotation.from_euler("xyz", angles).as_matrix(), atol=1e-12)


def test_faceverse_vectors_are_taken_apart(tmp_path):
    rows = np.zeros((4, 490), np.float32)
    rows[:, 0], rows[:, 150], rows[:, 453], rows[:, 483:486] = 2, 0.5, 0.1, [0.1, -0.2, 0.3]
    np.save(tmp_path / "c.npy", rows)
    track = read_faceverse(tmp_path / "c.npy")
    assert track.identity[0] == 2 and track.expression.shape == (4, 52) and track.expression[0, 0] == 0.5
    np.testing.assert_allclose(track.translation[0], [1, -2, 103], atol=1e-5)
    np.testing.assert_allclose(track.rotation[0], Rotation.from_rotvec([0.1, 0, 0]).as_matrix(), atol=1e-7)
    assert track.focal[0] * 1536 == pytest.approx(657 / 256 * 1024)


def test_wrong_faceverse_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="are missing"):
        read_faceverse(tmp_path / "none.npy")
    good = np.zeros((4, 490), np.float32)
    for name, array in (("short", good[:, :486]), ("flat", good[0]), ("whole", good.astype(int))):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(UserError, match=f"{name}.npy holds .*490"):
            read_faceverse(tmp_path / f"{name}.npy")
    start = b"{'descr': '<f4', 'fortran_order': False, 'shape': ("
    for shape in (start + b"-" * 9000 + b"1,)}\n", start + b"4, 490}\n", start + b"4 490)}\n"):
        (tmp_path / "header.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(shape).to_bytes(2, "little") + shape)
        with pytest.raises(UserError, match="not a plain .npy file"):
            read_faceverse(tmp_path / "header.npy")
    np.save(tmp_path / "nan.npy", good * np.nan)
    with pytest.raises(UserError, match="are finite"):
        read_faceverse(tmp_path / "nan.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="not a plain .npy file"):
        read_faceverse(tmp_path / "objects.npy")
    np.savez(tmp_path / "several.npz", a=good, b=good)
    with pytest.raises(UserError, match="several arrays"):
        read_faceverse(tmp_path / "several.npz")


def vectors(folder, names):
    """As FaceVerse's trackers write them: each holds its own number among the expressions."""
    folder.mkdir()
    for number, name in enumerate(names):
        row = np.zeros(490, np.float32)
        row[150] = number
        np.save(folder / name, row)
    return folder


def test_a_folder_of_one_vector_per_image_is_read_in_natural_order(tmp_path):
    folder = vectors(tmp_path / "coeffs", ["9.npy", "10.npy", "100.npy"])
    for name in (".DS_Store", "._9.npy", "Thumbs.db"):
        (folder / name).write_bytes(b"left by a desktop")
    track = read_coefficients(folder, "faceverse")
    assert track.number.tolist() == [1, 2, 3] and track.expression[:, 0].tolist() == [0, 1, 2]
    np.save(folder / "10.npy", np.ones((1, 490), np.float32))
    assert read_faceverse(folder).expression[1, 0] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros(489, np.float32), r"10.npy holds float32 \(489,\); .* \(490,\) in each file"),
        (np.zeros((2, 490), np.float32), r"10.npy holds float32 \(2, 490\)"),
        (np.zeros((), np.float32), r"10.npy holds float32 \(\)"),
        (np.array([{}], dtype=object), "10.npy is not a plain .npy file"),
    ],
)
def test_a_wrong_file_of_a_folder_is_named(tmp_path, content, words):
    folder = vectors(tmp_path / "coeffs", ["9.npy", "10.npy"])
    np.save(folder / "10.npy", content, allow_pickle=True)
    with pytest.raises(UserError, match=words):
        read_faceverse(folder)


def images(folder, names):
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("files", "shown", "places"),
    [
        (["2", "10", "9"], ["9.png", "10.png", "11.png"], [2, 3, 0]),  # its tracker found no face in the last
        (["0003", "0004", "0005"], ["1.png", "2.png", "3.png"], [0, 0, 1]),
        (["0", "1"], ["0.jpg", "1.jpg"], [1, 2]),
        (["a", "c"], ["a.png", "b.png", "c.png"], [1, 0, 2]),
        (["0", "1"], ["frame1.png", "frame2.png"], [1, 2]),
    ],
)
def test_vectors_belong_to_the_images_of_their_names(tmp_path, files, shown, places):
    folder = vectors(tmp_path / "coeffs", [f"{name}.npy" for name in files])
    source = images(tmp_path / "image", shown)
    assert numbers_of(folder, "faceverse", source, np.arange(len(shown))).tolist() == places


@pytest.mark.parametrize(
    ("files", "places"),
    [(["000001", "000003"], [1, 0, 2, 0]), (["0", "2"], [1, 0, 2, 0]), (list("abcd"), [1, 2, 3, 4])],
)
def test_vectors_of_a_video_are_numbered_from_1_or_0(tmp_path, files, places):
    folder = vectors(tmp_path / "coeffs", [f"{name}.npy" for name in files])
    assert numbers_of(folder, "faceverse", tmp_path / "v.mp4", np.arange(4)).tolist() == places


@pytest.mark.parametrize(
    ("files", "shown", "words"),
    [
        (["0", "1", "2"], ["1.png", "2.png", "3.png"], "coeffs counts from 0 and .*image from 1; name each .npy"),
        (["1", "2", "3"], ["0.png", "1.png", "2.png"], "coeffs counts from 1 and .*image from 0; name each .npy"),
        (
            ["9", "10"],
            ["1.png", "2.png"],
            "holds files of coefficients of other numbers that do not belong to the 2 im",
        ),
        (["9", "10"], ["a.png", "b.png", "c.png"], r"holds files of coefficients \(2\) that do not belong to the 3 im"),
    ],
)
def test_vectors_of_other_images_are_refused(tmp_path, files, shown, words):
    folder = vectors(tmp_path / "coeffs", [f"{name}.npy" for name in files])
    with pytest.raises(UserError, match=words):
        check_coefficients(folder, "faceverse", tmp_path / "model.npy", images(tmp_path / "image", shown))


def test_too_few_vectors_of_a_video_are_refused(tmp_path):
    folder = vectors(tmp_path / "coeffs", ["a.npy", "b.npy"])
    with pytest.raises(UserError, match=r"\(2\) that do not belong to the 3 images"):
        numbers_of(folder, "faceverse", tmp_path / "v.mp4", np.arange(3))
    with pytest.raises(UserError, match="holds no row"):
        read_faceverse(images(tmp_path / "image", ["1.png"]))


def test_frames_of_no_finite_numbers_are_left_out(tmp_path, caplog):
    folder = vectors(tmp_path / "coeffs", ["1.npy", "2.npy", "3.npy"])
    np.save(folder / "2.npy", np.full(490, np.nan))
    track = read_faceverse(folder)
    assert track.number.tolist() == [1, 3] and np.isfinite(track.identity).all()
    assert "1 of 3 frames, first number 2, hold no head and are left out" in caplog.text
