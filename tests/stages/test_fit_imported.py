"""Coefficients of others go through identity, fit and render as they are, and project where their programs say."""

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import transform
from selfieavatar.identity import Identity
from selfieavatar.io.files import beside
from selfieavatar.io.images import image_name, write_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.morphable.coefficient_files import check_coefficients
from selfieavatar.morphable.published import load_model
from selfieavatar.settings.config import stage_settings
from stages import fit, identity, render
from tests.fitting import imported_makers as track
from tests.morphable.published import makers

SOURCE, SIZE, FRAMES = 512, 256, 12
CROP = (40.0, 20.0, 430.0)


def in_frame(shares, crop=CROP):
    """Shares of the source's side -> px of the frame."""
    return (shares * SOURCE - crop[:2]) * SIZE / crop[2]


def write_clip(folder, points, used, first=0, crop=CROP, source_px=SOURCE):
    """Manifests and images of a clip on which the detector finds exactly the model's landmarks, points (N, M, 2)."""
    images_dir = folder / "image"
    images_dir.mkdir(parents=True)
    count = len(points)
    for number in range(1, first + count + 1):
        (images_dir / f"{number}.png").touch()
    facts = {"size_px": SIZE, "source": str(images_dir), "source_size": [source_px, SOURCE], "crop_px": list(crop),
             "fps": 25.0, "static_camera": True}  # fmt: skip
    decode = {
        "frame": np.arange(count), "time_s": np.arange(count) / 25, "source_frame": first + np.arange(count),
        "face": np.ones(count, bool), "face_box_px": np.zeros((count, 4)), "duplicate": np.zeros(count, bool),
        "sharpness": np.ones(count), "picture_hash": np.array([""] * count),
    }  # fmt: skip
    write_manifest(folder / "decode.parquet", "decode", decode, facts)
    full = np.repeat(points.mean(1, keepdims=True), 478, axis=1)
    full[:, used] = points
    columns = {
        "frame": np.arange(count), "found": np.ones(count, bool), "points_px": full.reshape(count, -1),
        "depth": np.zeros((count, 478)), "confidence": np.ones(count),
    }  # fmt: skip
    write_manifest(folder / "landmarks.parquet", "landmarks", columns,
                   {"landmark_set": "mediapipe478", "count": 478, "size_px": SIZE})  # fmt: skip
    for name, colour in (("frames", (200, 150, 120)), ("alpha", None)):
        (folder / name).mkdir()
        image = np.full((SIZE, SIZE), 255, np.uint8) if colour is None else np.full((SIZE, SIZE, 3), colour, np.uint8)
        for number in range(count):
            write_image(folder / name / image_name(number), image)
    return folder


def run(stage, *arguments, **settings):
    args = stage.build_parser().parse_args([str(argument) for argument in arguments])
    args.settings = stage_settings(args.section, settings)
    stage.run(args)


def clip_inputs(*clips):
    names = {"decode": "decode.parquet", "landmarks": "landmarks.parquet", "frames": "frames", "alpha": "alpha"}
    return [item for option, name in names.items() for item in (f"--{option}", *(clip / name for clip in clips))]


def learn(folder, clips, files, **settings):
    run(identity, *clip_inputs(*clips), "--coefficients", *files, "--out", folder / "identity.npz", **settings)


def fit_one(folder, clip, file, **settings):
    arguments = ["--identity", folder / "identity.npz", *clip_inputs(clip), "--coefficients", file]
    run(fit, *arguments, "--out", clip / "fit.parquet", **settings)
    return read_manifest(clip / "fit.parquet", "fit")


def projected(folder, found):
    """Rows (n,) of the frames that are fitted and (n, V, 2) px of all vertices."""
    known = Identity.load(folder / "identity.npz")
    model, camera = known.model, known.camera
    rows = np.flatnonzero(found["fitted"])
    vertices = model.vertices(found["expression"][rows])
    return rows, camera.project(transform(vertices, found["rotation"][rows], found["translation"][rows]))


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    folder = makers.flame_folder(tmp_path_factory.mktemp("flame"))
    return {"data": makers.flame_data(), "folder": folder, "model": load_model("flame", folder)}


def flame_clip(flame, folder, content, crop=CROP, **kwargs):
    """A clip of the head that `content` describes; returns it with its file and the vertices (N, V, 2) px."""
    truth = in_frame(track.flame_truth(flame["data"], content), crop)
    model = flame["model"]
    mixed = np.concatenate([truth[:, model.flame_source], np.einsum(
        "nlkc,lk->nlc", truth[:, model.flame_source][:, model.flame_points[0]], model.flame_points[1])], 1)  # fmt: skip
    used = model.used_landmarks
    clip = write_clip(folder, mixed[:, model.landmark_vertices[used]], used, crop=crop, **kwargs)
    return clip, track.write_flame(clip / "flame_params.json", content), truth


def settings(flame, **more):
    return {"model": "flame", "model_path": str(flame["folder"]), "coefficients": "flame_params.json",
            "texture_px": 64} | more  # fmt: skip


def on_skull(flame):
    """Vertices of our mesh that no eyeball owns and neck and jaw alone move."""
    weights = flame["data"]["weights"][flame["model"].flame_source]
    return np.flatnonzero(weights[:, 3:].sum(1) < 0.5)


def test_flame_projects_as_imavatar_projects(flame, tmp_path):
    content = track.flame_content(FRAMES)
    clip, file, truth = flame_clip(flame, tmp_path / "talk", content)
    learn(tmp_path, [clip], [file], **settings(flame))
    found = fit_one(tmp_path, clip, file, **settings(flame))
    rows, seen = projected(tmp_path, found)
    assert rows.tolist() == list(range(FRAMES))
    head_sphere = on_skull(flame)
    far = np.linalg.norm(seen[:, head_sphere] - truth[:, flame["model"].flame_source[head_sphere]], axis=2)
    assert np.median(far) < 0.1 and np.percentile(far, 95) < 0.3
    np.testing.assert_allclose(found["expression"][:, :50], [f["expression"] for f in content["frames"]], atol=1e-6)
    assert not found["expression"][:, 50:100].any()
    # The jaw enters by sine and 1 - cosine of its opening.
    jaw = [np.sin(frame["pose"][6]) for frame in content["frames"]]
    np.testing.assert_allclose(found["expression"][:, 100], jaw, atol=0.01)
    # The eyes' joints: turned about y up by +, an eye looks to the image's right; about x by +, down.
    np.testing.assert_allclose(found["gaze"][:, 0], [f["pose"][10] for f in content["frames"]], atol=0.01)
    np.testing.assert_allclose(found["gaze"][:, 1], [f["pose"][9] for f in content["frames"]], atol=0.01)
    out = [tmp_path / name for name in ("render", "uv", "render.parquet")]
    arguments = ["--identity", tmp_path / "identity.npz", "--fit", clip / "fit.parquet"]
    run(render, *arguments, "--out-render", out[0], "--out-uv", out[1], "--manifest", out[2])
    assert (read_manifest(out[2], "render")["face_share"] > 0.05).all()


def test_images_that_the_file_lacks_are_lost(flame, tmp_path):
    content = track.flame_content(FRAMES)
    clip, file, _ = flame_clip(flame, tmp_path / "talk", content)
    content["frames"] = [frame for n, frame in enumerate(content["frames"]) if n not in (3, 4, 9)]
    track.write_flame(file, content)
    learn(tmp_path, [clip], [file], **settings(flame))
    found = fit_one(tmp_path, clip, file, **settings(flame))
    assert np.flatnonzero(found["quality"] == "lost").tolist() == [3, 4, 9] and not found["fitted"][[3, 4, 9]].any()
    assert np.isnan(found["rotation"][[3, 4, 9]]).all() and (found["quality"] != "bridged").all()


def test_numbers_are_those_of_the_files(flame, tmp_path):
    """A clip from source frame 5 on, whose folder lacks the first two images: the eighth file is named 8."""
    content = track.flame_content(FRAMES, first=8)
    clip, file, _ = flame_clip(flame, tmp_path / "talk", content, first=7)
    (clip / "image" / "1.png").unlink()
    (clip / "image" / "2.png").unlink()
    decode = read_manifest(clip / "decode.parquet", "decode")
    columns = {name: decode[name] for name in decode.table.column_names} | {"source_frame": 5 + np.arange(FRAMES)}
    write_manifest(clip / "decode.parquet", "decode", columns, decode.metadata)
    learn(tmp_path, [clip], [file], **settings(flame))
    assert fit_one(tmp_path, clip, file, **settings(flame))["fitted"].all()


def test_two_crops_share_one_camera_and_the_residual_is_said(flame, tmp_path, caplog):
    clips, files, truths = zip(
        # The made-up landmarks lie on the eyeballs, too, which do not turn in our model.
        flame_clip(flame, tmp_path / "a", track.flame_content(FRAMES, look=0)),
        flame_clip(flame, tmp_path / "b", track.flame_content(FRAMES, distance=4.3, look=0), (52.0, 30.0, 420.0)),
        strict=True,
    )
    learn(tmp_path, clips, files, **settings(flame))
    with caplog.at_level("INFO"):
        found = fit_one(tmp_path, clips[1], files[1], **settings(flame))
    said = next(record.args for record in caplog.records if "the subject's camera sees" in record.getMessage())
    assert said[1] == FRAMES and 0.001 < said[3] < 0.1
    _, seen = projected(tmp_path, found)
    head_sphere = on_skull(flame)
    far = np.linalg.norm(seen[:, head_sphere] - truths[1][:, flame["model"].flame_source[head_sphere]], axis=2)
    assert np.median(far) < 0.1


def test_files_of_another_clip_are_refused(flame, tmp_path):
    clip, file, _ = flame_clip(flame, tmp_path / "talk", track.flame_content(FRAMES))
    track.write_flame(file, track.flame_content(FRAMES, first=500))
    with pytest.raises(UserError, match="images 500 to 511, but .*image shows 1 to 12"):
        learn(tmp_path, [clip], [file], **settings(flame))
    moved = track.flame_content(FRAMES)
    for frame in moved["frames"]:
        frame["world_mat"][0][3] += 1.0
    with pytest.raises(UserError, match="do not lie on the faces"):
        learn(tmp_path, [clip], [track.write_flame(file, moved)], **settings(flame))
    wide, file, _ = flame_clip(flame, tmp_path / "wide", track.flame_content(FRAMES), source_px=640)
    with pytest.raises(UserError, match="square"):
        learn(tmp_path, [wide], [file], **settings(flame))


def test_other_numbers_of_coefficients_are_refused(flame, tmp_path):
    good = track.flame_content(3)
    file = track.write_flame(tmp_path / "good.json", good)
    check_coefficients(file, "flame", flame["folder"], tmp_path)
    for name, change in (("shape", {"shape_params": [0.0] * 301}), ("expression", {})):
        content = good | change
        if name == "expression":
            content["frames"] = [frame | {"expression": [0.0] * 101} for frame in good["frames"]]
        with pytest.raises(UserError, match=f"{name}.json holds"):
            bad = track.write_flame(tmp_path / f"{name}.json", content)
            check_coefficients(bad, "flame", flame["folder"], tmp_path)
    twice = good | {"frames": good["frames"] + good["frames"][:1]}
    with pytest.raises(UserError, match="twice"):
        check_coefficients(track.write_flame(tmp_path / "twice.json", twice), "flame", flame["folder"], tmp_path)
    with pytest.raises(UserError, match="images 1 to 3, but .* shows 9 to 9"):
        (tmp_path / "image").mkdir()
        (tmp_path / "image" / "9.png").touch()
        check_coefficients(file, "flame", flame["folder"], tmp_path / "image")
    with pytest.raises(UserError, match="missing"):
        check_coefficients(tmp_path / "none.json", "flame", flame["folder"], tmp_path)


def test_faceverse_projects_as_faceverse_projects(tmp_path):
    table = makers.faceverse(3)
    table["idBase"], table["exBase_52"] = 0.3 * table["idBase"], 0.3 * table["exBase_52"]
    path = makers.faceverse_file(tmp_path / "v3.npy", table)
    model = load_model("faceverse", path)
    rows = track.faceverse_rows(FRAMES)
    truth = in_frame(track.faceverse_truth(table, rows))
    used = model.used_landmarks
    clip = write_clip(tmp_path / "talk", truth[:, table["mediapipe_keypoints"][used]], used)
    np.save(clip / "coefficients.npy", rows)
    check_coefficients(clip / "coefficients.npy", "faceverse", path, clip / "image")
    own = {"model": "faceverse", "model_path": str(path), "coefficients": "coefficients.npy", "texture_px": 64}
    learn(tmp_path, [clip], [clip / "coefficients.npy"], **own)
    found = fit_one(tmp_path, clip, clip / "coefficients.npy", **own)
    assert found["fitted"].all()
    np.testing.assert_allclose(found["expression"], rows[:, 150:202], atol=1e-6)
    (clip / "coeffs").mkdir()
    for number, row in enumerate(rows, start=1):  # as its trackers write them
        np.save(clip / "coeffs" / f"{number}.npy", row)
    alone = fit_one(tmp_path, clip, clip / "coeffs", **own)
    np.testing.assert_array_equal(alone["expression"], found["expression"])
    _, seen = projected(tmp_path, found)
    assert np.linalg.norm(seen - truth[:, model.source_vertices], axis=2).max() < 0.1


@pytest.mark.parametrize("version", [2, 4])
def test_coefficients_of_v3_want_the_model_v3(tmp_path, version):
    np.save(tmp_path / "c.npy", track.faceverse_rows(3))
    path = makers.faceverse_file(tmp_path / f"v{version}.npy", makers.faceverse(version))
    with pytest.raises(UserError, match="FaceVerse v3"):
        check_coefficients(tmp_path / "c.npy", "faceverse", path, tmp_path)


def test_where_the_file_lies(tmp_path):
    (tmp_path / "talk" / "image").mkdir(parents=True)
    assert beside(tmp_path / "talk" / "image", "flame_params.json") == tmp_path / "talk" / "flame_params.json"
    assert beside(tmp_path / "talk.v2.mp4", "*.npy") == tmp_path / "talk.v2.npy"


def test_a_clip_without_usable_frames_does_not_stop_the_others(flame, tmp_path):
    """The second clip's file has an image on which the detector found no face."""
    clips, files, _ = zip(
        flame_clip(flame, tmp_path / "a", track.flame_content(FRAMES)),
        flame_clip(flame, tmp_path / "b", track.flame_content(FRAMES)),
        strict=True,
    )
    content = track.flame_content(1)
    track.write_flame(files[1], content)
    stored = read_manifest(clips[1] / "landmarks.parquet", "landmarks")
    columns = {name: stored[name].copy() for name in stored.table.column_names}
    columns["found"][0], columns["points_px"][0] = False, np.nan
    write_manifest(clips[1] / "landmarks.parquet", "landmarks", columns, stored.metadata)
    learn(tmp_path, clips, files, **settings(flame))
    found = fit_one(tmp_path, clips[1], files[1], **settings(flame))
    assert found["quality"].tolist() == ["ok"] + ["lost"] * (FRAMES - 1) and np.isnan(found["landmark_error"]).all()
