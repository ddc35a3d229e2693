"""Test the command handover: exports read as the methods read them, import of images, clear errors."""

import json
import re
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
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.morphable.published import load_model
from selfieavatar.settings.cli import main
from selfieavatar.settings.methods import driver_images, external_methods, method_images
from tests.fitting import makers as face_makers
from tests.interop.exporters.makers import (
    DRIVER,
    SIZE,
    asked,
    camera,
    coefficients,
    write_driver,
    write_samples,
    write_subject,
)
from tests.morphable.published import makers as flame_makers
from tools import handover

TESTS = [("t", 0), ("t", 1), ("t", 2), ("t", 4)]  # in order; frame 3 has no face


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_subject(folder / "results" / "anna")
    write_driver(folder / "results" / "anna")
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


FOLLOWED = [0, 1, 3, 4, 5]  # frames of the driver's clip, in order


def test_a_drivers_frames_for_styleavatar(results, tmp_path):
    """What its test program opens, of the subject's face in the driver's pose, and nothing more."""
    out = tmp_path / "peer"
    run("styleavatar", "anna", "--results", results, "--driver", DRIVER, "--out", out)
    names = [f"{number:06d}.png" for number in range(5)]
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["README.txt", "frames.tsv", *(f"test/{kind}/{n}" for kind in ("render", "uv") for n in names)]
    assert [(row[2], int(row[3]), row[4]) for row in table(out)] == [(DRIVER, frame, "test") for frame in FOLLOWED]
    rotation, translation, expression, _ = (rows[3] for rows in asked())
    points = transform(face_makers.model().vertices(expression), rotation[None], translation[None])[0]
    rows, columns = np.nonzero(read_image(out / "test/uv/000002.png")[..., 2])
    covered = camera().project(points) * 256 / SIZE
    np.testing.assert_allclose([columns.min(), columns.max() + 1], [covered[:, 0].min(), covered[:, 0].max()], atol=2)
    np.testing.assert_allclose([rows.min(), rows.max() + 1], [covered[:, 1].min(), covered[:, 1].max()], atol=2)
    text = (out / "README.txt").read_text()
    assert "5 test. Left out: 1 no face to follow" in text and "There is no truth" in text
    assert f"collect anna --driver {DRIVER} --method NAME" in text


@pytest.mark.parametrize("peer", ["nerface", "insta"])
def test_a_drivers_frames_as_transforms(results, tmp_path, peer):
    """Black images stand for the truth that the readers open; all else is the subject's mesh and camera."""
    out = tmp_path / "peer"
    run("transforms", "anna", "--results", results, "--driver", DRIVER, "--out", out, "--peer", peer)
    assert [path.name for path in out.glob("transforms_*")] == ["transforms_test.json"]
    content = json.loads((out / "transforms_test.json").read_text())
    assert len(content["frames"]) == 5
    side = -1 if peer == "nerface" else 1
    for frame, number in zip(content["frames"], FOLLOWED, strict=True):
        assert "mask_path" not in frame
        image = cv2.imread(str(out / f"images/{FOLLOWED.index(number):06d}.png"), cv2.IMREAD_UNCHANGED)
        assert image.shape == (SIZE, SIZE, 3 if peer == "nerface" else 4) and not image.any()
        mesh = trimesh.load(out / frame["mesh_path"], process=False, maintain_order=True)
        x, y, z, _ = np.linalg.inv(frame["transform_matrix"]) @ np.c_[mesh.vertices, np.ones(len(mesh.vertices))].T
        seen = np.stack([content["cx"] + content["fl_x"] * x / (side * z),
                         content["cy"] + content["fl_y"] * (side * y) / (side * z)], 1)  # fmt: skip
        rotation, translation, expression, _ = (rows[number] for rows in asked())
        points = transform(face_makers.model().vertices(expression).astype(float), rotation[None], translation[None])[0]
        np.testing.assert_allclose(seen, camera().project(points), atol=2e-3)
    assert "BLACK" in (out / "README.txt").read_text()
    if peer == "nerface":
        assert (out / "bg/00050.png").read_bytes() == (results / "anna/clips/b/plate.png").read_bytes()
        assert np.load(out / "index_map.npy").shape == (11, 2), "its evaluation reads row 10"


def test_drivers_that_are_not_there_or_not_theirs(results, tmp_path, capsys):
    line = ["styleavatar", "anna", "--results", results, "--out", tmp_path / "peer"]
    said = refused(capsys, *line, "--driver", "carl--talk")
    assert "carl--talk.parquet is missing; make it first: snakemake" in said
    assert "must be <subject>--<clip>" in refused(capsys, *line, "--driver", "../carl")
    assert "are all of split `test`" in refused(capsys, *line, "--driver", DRIVER, "--split", "train")
    face_makers.identity(face_makers.model(3)).save(results / "anna/identity.npz")
    assert "of another face model" in refused(capsys, *line, "--driver", DRIVER)
    assert not (tmp_path / "peer").exists()


def test_imavatar_needs_flame(results, tmp_path, capsys):
    line = ["imavatar", "anna", "--results", results, "--out"]
    assert "fitted with 'facemesh'; set `fit: {model: flame" in refused(capsys, *line, tmp_path / "peer")
    assert "choose an --out without" in refused(capsys, *line, tmp_path / "images/peer")
    assert not (tmp_path / "peer").exists() and not (tmp_path / "images").exists()


@pytest.fixture
def by_flame(results, tmp_path):
    """The subject with a made-up FLAME's face; returns the option that names its file."""
    folder = flame_makers.flame_folder(tmp_path / "flame")
    person = load_model("flame", folder).with_identity(np.zeros(300))
    for path, kind in [(results / f"anna/clips/{clip}/fit.parquet", "fit") for clip in "abt"] + [
        (results / f"anna/reenact/{DRIVER}.parquet", "reenact")
    ]:
        manifest = read_manifest(path, kind)
        columns = {name: manifest[name] for name in manifest.table.column_names}
        columns["expression"] = np.zeros((len(manifest), person.expression_count))
        write_manifest(path, kind, columns, manifest.metadata)
    face_makers.identity(person, camera()).save(results / "anna/identity.npz")
    return ["--model-path", folder]


def test_imavatar(results, tmp_path, by_flame):
    out = tmp_path / "peer"
    run("imavatar", "anna", "--results", results, "--out", out, *by_flame)
    for split, count in (("train", 8), ("val", 1), ("test", 4)):
        folder = out / "anna/anna" / split
        content = json.loads((folder / "flame_params.json").read_text())
        rows = [row for row in table(out) if row[4] == split]
        assert len(content["frames"]) == count == len(rows)
        for frame, (number, _, clip, place, *_) in zip(content["frames"], rows, strict=True):
            path = f"{folder}/{frame['file_path']}.png"  # as its reader joins and replaces
            assert int(frame["file_path"].split("/")[-1]) == int(number)
            for file, kind in ((path, "frames"), (path.replace("image", "mask"), "alpha")):
                filmed = results / f"anna/clips/{clip}/{kind}/{int(place):06d}.png"
                np.testing.assert_array_equal(read_image(file), read_image(filmed))
    text = (out / "README.txt").read_text()
    assert "There is no semantic/" in text and float(re.search(r"lies ([0-9.]+) px", text)[1]) < 0.2
    settings = (out / "imavatar.conf").read_text()
    assert f'data_folder = "{out}"' in settings and 'test { sub_dir = ["test"]' in settings


def test_a_drivers_frames_for_imavatar_are_coefficients_alone(results, tmp_path, by_flame):
    out = tmp_path / "peer"
    run("imavatar", "anna", "--results", results, "--out", out, "--driver", DRIVER, *by_flame)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["README.txt", "anna/anna/test/flame_params.json", "frames.tsv", "imavatar.conf"]
    assert "--is_eval --only_json" in (out / "README.txt").read_text()


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


@pytest.mark.parametrize("first", ["driver", "test"])
def test_images_of_a_drivers_frames_lie_beside_those_of_the_test(results, exported, tmp_path, capsys, first):
    """In either order, never over one another, and without a part in what is measured."""
    frames, paint = exported
    run("styleavatar", "anna", "--results", results, "--driver", DRIVER, "--out", tmp_path / "driven")
    for number in range(5):
        write_image(tmp_path / f"painted_driven/{number:06d}.png", np.full((SIZE, SIZE, 3), number, np.uint8))
    line = ["collect", "anna", "--results", results, "--method", "m"]
    of = {"test": [*line, "--from", paint("painted"), "--frames", frames],
          "driver": [*line, "--from", tmp_path / "painted_driven", "--frames", tmp_path / "driven/frames.tsv",
                     "--driver", DRIVER]}  # fmt: skip
    place = results / "anna/external/m"
    run(*of[first])
    assert external_methods(results / "anna") == (["m"] if first == "test" else [])
    assert "is there already" in refused(capsys, *of[first])
    run(*of["test" if first == "driver" else "driver"])
    assert "is there already" in refused(capsys, *of["driver"]) and "is there already" in refused(capsys, *of["test"])
    assert sorted(path.name for path in place.iterdir()) == [DRIVER, "t"]
    found = driver_images(place, DRIVER)
    assert list(found) == FOLLOWED and [read_image(path)[0, 0, 0] for path in found.values()] == [0, 1, 2, 3, 4]
    assert {clip: sorted(images) for clip, images in method_images(place).items()} == {"t": [k for _, k in TESTS]}


def test_tables_of_others_and_outdated_drivers_are_refused(results, exported, tmp_path, capsys):
    frames, paint = exported
    run("styleavatar", "anna", "--results", results, "--driver", DRIVER, "--out", tmp_path / "driven")
    line = ["collect", "anna", "--results", results, "--method", "m", "--from", paint("painted"), "--frames"]
    assert f"'t', not of the driver '{DRIVER}'" in refused(capsys, *line, frames, "--driver", DRIVER)
    assert f"add --driver {DRIVER}" in refused(capsys, *line, tmp_path / "driven/frames.tsv")
    write_driver(results / "anna", shift=1.0)
    said = refused(capsys, *line, tmp_path / "driven/frames.tsv", "--driver", DRIVER)
    assert "have changed since the export" in said and not (results / "anna/external").exists()


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
    assert not (tmp_path / "deep").exists()
