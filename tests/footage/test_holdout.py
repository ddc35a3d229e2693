"""Frames held out: how many, and what each stage then takes for a clip of its own."""

import numpy as np
import pyarrow as pa

from selfieavatar.footage.holdout import cut_facts, filled_torso, hold_out, kept_frames, parts, split_of
from selfieavatar.io.manifest import Manifest


def clip(split):
    return Manifest("decode", pa.table({"frame": range(len(split))}), cut_facts(split))


def test_the_cut_of_all_clips_together_reaches_each():
    first, second = (clip(split) for split in np.split(hold_out(80, 0.25, 5), [30]))
    assert [len(part) for part in kept_frames([first, second])] == [30, 50]
    assert kept_frames([first])[0].all() and kept_frames([second])[0].tolist() == [True] * 25 + [False] * 25
    assert split_of(second)[25:].tolist() == ["gap"] * 5 + ["test"] * 20
    assert parts(first) == [slice(0, 30)] and parts(second) == [slice(0, 25), slice(25, 50)]


def test_a_clip_without_a_cut_is_one_part():
    whole = Manifest("decode", pa.table({"frame": range(9)}), {})
    assert kept_frames([whole])[0].all() and parts(whole) == [slice(0, 9)]
    assert parts(clip(hold_out(9, 0.2, 20))) == [slice(0, 9)]  # held out as a whole


def test_an_unknown_torso_is_filled_from_its_own_part():
    torso = np.array([[1.0, 0], [np.nan, np.nan], [9, 0], [9, 0]], np.float32)
    table = pa.table({"torso": pa.FixedSizeListArray.from_arrays(pa.array(torso.ravel()), 2)})
    for cut, filled in ((2, 1), (1, 9), (4, 1)):
        found = filled_torso(Manifest("fit", table, {"held_from": cut, "test_from": cut}))
        assert found[:, 0].tolist() == [1, filled, 9, 9]


def test_hold_out_counts():
    split = hold_out(100, 0.25, 10)
    assert [(split == name).sum() for name in ("train", "gap", "test")] == [65, 10, 25]
