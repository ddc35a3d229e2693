"""The stage on a tiny avatar with a made-up face: who drives, what is written, what is refused."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from selfieavatar.avatar import Avatar
from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera
from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.io.images import image_name, write_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.rendering.shading import default_light
from selfieavatar.settings.sections import Reenact
from selfieavatar.training.dataset import FrameStore
from selfieavatar.training.loop import Frames, train
from stages import reenact_clip as reenact
from stages import train as train_stage
from tests.fitting import makers
from tests.training.makers import SIZE, settings, write_clip

FRAMES, LOST = 12, 5


def identity(model, seed=0):
    """A made-up person."""
    rotation, translation, _ = makers.movement(80, seed)
    seen = PoseRange.of(rotation, translation)
    return makers.identity(model, Camera.default(SIZE), light=default_light(), pose_range=seen)


def write_driver(folder, model, seed=0):
    """identity.npz, decode.parquet, fit.parquet and frames/ of a clip with one lost frame."""
    folder.mkdir()
    identity(model, seed).save(folder / "identity.npz")
    rotation, translation, expression = makers.movement(FRAMES, seed)
    good = np.arange(FRAMES) != LOST
    motion = {"rotation": rotation, "translation": translation, "expression": expression,
              "gaze": np.full((FRAMES, 4), 0.1), "light": np.tile(1.1 * default_light().ravel(), (FRAMES, 1)),
              "torso": np.tile([0.02, -0.01], (FRAMES, 1)), "landmark_error": np.zeros(FRAMES)}  # fmt: skip
    for values in motion.values():
        values[~good] = np.nan
    common = {"frame": np.arange(FRAMES)}
    fit = common | motion | {"fitted": good, "quality": np.where(good, "ok", "lost").astype(object)}
    write_manifest(folder / "fit.parquet", "fit", fit, {"size_px": SIZE})
    decode = common | {
        "time_s": np.arange(FRAMES) / 25, "source_frame": np.arange(FRAMES), "face": good,
        "face_box_px": np.zeros((FRAMES, 4)), "duplicate": np.zeros(FRAMES, bool), "sharpness": np.ones(FRAMES),
        "picture_hash": [""] * FRAMES,
    }  # fmt: skip
    write_manifest(folder / "decode.parquet", "decode", decode, {"fps": 25.0, "size_px": SIZE})
    for number in range(FRAMES):
        write_image(folder / "frames" / image_name(number), np.full((SIZE, SIZE, 3), 10 * number, np.uint8))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with avatar.pt, and the drivers `own` and `other`."""
    folder = tmp_path_factory.mktemp("reenact")
    write_clip(folder / "a", 8)
    frames = Frames(FrameStore([(folder / "a", k) for k in range(8)], SIZE, 10**9, 1), np.ones(8), [])
    trainer = train(settings(images=16), SIZE, frames, folder / "run", "cpu")
    own = makers.model()
    torch.save(
        train_stage.avatar_file(trainer, trainer.averaged_weights(), identity(own), "anna"), folder / "avatar.pt"
    )
    write_driver(folder / "own", own)
    write_driver(folder / "other", replace(own, template=own.template * 1.1,
                                           expression_basis=own.expression_basis[[3, 1, 0, 2]]), seed=4)  # fmt: skip
    return folder


def arguments(made, driver, out, **changes):
    clip = made / driver
    args = reenact.build_parser().parse_args(
        ["--avatar", str(made / "avatar.pt"), "--driver", f"{driver}--talk", "--identity", str(clip / "identity.npz"),
         "--decode", str(clip / "decode.parquet"), "--fit", str(clip / "fit.parquet"), "--frames",
         str(clip / "frames"), "--out-video", str(out / "x.mp4"), "--manifest", str(out / "x.parquet"),
         "--threads", "1"]
    )  # fmt: skip
    args.settings = Reenact(**{"retrack_px": 0, "batch_size": 4, "video_tile_px": 64} | changes)
    return args


def test_a_clip_of_another_person_drives(made, tmp_path, caplog):
    with caplog.at_level("INFO"):
        reenact.run(arguments(made, "other", tmp_path))
    assert "other--talk followed by anna: 11 of 12 frames, 100 % of the" in caplog.text and "None" not in caplog.text
    assert "aed, apd_deg: left out by reenact.retrack_px: 0" in caplog.text, "what is missing says why"
    table = read_manifest(tmp_path / "x.parquet", "reenact")
    driven = np.arange(FRAMES) != LOST
    np.testing.assert_array_equal(table["driven"], driven)
    for name in ("rotation", "translation", "expression", "gaze"):
        assert np.isfinite(table[name][driven]).all() and np.isnan(table[name][LOST]).all()
    facts = table.metadata
    wanted = {"subject": "anna", "driver": "other--talk", "driven": 11, "pose": "relative"}
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["aed"] is None and facts["identity_similarity"] is None and len(facts["notes"]) == 2
    assert facts["notes"][0] == "identity_similarity: --samples does not say what the person looks like"
    with av.open(str(tmp_path / "x.mp4")) as video:
        images = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(images) == FRAMES and images[0].shape == (64 + 24, 128, 3)
    for number in (0, 7):
        assert abs(int(images[number][60, 30, 0]) - 10 * number) < 4, "the driver's own frame is at the left"
    assert images[LOST][24:, 66:].max() < 20 < images[0][24:, 66:].max(), "nothing is made up for a lost frame"


def test_what_was_not_asked_of_the_avatar_is_said(made, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        reenact.run(arguments(made, "other", tmp_path, gain=0.2, overshoot=3.0))
    facts = read_manifest(tmp_path / "x.parquet", "reenact").metadata
    assert facts["expression_carried"] == pytest.approx(0.2, abs=0.05) and 0 <= facts["clamped"] <= 1
    assert any("% of the driver's expression was asked" in note for note in facts["notes"])
    assert any("% of the driver's expression was asked" in record.getMessage() for record in caplog.records)


def test_the_coefficients_follow_the_driver_s_geometry(made, tmp_path):
    reenact.run(arguments(made, "other", tmp_path, overshoot=3.0))
    used = read_manifest(tmp_path / "x.parquet", "reenact")["expression"]
    asked = read_manifest(made / "other" / "fit.parquet", "fit")["expression"]
    keep = np.arange(FRAMES) != LOST
    # the driver's coefficients are the avatar's in another order; each counts from the driver's own neutral
    for mine, theirs in enumerate((2, 1, 3, 0)):
        if asked[keep, theirs].std() > 0.05:
            assert np.corrcoef(used[keep, mine], asked[keep, theirs])[0, 1] > 0.98


def test_one_s_own_clip_is_self_reenactment(made, tmp_path, monkeypatch):
    """Every coefficient reaches the avatar unchanged, whatever the settings say; the clip's light and torso do not."""
    pose, seen = Avatar.pose, []

    def spy(self, *given):
        seen.append(given)
        return pose(self, *given)

    monkeypatch.setattr(Avatar, "pose", spy)
    reenact.run(arguments(made, "own", tmp_path, pose="relative", gain=0.3, overshoot=0.0))
    facts = read_manifest(tmp_path / "x.parquet", "reenact").metadata
    assert (facts["expression_carried"], facts["clamped"]) == (1, 0)
    fit = read_manifest(made / "own" / "fit.parquet", "fit")
    assert all(len(call) == 4 for call in seen)
    for place, name in enumerate(("rotation", "translation", "expression", "gaze")):
        given = np.concatenate([call[place] for call in seen])
        np.testing.assert_allclose(given, fit[name][np.arange(FRAMES) != LOST], atol=1e-6, err_msg=name)


def test_the_avatar_computes_in_the_precision_asked_for(made, tmp_path, monkeypatch):
    load, asked = Avatar.load, []
    monkeypatch.setattr(Avatar, "load", lambda *given: asked.append(given[2:]) or load(*given))
    reenact.run(arguments(made, "other", tmp_path, precision="bfloat16"))
    assert asked == [("bfloat16",)]


def test_somebody_else_moves_neither_light_nor_torso(made, tmp_path, monkeypatch):
    pose, seen = Avatar.pose, []
    monkeypatch.setattr(Avatar, "pose", lambda self, *given: seen.append(given[4:]) or pose(self, *given))
    reenact.run(arguments(made, "other", tmp_path))
    assert seen and all(given == () for given in seen)


def test_light_reaches_the_image(made):
    avatar = Avatar.load(made / "avatar.pt")
    pose = np.zeros((1, 3)), np.array([[0, 0, 90.0]]), np.zeros((1, 4))
    plain, _ = avatar.pose(*pose)
    lit, _ = avatar.pose(*pose, None, 1.3 * default_light().reshape(1, 27))
    mean, _ = avatar.pose(*pose, np.zeros((1, 4)), avatar.identity.light.reshape(1, 27))
    assert lit.sum() > 1.1 * plain.sum()
    torch.testing.assert_close(plain, mean)


class Sees:
    """A detector that sees what was asked of the avatar."""

    set_name = "mediapipe478"

    def __init__(self):
        model = makers.model()
        rotation, translation, expression = (v[np.arange(FRAMES) != LOST] for v in makers.movement(FRAMES))
        self.points = iter(makers.landmarks(model, rotation, translation, expression)[0] / makers.SIZE)

    def detect(self, image):
        from selfieavatar.detection.landmarks import Detection

        return Detection((next(self.points) * image.shape[0]).astype(np.float32), np.zeros(478), 1.0)

    def close(self):
        pass


def test_distances_are_none_where_the_tracker_sees_what_was_asked(made, tmp_path, monkeypatch):
    monkeypatch.setattr(reenact, "MediaPipeDetector", Sees)
    reenact.run(arguments(made, "own", tmp_path, retrack_px=64))
    table = read_manifest(tmp_path / "x.parquet", "reenact")
    assert table.metadata["found"] == FRAMES - 1 and table.metadata["aed"] < 0.1 and table.metadata["apd_deg"] < 1
    assert np.isnan(table["aed"][LOST]) and table["aed"][0] == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("what", ["nobody", "mixed", "landmarks", "old", "damaged"])
def test_what_cannot_be_is_said_before_anything_is_written(made, tmp_path, what):
    args, out = arguments(made, "other", tmp_path / "out"), tmp_path / "out"
    fit = read_manifest(args.fit, "fit")
    columns = {name: fit[name] for name in ("frame", "fitted", "rotation", "translation", "expression", "gaze", "light",
                                            "torso", "landmark_error", "quality")}  # fmt: skip
    arrays = dict(np.load(args.identity))
    if what == "nobody":
        columns["quality"] = np.array(["lost"] * FRAMES, object)
    elif what == "mixed":
        columns["expression"] = columns["expression"][:, :3]
    elif what == "landmarks":
        arrays["landmark_vertices"] = arrays["landmark_vertices"][:68]
    elif what == "old":
        content = torch.load(args.avatar, weights_only=True)
        for name in ("pose_rest", "pose_low", "pose_high"):
            del content["identity"][name]
        args.avatar = tmp_path / "old.pt"
        torch.save(content, args.avatar)
    elif what == "damaged":
        del arrays["template"]
    args.fit, args.identity = tmp_path / "fit.parquet", tmp_path / "identity.npz"
    write_manifest(args.fit, "fit", columns, {"size_px": SIZE})
    np.savez(args.identity, **arrays)
    words = {"nobody": "no frame of", "mixed": "different runs", "landmarks": "68 landmarks", "old": "pose_rest",
             "damaged": "not a readable identity"}  # fmt: skip
    with pytest.raises(UserError, match=words[what]):
        reenact.run(args)
    assert not out.exists() or not list(out.iterdir())


def test_what_is_known_is_said_in_words():
    facts = {"driven": 11, "frames": 12, "aed": 0.52, "apd_deg": None, "identity_similarity": 0.7}
    said = reenact.in_words(facts | {"expression_carried": 0.83, "clamped": 0.1})
    assert said == (
        "11 of 12 frames, 83 % of the expression asked, limited in 10 % of the frames, AED 0.520, identity 0.700"
    )


@pytest.mark.parametrize("network", ["vggface2", "dlib_face"])
def test_the_painted_face_is_compared_with_the_person_as_filmed(made, tmp_path, monkeypatch, network):
    from tests.networks.test_backbones import vggface2_file  # imports torchvision, which takes seconds

    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    if network == "vggface2":
        vggface2_file(tmp_path / "resnet50_ft_weight.pkl")
    columns = {"clip": ["a"] * 4, "frame": range(4), "split": ["train"] * 4, "weight": np.ones(4), "used": [True] * 4,
               "reason": [""] * 4}  # fmt: skip
    write_manifest(tmp_path / "samples.parquet", "samples", columns, {"subject": "anna", "size_px": SIZE})
    args = arguments(made, "other", tmp_path)
    args.samples, args.clips_dir = tmp_path / "samples.parquet", made
    reenact.run(args)
    table = read_manifest(tmp_path / "x.parquet", "reenact")
    similarity = table["identity_similarity"]
    assert np.isnan(similarity[LOST]) and np.isfinite(np.delete(similarity, LOST)).all()
    assert table.metadata["identity_similarity"] == pytest.approx(np.nanmean(similarity), abs=1e-5)
    assert 0 < np.nanmax(similarity) <= 1 and not any("identity" in note for note in table.metadata["notes"])
