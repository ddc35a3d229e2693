"""Frames held out: how many, and what each stage then takes for a clip of its own."""

import numpy as np
import pyarrow as pa

from selfieavatar.footage.holdout import cut_facts, filled_torso, hold_out, kept_frames, parts, split_of
from selfieavatar.io.manifest import Manifest


def steady(*counts, fps=25):
    """Clips of frames that are evenly spaced."""
    return [(np.arange(count) / fps, fps) for count in counts]


def clip(split):
    return Manifest("decode", pa.table({"frame": range(len(split))}), cut_facts(split))


def test_the_cut_of_all_clips_together_reaches_each():
    first, second = (clip(split) for split in hold_out(steady(30, 50), 0.25, 0.2))
    assert [len(part) for part in kept_frames([first, second])] == [30, 50]
    assert kept_frames([first])[0].all() and kept_frames([second])[0].tolist() == [True] * 25 + [False] * 25
    assert split_of(second)[25:].tolist() == ["gap"] * 5 + ["test"] * 20
    assert parts(first) == [slice(0, 30)] and parts(second) == [slice(0, 25), slice(25, 50)]


def test_a_clip_without_a_cut_is_one_part():
    whole = Manifest("decode", pa.table({"frame": range(9)}), {})
    assert kept_frames([whole])[0].all() and parts(whole) == [slice(0, 9)]
    assert parts(clip(*hold_out(steady(9), 0.2, 0.8))) == [slice(0, 9)]  # held out as a whole


def test_an_unknown_torso_is_filled_from_its_own_part():
    torso = np.array([[1.0, 0], [np.nan, np.nan], [9, 0], [9, 0]], np.float32)
    table = pa.table({"torso": pa.FixedSizeListArray.from_arrays(pa.array(torso.ravel()), 2)})
    for cut, filled in ((2, 1), (1, 9), (4, 1)):
        found = filled_torso(Manifest("fit", table, {"held_from": cut, "test_from": cut}))
        assert found[:, 0].tolist() == [1, filled, 9, 9]


def counts(clips, share, gap_s):
    return [
        [int((split == name).sum()) for name in ("train", "gap", "test")] for split in hold_out(clips, share, gap_s)
    ]


def test_hold_out_counts():
    assert counts(steady(100), 0.25, 0.4) == [[65, 10, 25]]
    assert counts(steady(100), 0, 0.4) == [[100, 0, 0]] and counts(steady(9), 0.5, 0) == [[5, 0, 4]]
    assert counts(steady(100, fps=30000 / 1001), 0.2, 1.0) == [[50, 30, 20]]
    assert counts(steady(100), 0.2, 0.5) == [[67, 13, 20]], "never less than asked for"


def test_the_gap_of_each_clip_has_its_own_rate():
    slow, fast = steady(100, fps=25) + steady(100, fps=50)
    assert counts([slow, fast], 0.25, 1.0) == [[100, 0, 0], [0, 50, 50]]
    assert counts([fast, slow], 0.25, 1.0) == [[100, 0, 0], [25, 25, 50]]
    assert counts([slow, fast], 0.4, 1.0) == [[85, 15, 0], [0, 20, 80]], "0.4 s of the fast one, 0.6 s of the slow one"


def test_a_pause_does_not_shorten_the_gap():
    times = np.arange(200) / 25 + 60.0 * (np.arange(200) >= 155)
    assert counts([(times, 25.0)], 0.2, 1.0) == [[135, 25, 40]]


def test_the_gap_lasts_as_long_where_frames_come_faster():
    """A phone films 30 images a second in the dark and 60 in the light; its average is between."""
    times = np.concatenate([np.arange(100) / 30, 100 / 30 + np.arange(100) / 60])
    assert counts([(times, 40.0)], 0.2, 1.0) == [[100, 60, 40]]


def test_times_of_whole_milliseconds_cost_no_frame():
    for fps in (24, 25, 30000 / 1001, 30, 50, 60):
        times = np.round(np.arange(400) / fps, 3)
        assert counts([(times, fps)], 0.2, 1.0)[0][1] == round(fps)
