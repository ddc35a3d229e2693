"""Stage `samples`: splits, reasons, weights, and what it refuses."""

import json

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.manifest import read_manifest
from selfieavatar.morphable.landmark_sets import landmark_set
from selfieavatar.settings.sections import Samples
from stages import samples
from stages.samples import rarity_weights
from tests.fitting.makers import hold_out
from tests.training.makers import write_manifests

KINDS = samples.KINDS


def choose(tmp_path, counts=(60,), role="train", changes=None, trained=None, cuts=None, **settings):
    """Runs the stage on clips a, b, ... and reads what it wrote."""
    names = [chr(ord("a") + k) for k in range(len(counts))]
    for name, count in zip(names, counts, strict=True):
        write_manifests(tmp_path / name, count, **(changes or {}).get(name, {}))
        if name in (cuts or {}):
            hold_out(tmp_path / name, *cuts[name])
    manifests = [[f"--{kind}", *(str(tmp_path / name / f"{kind}.parquet") for name in names)] for kind in KINDS]
    line = ["--subject", "x", "--clips", *names, "--role", role, "--out", str(tmp_path / "samples.parquet")]
    line += ["--trained", json.dumps(trained or {})]
    args = samples.build_parser().parse_args(line + [word for words in manifests for word in words])
    args.settings = Samples(**settings)
    samples.run(args)
    return read_manifest(tmp_path / "samples.parquet", "samples")


def counted(table, split):
    mine = table["split"] == split
    return int((mine & table["used"]).sum())


def test_all_good_frames_train_and_a_few_validate(tmp_path):
    table = choose(tmp_path, (60, 40))
    assert len(table) == 100 and table["used"].all()
    assert counted(table, "val") == 2 and counted(table, "train") == 98
    assert table["clip"].tolist() == ["a"] * 60 + ["b"] * 40
    np.testing.assert_array_equal(table["frame"][60:], np.arange(40))
    assert table.metadata["subject"] == "x" and table.metadata["size_px"] == 32


@pytest.mark.parametrize(
    ("ranges", "near"),
    [([], []), ([[0, 90]], []), ([[0, 91]], ["b"]), ([[170, None]], []), ([[169, None]], ["b"]),
     ([[0, 50], [110, 120]], ["b"]), ([[None, None]], ["b"])],
)  # fmt: skip
def test_clips_next_to_what_is_trained_on_are_called_interleaved(tmp_path, caplog, ranges, near):
    """Clip b shows frames 100 to 159 of its source at 10 frames/s; the gap is a second."""
    changes = {"b": {"decode_source_frame": 100 + np.arange(60, dtype=np.int32)}}
    table = choose(tmp_path, (60, 60), role="test", changes=changes, trained={"a": [], "b": ranges})
    assert table.metadata["interleaved"] == near
    assert ("are called interleaved" in caplog.text) == bool(near)


def test_each_frame_left_out_says_why(tmp_path):
    count = 60
    face, found, fitted = np.ones(count, bool), np.ones(count, bool), np.ones(count, bool)
    duplicate, sharpness, share = np.zeros(count, bool), np.full(count, 100.0), np.full(count, 0.2)
    quality, coverage = np.array(["ok"] * count, dtype=object), np.full(count, 0.4)
    face[0], found[1], fitted[2], quality[3] = False, False, False, "bridged"
    duplicate[4], sharpness[5], share[6], coverage[7] = True, 5.0, 0.0, 0.0
    found[0] = False  # the first reason counts
    changes = {
        "decode_face": face,
        "decode_duplicate": duplicate,
        "decode_sharpness": sharpness,
        "landmarks_found": found,
        "fit_fitted": fitted,
        "fit_quality": quality,
        "render_face_share": share,
        "matting_coverage": coverage,
    }
    table = choose(tmp_path, (count,), changes={"a": changes})
    expected = [
        "no face",
        "no landmarks",
        "lost fit",
        "bridged fit",
        "duplicate",
        "blurred",
        "empty rendering",
        "empty matte",
    ]
    assert table["reason"][:8].tolist() == expected
    assert not table["used"][:8].any() and (table["weight"][:8] == 0).all()
    assert table["used"][8:].all() and (table["reason"][8:] == "").all()


def test_holdout_takes_the_end_with_a_second_of_gap(tmp_path):
    table = choose(tmp_path, (100,), role="holdout", cuts={"a": (70, 80)})
    assert table["split"][80:].tolist() == ["test"] * 20 and table["used"][80:].all()
    assert (table["reason"][70:80] == "gap before the held-out frames").all()  # 10 frames/s
    assert table["used"][:70].all() and set(table["split"][:70]) == {"train", "val"}


def eyes(opening):
    """Landmarks (N, 956) of nothing but two eyes that are open so far (N,)."""
    points = np.zeros((len(opening), 478, 2))
    for ring, middle in zip(landmark_set("mediapipe478").eyes, (-6, 6), strict=True):
        angle = 2 * np.pi * np.arange(len(ring)) / len(ring)
        points[:, list(ring), 0] = middle + 3 * np.cos(angle)
        points[:, list(ring), 1] = np.asarray(opening)[:, None] * np.sin(angle)
    return points.reshape(len(opening), -1)


@pytest.mark.parametrize(
    ("closed", "share", "factor"), [(3, 0.1, 3.6), (1, 0.1, 5), (20, 0.1, 1), (0, 0.1, 1), (3, 0, 1)]
)
def test_closed_lids_are_drawn_often_enough(tmp_path, closed, share, factor):
    """Half as far open as usual, or less: three of 100 frames become a tenth, a single one counts five times."""
    opening = np.where(np.arange(100) < closed, 0.4, 1.0)
    opening[60:80] = 0.6  # narrow, but open
    changes = {"a": {"landmarks_points_px": eyes(opening)}}
    table = choose(tmp_path, (100,), changes=changes, closed_lids=share, validation=0, rarity=0)
    weight = table["weight"]
    assert weight.mean() == pytest.approx(1, abs=1e-5) and len(set(weight[closed:].tolist())) == 1
    if closed:
        assert weight[0] / weight[-1] == pytest.approx(factor, rel=0.01)


def test_held_out_frames_do_not_tell_what_is_blurred(tmp_path):
    """Frames of a third of the median sharpness are blurred; the held-out ones are ten times as sharp."""
    sharp = np.full(100, 10.0)
    sharp[:7] = 2
    for held in (10.0, 100.0):
        sharp[60:] = held
        table = choose(
            tmp_path, (100,), role="holdout", cuts={"a": (50, 60)}, changes={"a": {"decode_sharpness": sharp}}
        )
        assert (table["reason"] == "blurred").sum() == 7


@pytest.mark.parametrize(("first", "near"), [(0, []), (200, []), (165, ["b"]), (170, [])])
def test_a_source_in_another_order_is_called_interleaved(tmp_path, first, near):
    """Clip b shows frames 100 to 159 of its source, the last 30 held out; a 60 frames from `first` on."""
    changes = {
        name: {"decode_source_frame": at + np.arange(60, dtype=np.int32)} for name, at in (("a", first), ("b", 100))
    }
    table = choose(tmp_path, (60, 60), role="holdout", cuts={"b": (20, 30)}, changes=changes)
    assert table.metadata["interleaved"] == near


def test_test_clips_keep_blurred_and_duplicate_frames(tmp_path):
    changes = {"decode_duplicate": np.ones(10, bool), "decode_sharpness": np.zeros(10)}
    changes["fit_fitted"] = np.arange(10) != 4
    table = choose(tmp_path, (10,), role="test", changes={"a": changes})
    assert set(table["split"]) == {"test"} and table["used"].sum() == 9 and table["reason"][4] == "lost fit"


def test_too_few_frames_are_refused_with_the_reasons(tmp_path):
    face = np.zeros(60, bool)
    face[:5] = True
    with pytest.raises(UserError, match=r"'x' has 5 usable frames to train on.*55 no face"):
        choose(tmp_path, (60,), changes={"a": {"decode_face": face}})
    with pytest.raises(UserError, match="at least 20 are needed"):
        choose(tmp_path, (5,))
    with pytest.raises(UserError, match="to measure on"):
        choose(tmp_path, (30,), role="test", changes={"a": {"fit_fitted": np.zeros(30, bool)}})
    assert not (tmp_path / "samples.parquet").exists()


def test_manifests_of_another_clip_are_refused(tmp_path):
    write_manifests(tmp_path / "a", 60)
    write_manifests(tmp_path / "b", 50)
    line = ["--subject", "x", "--clips", "a", "--out", str(tmp_path / "s.parquet")]
    for kind in KINDS:
        line += [f"--{kind}", str(tmp_path / ("b" if kind == "fit" else "a") / f"{kind}.parquet")]
    args = samples.build_parser().parse_args(line)
    args.settings = Samples()
    with pytest.raises(UserError, match="is not about the frames of"):
        samples.run(args)


def test_another_image_changes_the_manifest(tmp_path):
    before = choose(tmp_path).metadata["pictures"]
    hashes = np.array(["0" * 16] * 60, dtype=object)
    hashes[7] = "1" * 16
    assert choose(tmp_path, changes={"a": {"matting_alpha_hash": hashes}}).metadata["pictures"] != before


def test_rare_frames_weigh_more_but_mildly():
    random = np.random.default_rng(0)
    rotation, expression = random.normal(size=(300, 3)) * 0.02, random.normal(size=(300, 4))
    rotation[:10] += 0.6  # ten frames of a turned head
    weights = rarity_weights(rotation, expression, 0.5)
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    assert weights[:10].mean() > 1.1 * weights[10:].mean() and weights.max() <= 9 * weights.min() * 1.001
    assert (rarity_weights(rotation, expression, 0.0) == 1).all()
