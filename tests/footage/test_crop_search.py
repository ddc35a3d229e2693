"""Which frames decide the crop."""

from types import SimpleNamespace

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.footage.crop_search import deciding_frames, refuse_too_few, sampled_frames

SOURCE = SimpleNamespace(count=10, path="a.mp4")


def test_the_union_of_the_ranges_decides_but_for_what_is_held_out():
    held = np.arange(10) >= 7
    assert deciding_frames(SOURCE, [[0, 2], [1, 4], [6, None]], held).tolist() == [0, 1, 2, 3, 6]
    assert deciding_frames(SOURCE, [[8, None]], held).tolist() == [8, 9], "what is held out as a whole stands alone"


def test_samples_lie_in_the_middles_of_equal_parts():
    numbers = np.arange(100, 200)
    assert sampled_frames(numbers, 4) == [112, 137, 162, 187]
    assert sampled_frames(numbers[:3], 8) == [100, 101, 102]


def test_a_person_who_is_seldom_seen_is_refused():
    refuse_too_few(SOURCE, 10, 100, "frames")
    with pytest.raises(UserError, match="in only 9 of 100 frames: cut the clip"):
        refuse_too_few(SOURCE, 9, 100, "frames")
