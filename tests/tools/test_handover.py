"""Test the command handover: exports read as the methods read them, import of images, clear errors."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from selfieavatar.geometry.camera import transform
from selfieavatar.io import disk
from selfieavatar.io.images import read_image, write_image
from selfieavatar.settings.cli import main
from selfieavatar.settings.methods import method_images
from tests.fitting import makers as face_makers
from tests.interop.exporters.makers import SIZE, camera, coefficients, write_samples, write_subject
from tools import handover

TESTS = [("t", 0), ("t", 1), ("t", 2), ("t", 4)]  # in order; frame 3 has no face


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_subject(folder / "results" / "anna")
    return folder / "results"


@pytest.fixture
def results(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "results"))


def run(*arguments):
    main(handover.build_parser(), handover.run, [str(argument) for argument in arguments])


def refused(capsys, *arguments):
    """Get the error sentence of a run."""
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def table(folder):
    return [line.split("\t") for line in (folder / "frames.tsv").read_text().splitlines()[1:]]


def test_styleavatar(results, tmp_path):
    out = tmp_path / "peer"
    run("styleavatar", "anna", "--results", results, "--out", out)
    names = {split: sorted(path.name for path in (out / split / "uv").iterdir()) for split in ("train", "val", "test")}
    assert names["train"] == [f"{k:06d}.png" for k in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert names["val"] == ["000007.png"] and names["test"] == [f"{k:06d}.png" for k in range(9, 13)]
    for split, numbers in names.items():
        for folder in ("image", "back", "render"):
            assert sorted(path.name for path in (out / split / folder).iterdir()) == numbers
    rows = table(out)
    assert [(row[2], int(row[3])) for row in rows if row[4] == "test"] == TESTS
    number = next(row[0] for row in rows if row[2:4] == ["b", "3"])
    middle = read_image(out / f"train/image/{int(number):06d}.png")[256:1280, 256:1280]
    frame = read_image(results / "anna/clips/b/frames/000003.png")
    shrunk = cv2.resize(middle, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk[2:-2, 2:-2].ravel(), frame[2:-2, 2:-2].ravel())[0, 1] > 0.9  # noise, made larger
    text = (out / "README.txt").read_text()
    assert "8 train, 1 val, 4 test. Left out: 1 duplicate, 1 no face." in text and "WHITE IS THE PERSON" in text


def test_nerface(results, tmp_path):
    """The mesh that the file names, projected in OpenGL's axes, equals the tracked face."""
    out = tmp_path / "peer"
    run("transforms", "anna", "--results", results, "--out", out)
    model = face_makers.model()
    for split, count in (("train", 8), ("val", 1), ("test", 4)):
        content = json.loads((out / f"transforms_{split}.json").read_text())
        rows = [row for row in table(out) if row[4] == split]
        assert len(content["frames"]) == count == len(rows)
        for frame, (number, _, clip, place, *_) in zip(content["frames"], rows, strict=True):
            assert frame["file_path"] == f"images/{int(number):06d}"
            np.testing.assert_array_equal(
                read_image(out / f"{frame['file_path']}.png"),
                read_image(results / f"anna/clips/{clip}/frames/{int(place):06d}.png"),
            )
            np.testing.assert_array_equal(
                read_image(out / frame["mask_path"]),
                read_image(results / f"anna/clips/{clip}/alpha/{int(place):06d}.png"),
            )
            mesh = trimesh.load(out / frame["mesh_path"], process=False, maintain_order=True)
            x, y, z, _ = np.linalg.inv(frame["transform_matrix"]) @ np.c_[mesh.vertices, np.ones(len(mesh.vertices))].T
            seen = np.stack(
                [content["cx"] + content["fl_x"] * x / -z, content["cy"] - content["fl_y"] * y / -z], 1
            )  # fmt: skip
            rotation, translation, expression, gaze = (rows[int(place)] for rows in coefficients(clip))
            points = transform(model.vertices(expression).astype(float), rotation[None], translation[None])[0]
            np.testing.assert_allclose(seen, camera().project(points), atol=2e-3)
            np.testing.assert_allclose(frame["expression"], [*expression, *[0] * 72], atol=1e-6)
            np.testing.assert_allclose(frame["gaze"], gaze, atol=1e-6)
    assert (out / "bg/00050.png").read_bytes() == (results / "anna/clips/b/plate.png").read_bytes()
    assert sorted(path.name for path in (out / "bg").iterdir()) == ["00050.png", "b.png"]


def test_insta(results, tmp_path):
    out = tmp_path / "peer"
    run("transforms", "anna", "--results", results, "--out", out, "--peer", "insta", "--split", "test")
    assert sorted(path.name for path in out.iterdir()) == [
        "README.txt", "canonical.obj", "depth", "flame", "frames.tsv", "images", "meshes", "transforms_test.json"
    ]  # fmt: skip
    content = json.loads((out / "transforms_test.json").read_text())
    for frame, (clip, place) in zip(content["frames"], TESTS, strict=True):
        image = cv2.imread(str(out / frame["file_path"]), cv2.IMREAD_UNCHANGED)
        alpha = read_image(results / f"anna/clips/{clip}/alpha/{place:06d}.png")
        np.testing.assert_array_equal(image[..., 3], alpha)
        np.testing.assert_allclose(np.loadtxt(out / frame["exp_path"])[:4], coefficients(clip)[2][place], atol=1e-6)
        assert len(np.loadtxt(out / frame["exp_path"])) == 16
        mesh = trimesh.load(out / frame["mesh_path"], process=False, maintain_order=True)
        world_to_camera = np.linalg.inv(frame["transform_matrix"])
        z = world_to_camera[2, :3] @ mesh.vertices.T + world_to_camera[2, 3]
        depth = cv2.imread(str(out / frame["depth_path"]), cv2.IMREAD_UNCHANGED) * content["integer_depth_scale"]
        assert z.min() - 0.002 < depth[depth > 0].min() and depth.max() < z.max() + 0.002


def test_frames_of_one_split_are_numbered_from_zero(results, tmp_path):
    run("styleavatar", "anna", "--results", results, "--out", tmp_path / "peer", "--split", "test")
    assert [row[0] for row in table(tmp_path / "peer")] == ["0", "1", "2", "3"]
    assert not (tmp_path / "peer/train").exists()


@pytest.fixture
def exported(results, tmp_path):
    """Export, and return the table and a function that paints flat test images of brightness 10 + number."""
    run("styleavatar", "anna", "--results", results, "--out", tmp_path / "peer")

    def paint(folder, size=4 * SIZE, anew=False):
        for k, (number, *_) in enumerate(row for row in table(tmp_path / "peer") if row[4] == "test"):
            name = f"out_{k:04d}.png" if anew else f"{int(number):06d}.png"
            write_image(tmp_path / folder / name, np.full((size, size, 3), (10 + int(number), 0, 99), np.uint8))
        return tmp_path / folder

    return tmp_path / "peer/frames.tsv", paint


@pytest.mark.parametrize("anew", [False, True])
def test_images_are_imported_under_their_frames(results, exported, anew):
    frames, paint = exported
    by = ["--by", "order"] if anew else []
    painted = paint("painted", anew=anew)
    run("collect", "anna", "--results", results, "--method", "style", "--from", painted, "--frames", frames, *by)
    back = results / "anna/external/style/t"
    assert sorted(path.name for path in back.iterdir()) == [f"{k:06d}.png" for _, k in TESTS]
    assert sorted(method_images(back.parent)["t"]) == [k for _, k in TESTS], "where measuring looks"
    for number, (_, place) in enumerate(TESTS, start=9):
        image = read_image(back / f"{place:06d}.png")
        assert image.shape == (4 * SIZE, 4 * SIZE, 3) and (image == (10 + number, 0, 99)).all()


def test_invalid_imports_are_refused(results, exported, capsys):
    frames, paint = exported
    painted = paint("painted")
    line = ["collect", "anna", "--results", results, "--frames", frames]
    first = painted / "000009.png"
    whole = first.read_bytes()
    for content, said in (
        (b"no image", "000009.png is not a readable image"),
        (cv2.imencode(".png", np.zeros((8, 9, 3), np.uint8))[1].tobytes(), "is a colour image of 9 x 8 px"),
        (cv2.imencode(".png", np.zeros((8, 8, 4), np.uint8))[1].tobytes(), "is transparent in places"),
    ):
        first.write_bytes(content)
        assert said in refused(capsys, *line, "--method", "m", "--from", painted)
        assert not list((results / "anna/external").iterdir())
    first.unlink()
    assert "1 of the 4 frames" in refused(capsys, *line, "--method", "m", "--from", painted)
    first.write_bytes(whole)
    assert "letters, digits" in refused(capsys, *line, "--method", "../m", "--from", painted)
    assert "there is no folder" in refused(capsys, *line, "--method", "m", "--from", first)
    assert "there is no file" in refused(capsys, *line[:-1], painted, "--method", "m", "--from", painted)
    run(*line, "--method", "m", "--from", painted)
    assert "is there already" in refused(capsys, *line, "--method", "m", "--from", painted)
    write_samples(results / "anna/test_samples.parquet", "t", {("t", k): "test" for k in range(5)}, {}, "f" * 16)
    assert "have changed since the export" in refused(capsys, *line, "--method", "n", "--from", painted)


def test_a_nonempty_folder_is_refused_and_unchanged(results, tmp_path, capsys):
    (tmp_path / "peer").mkdir()
    (tmp_path / "peer/mine.txt").write_text("mine")
    said = refused(capsys, "transforms", "anna", "--results", results, "--out", tmp_path / "peer")
    assert "is not an empty folder" in said and (tmp_path / "peer/mine.txt").read_text() == "mine"


def test_missing_tracking_is_explained(results, tmp_path, capsys):
    line = ["styleavatar", "anna", "--results", results, "--out", tmp_path / "peer"]
    assert "has no subject 'bert'" in refused(capsys, "styleavatar", "bert", *line[2:])
    assert "has no subject '..'" in refused(capsys, "styleavatar", "..", *line[2:])
    (results / "anna/test_samples.parquet").unlink()
    assert "has no usable frames to test on" in refused(capsys, *line)
    (results / "anna/samples.parquet").unlink()
    assert "samples.parquet is missing; make it first: snakemake" in refused(capsys, *line)


def test_nothing_half_written_stays(results, tmp_path, capsys, monkeypatch):
    line = ["styleavatar", "anna", "--results", results, "--out", tmp_path / "deep/peer"]
    (results / "anna/clips/t/alpha/000004.png").unlink()
    assert "alpha/000004.png is missing" in refused(capsys, *line)
    free = namedtuple("usage", "free")(100_000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: free)
    assert "are free there" in refused(capsys, *line)
    assert not list((tmp_path / "deep").iterdir())
