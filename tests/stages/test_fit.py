"""The stages identity and fit on a made-up subject, from manifests to manifests."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.fitting.landmark_solver import FitResult
from selfieavatar.fitting.photometric_refinement import JointSettings
from selfieavatar.io.images import image_name, read_image, write_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.rendering.shading import default_light, shade
from selfieavatar.settings.sections import Fit
from stages import fit, identity
from tests.fitting import makers

FRAMES = 60


def write_clip(folder, start, count, size=makers.SIZE, missing=(), found_set="mediapipe478"):
    """Manifests and images of `count` frames of the made-up subject, moving as from frame `start` of its life."""
    folder.mkdir()
    subject = makers.model()
    rotation, translation, expression = (value[start : start + count] for value in makers.movement(start + count))
    points, depth = makers.landmarks(subject, rotation, translation, expression, noise_px=0.1)
    points[list(missing)], depth[list(missing)] = np.nan, np.nan
    found = np.isfinite(points).all((1, 2))
    decode = {
        "frame": np.arange(count), "time_s": np.arange(count) / 25, "source_frame": np.arange(count), "face": found,
        "face_box_px": np.zeros((count, 4)), "duplicate": np.zeros(count, bool), "sharpness": np.ones(count),
        "picture_hash": np.array([""] * count),
    }  # fmt: skip
    write_manifest(folder / "decode.parquet", "decode", decode, {"size_px": size, "fps": 25.0})
    columns = {
        "frame": np.arange(count), "found": found, "points_px": points.reshape(count, -1), "depth": depth,
        "confidence": found.astype(float),
    }  # fmt: skip
    facts = {"landmark_set": found_set, "count": 478, "size_px": size}
    write_manifest(folder / "landmarks.parquet", "landmarks", columns, facts)
    for name in ("frames", "alpha"):
        (folder / name).mkdir()
    for number in range(count):
        write_image(folder / "frames" / image_name(number), np.full((size, size, 3), (200, 150, 120), np.uint8))
        write_image(folder / "alpha" / image_name(number), np.full((size, size), 255, np.uint8))
    return folder


def learn(folder, clips, **settings):
    args = identity.build_parser().parse_args(
        ["--decode", *(str(c / "decode.parquet") for c in clips), "--landmarks", *(str(c / "landmarks.parquet") for c
        in clips),
         "--frames", *(str(c / "frames") for c in clips), "--alpha", *(str(c / "alpha") for c in clips),
         "--out", str(folder / "identity.npz")]
    )  # fmt: skip
    args.settings = Fit(**{"components": 6, "texture_px": 64} | settings)
    identity.run(args)
    return folder / "identity.npz"


def fit_one(path, clip, threads=2, **settings):
    args = fit.build_parser().parse_args(
        ["--identity", str(path), "--landmarks", str(clip / "landmarks.parquet"), "--decode", str(clip /
        "decode.parquet"),
         "--frames", str(clip / "frames"), "--alpha", str(clip / "alpha"), "--out", str(clip / "fit.parquet"),
         "--threads", str(threads)]
    )  # fmt: skip
    args.settings = Fit(**settings)
    fit.run(args)
    return read_manifest(clip / "fit.parquet", "fit")


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    clips = [write_clip(folder / "a", 0, FRAMES), write_clip(folder / "b", 100, 30, missing=[4, 5, *range(12, 22)])]
    return folder, clips, learn(folder, clips)


def test_no_image_that_is_held_out_is_opened(tmp_path):
    """They are not there; and what the detector says of them changes nothing, the light least of all."""
    clips = [write_clip(tmp_path / "a", 0, 40), write_clip(tmp_path / "b", 60, 40)]
    makers.hold_out(clips[1], 15, 20)
    (tmp_path / "first").mkdir()
    before = learn(tmp_path / "first", clips).read_bytes()
    spoil_landmarks(clips[1], slice(20, None), 50)
    for kind in ("frames", "alpha"):
        for number in range(15, 40):
            (clips[1] / kind / image_name(number)).unlink()
    assert learn(tmp_path, clips).read_bytes() == before


def spoil_landmarks(clip, rows, off_px):
    """Displace what the detector found in these frames."""
    table = read_manifest(clip / "landmarks.parquet", "landmarks")
    columns = {name: table[name].copy() for name in table.table.column_names}
    columns["points_px"][rows] += off_px
    write_manifest(clip / "landmarks.parquet", "landmarks", columns, table.metadata)


def test_what_is_held_out_changes_nothing_of_the_fit_before_it(tmp_path):
    """Noise is estimated from whole takes, and usual gaze from whole clips: of what is trained on alone."""
    clip = write_clip(tmp_path / "a", 0, 100)
    makers.hold_out(clip, 76, 80)
    path = learn(tmp_path, [clip])
    before = fit_one(path, clip)
    spoil_landmarks(clip, slice(80, None), np.random.default_rng(0).normal(size=(20, 956)).astype(np.float32))
    after = fit_one(path, clip)
    for name in before.table.column_names:
        np.testing.assert_array_equal(before[name][:76], after[name][:76], err_msg=name)
    assert np.abs(before["expression"][80:] - after["expression"][80:]).max() > 0.1
    assert after.metadata["held_from"] == 76 and after.metadata["test_from"] == 80


def test_identity_holds_the_contract(subject):
    _, _, path = subject
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    assert str(arrays["model"]) == "facemesh" and int(arrays["size_px"]) == makers.SIZE
    shapes = {
        "template": (468, 3), "tri": (898, 3), "tri_part": (898,), "uv": (468, 2), "texture": (64, 64, 3),
        "texture_weight": (64, 64), "eye_center": (2, 3), "eye_radius": (2,), "landmark_vertices": (478,),
        "principal": (2,), "light": (9, 3),
    }  # fmt: skip
    assert {key: arrays[key].shape for key in shapes} == shapes
    assert (
        arrays["texture"].dtype == np.uint8 and arrays["tri"].dtype == np.int32 and arrays["tri_part"].dtype == np.int8
    )
    seen = arrays["texture_weight"] > 0.1
    assert seen.mean() > 0.3
    np.testing.assert_allclose(np.median(arrays["texture"][seen], axis=0), (200, 150, 120), atol=2)


def test_the_reference_of_the_registration_is_kept_and_can_be_left_out(subject, tmp_path, monkeypatch):
    _, clips, path = subject
    with np.load(path, allow_pickle=False) as stored:
        reference = stored["reference"]
    assert reference.shape == (128, 128) and reference.dtype == np.uint8
    asked = []
    monkeypatch.setattr(fit, "register", lambda *args: asked.append(1) or args[4])
    fit_one(path, clips[0])
    assert len(asked) == fit.PASSES
    plain = learn(tmp_path, clips[:1], registration=False)
    with np.load(plain, allow_pickle=False) as stored:
        assert "reference" not in stored
    fit_one(plain, clips[0], registration=False)
    assert len(asked) == fit.PASSES
    with pytest.raises(UserError, match="no `reference`"):
        fit_one(plain, clips[0])


def test_frames_that_do_not_show_the_face_stay_bridged_after_the_registration(subject, tmp_path):
    """The model drawn into an empty image agrees with itself: that must not make a lost frame a good one."""
    _, _, path = subject
    clip = write_clip(tmp_path / "odd", 0, 30)
    table = read_manifest(clip / "landmarks.parquet", "landmarks")
    points = table["points_px"].copy()
    points[[12, 13]] = points[[12, 13]].mean() + np.random.default_rng(0).normal(0, 20, points[[12, 13]].shape)
    columns = {name: table[name] for name in table.table.column_names} | {"points_px": points}
    write_manifest(clip / "landmarks.parquet", "landmarks", columns, table.metadata)
    assert (fit_one(path, clip)["quality"][[12, 13]] == "bridged").all()


@pytest.mark.parametrize("name, value", [
    ("tri", np.full((898, 3), 10**6, np.int32)), ("landmark_vertices", np.full(478, 99999, np.int32)),
    ("template", np.full((468, 3), np.nan, np.float32)), ("size_px", np.int32(0)), ("focal_px", np.float32(0)),
    ("texture", np.zeros((3, 3), np.uint8)), ("reference", np.zeros((0, 0), np.uint8)), ("uv", np.zeros((4, 2))),
    ("torso_picture", np.zeros((9, 8), np.uint8)),
])  # fmt: skip
def test_a_damaged_identity_is_said_in_a_sentence(subject, tmp_path, name, value):
    _, clips, path = subject
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored) | {name: value}
    np.savez(tmp_path / "identity.npz", **arrays)
    with pytest.raises(UserError, match="not a readable identity"):
        fit_one(tmp_path / "identity.npz", clips[0])


def test_fit_holds_the_contract_and_marks_gaps(subject):
    _, clips, path = subject
    whole, gappy = fit_one(path, clips[0]), fit_one(path, clips[1])
    assert whole["fitted"].all() and (whole["quality"] == "ok").all()
    assert np.median(whole["landmark_error"]) < 0.007
    assert whole["expression"].shape == (FRAMES, whole.metadata["expression_count"])
    assert whole["light"].shape == (FRAMES, 27) and np.isfinite(whole["light"]).all()
    assert (gappy["quality"][[4, 5]] == "bridged").all() and (gappy["quality"][12:22] == "lost").all()
    assert not gappy["fitted"][12:22].any() and np.isnan(gappy["rotation"][12:22]).all()
    assert np.isnan(gappy["landmark_error"][[4, 5]]).all()
    assert np.isnan(whole["torso"]).all()  # a flat image shows none


def test_the_torso_is_followed_and_can_be_left_out(subject, tmp_path):
    clip = write_clip(tmp_path / "shirt", 0, 30)
    side = makers.SIZE
    rows, columns = np.mgrid[:side, :side]
    for number in range(30):
        image = read_image(clip / "frames" / image_name(number)).copy()
        shirt = 128 + 60 * np.sin((columns - 0.2 * number) / 6) + 60 * np.cos(rows / 7)
        image[-side // 5 :] = shirt[-side // 5 :, :, None]
        write_image(clip / "frames" / image_name(number), image)
    path = learn(tmp_path, [clip])
    moved = fit_one(path, clip)["torso"] * side
    np.testing.assert_allclose(moved[:, 0] - moved[0, 0], 0.2 * np.arange(30), atol=0.3)
    side_by_side = (clip / "fit.parquet").read_bytes()
    fit_one(path, clip, threads=1)
    assert (clip / "fit.parquet").read_bytes() == side_by_side
    assert "torso_top" not in np.load(learn(tmp_path, [clip], torso=False)).files


def test_light_of_an_evenly_coloured_video_is_even(subject):
    """The made-up video shows one colour everywhere: no shading."""
    _, clips, path = subject
    with np.load(path, allow_pickle=False) as stored:
        own = stored["light"]
    frontal = np.array([[0.0, 0.0, -1.0], [0.5, 0.0, -0.866], [0.0, -0.5, -0.866]])
    gappy = fit_one(path, clips[1])
    lost = gappy["quality"] == "lost"
    assert np.isnan(gappy["light"][lost]).all() and np.isfinite(gappy["light"][~lost]).all()
    for light in (own, gappy["light"][0], gappy["light"][-1]):
        np.testing.assert_allclose(shade(frontal, light), 1.0, atol=0.03)
    off = fit_one(path, clips[1], photometric="off")
    assert np.isnan(off["light"][lost]).all()
    np.testing.assert_allclose(off["light"][~lost], np.tile(default_light().ravel(), ((~lost).sum(), 1)))


def test_full_refines_through_the_rasteriser(tmp_path, monkeypatch):
    """On the CPU, and for two steps only: what it reaches is tested in test_photometric_refinement.py."""
    monkeypatch.setattr(
        "selfieavatar.fitting.photometric_refinement.JointSettings", partial(JointSettings, iterations=2)
    )
    clip = write_clip(tmp_path / "a", 0, 10)
    path = learn(tmp_path, [clip], photometric="full")
    light, full = fit_one(path, clip, photometric="light"), fit_one(path, clip, photometric="full")
    assert full["fitted"].all() and np.isfinite(full["light"]).all()
    assert (full["expression"] != light["expression"]).any()
    np.testing.assert_allclose(full["rotation"], light["rotation"], atol=0.02)
    assert np.median(full["landmark_error"]) < 0.005


def test_mattes_without_a_person_are_named(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "a", 0, 6)
    known = FitResult(*makers.movement(6), np.zeros(6))
    monkeypatch.setattr(identity.personal_model, "learn", lambda *_, **__: (makers.model(), known, np.arange(6)))
    for image in (clip / "alpha").iterdir():
        write_image(image, np.zeros((makers.SIZE, makers.SIZE), np.uint8))
    with pytest.raises(UserError, match="mattes"):
        learn(tmp_path, [clip])


def test_the_same_input_gives_the_same_bytes(subject):
    _, clips, path = subject
    fit_one(path, clips[0])
    first = (clips[0] / "fit.parquet").read_bytes()
    fit_one(path, clips[0])
    assert (clips[0] / "fit.parquet").read_bytes() == first


def test_another_person_or_scramble_is_refused(subject, tmp_path):
    _, _, path = subject
    clip = write_clip(tmp_path / "c", 0, 5)
    stored = read_manifest(clip / "landmarks.parquet", "landmarks")
    columns = {name: stored[name] for name in ("frame", "found", "depth", "confidence")}
    columns["points_px"] = np.random.default_rng(0).uniform(0, 256, (5, 956))
    write_manifest(clip / "landmarks.parquet", "landmarks", columns, stored.metadata)
    with pytest.raises(UserError, match="same person"):
        fit_one(path, clip)


def test_a_published_model_becomes_the_subjects(tmp_path, monkeypatch):
    """The file is not read here (tests of the loaders do that): the made-up person as a model with two identities."""
    model = makers.model()
    model.identity_basis = np.stack([model.template * [0.05, 0, 0], model.template * [0, 0.05, 0]])
    model.identity_scale = np.ones(2)
    asked = []
    monkeypatch.setattr(identity, "load_model", lambda *words: asked.append(words) or model)
    clip = write_clip(tmp_path / "c", 0, 30)
    path = learn(tmp_path, [clip], model="ict", model_path="somewhere", focal="estimate")
    assert asked == [("ict", Path("somewhere"), "mediapipe478")]
    found = fit_one(path, clip, model="ict", model_path="somewhere")
    assert found["fitted"].all() and np.median(found["landmark_error"]) < 0.007
    assert found["expression"].shape == (30, 4)


def test_bad_identity_files_are_named(subject, tmp_path):
    clip = write_clip(tmp_path / "c", 0, 3)
    with pytest.raises(UserError, match="missing"):
        fit_one(tmp_path / "nowhere.npz", clip)
    (tmp_path / "broken.npz").write_bytes(b"not a zip file")
    with pytest.raises(UserError, match="not a readable identity"):
        fit_one(tmp_path / "broken.npz", clip)


def test_flat_landmarks_cannot_teach_facemesh(tmp_path):
    clip = write_clip(tmp_path / "c", 0, 3, found_set="wflw98")
    with pytest.raises(UserError, match="landmarks.detector"):
        learn(tmp_path, [clip])


def test_clips_of_different_sizes_are_refused(tmp_path):
    clips = [write_clip(tmp_path / "a", 0, 3), write_clip(tmp_path / "b", 0, 3, size=128)]
    with pytest.raises(UserError, match="size_px"):
        learn(tmp_path, clips)
