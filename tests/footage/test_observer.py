"""Measures of single frames: false detections come and go, and a part that is held out is measured by itself."""

import numpy as np
import pytest

from selfieavatar.footage.observer import Observer, flashes


@pytest.mark.parametrize(
    "face, gone",
    [
        ("1111100000010000000", "0000000000010000000"),
        ("0000000110000011111", "0000000110000000000"),
        ("1111101111100111111", "0000000000000000000"),  # short gaps are no flashes
        ("1111100111000000000", "0000000000000000000"),
        ("0000010000000000000", "0000000000000000000"),  # nothing else to go by
    ],
)
def test_flashes(face, gone):
    as_bool = [np.array([c == "1" for c in text]) for text in (face, gone)]
    assert flashes(as_bool[0]).tolist() == as_bool[1].tolist()


def test_each_part_of_a_clip_is_measured_by_itself():
    """A face in the part that is held out keeps nothing in the other part, which alone would drop it as a flash."""
    observer = Observer(None, 64, np.zeros(4), 10, 1, 10)
    face = [True] * 4 + [False] * 5 + [True] * 11
    observer.boxes = [np.arange(4.0) if seen else np.full(4, np.nan) for seen in face]
    observer.changes, observer.sharp = [(5.0, 9.0)] * 20, [1.0] * 20
    whole = observer.columns(np.full(20, "train", object))
    split = observer.columns(np.array(["train"] * 10 + ["test"] * 10, object))
    assert whole["face"].tolist() == face
    assert np.flatnonzero(split["face"] != whole["face"]).tolist() == [9]
