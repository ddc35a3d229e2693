"""Ranges of frames that decode leaves out: as a fact of its manifest, and in words."""

import numpy as np
import pyarrow as pa

from selfieavatar.footage.left_out import FACT, counts_of, left_out, ranges_of, reasons_of, sentences
from selfieavatar.io.manifest import Manifest

REASON = np.array(["", "x", "x", "", "y", "x", ""], dtype=object)


def test_ranges_come_back_as_rows():
    ranges = ranges_of(REASON)
    assert ranges == [(1, 3, "x"), (4, 5, "y"), (5, 6, "x")] and ranges_of(np.full(3, "", object)) == []
    decode = Manifest("decode", pa.table({"frame": range(7)}), {FACT: [list(one) for one in ranges]})
    assert left_out(decode).tolist() == (REASON != "").tolist()
    assert reasons_of(decode.metadata, 7).tolist() == REASON.tolist() and counts_of(REASON) == {"x": 3, "y": 1}
    assert not left_out(Manifest("decode", decode.table, {})).any(), "a manifest from before"


def test_each_reason_is_one_sentence_with_the_source_s_frames():
    said = sentences(ranges_of(REASON), np.arange(100, 107))
    assert said == ["3 frames show x and are left out: 101 to 102, 105", "one frame shows y and is left out: 104"]


def test_a_long_list_is_cut():
    flicker = np.array(["x", ""] * 10, dtype=object)
    assert sentences(ranges_of(flicker), np.arange(20))[0].endswith("and 4 more ranges")
