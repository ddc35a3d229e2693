"""Test running numbers, the table of frames, and the match of images to frames."""

import pytest

from selfieavatar.errors import UserError
from selfieavatar.interop.exporters.frames import (
    ExportedFrame,
    as_table,
    choose_frames,
    pair,
    parse_table,
    refuse_outdated,
)
from selfieavatar.io.manifest import read_manifest
from tests.interop.exporters.makers import write_subject

DIGEST = "0123456789abcdef"
FRAMES = [ExportedFrame(k, "anna", "t", 2 * k, "test", DIGEST) for k in range(3)]
HEADER = "number\tsubject\tclip\tframe\tsplit\timages\n"


def test_numbers_run_over_all_clips_and_others_are_counted(tmp_path):
    write_subject(tmp_path)
    samples = [read_manifest(tmp_path / name, "samples") for name in ("samples.parquet", "test_samples.parquet")]
    frames, left_out = choose_frames(samples, "all")
    assert [frame.number for frame in frames] == list(range(13))
    assert [(f.clip, f.frame) for f in frames[:6]] == [("a", 0), ("a", 2), ("a", 3), ("a", 4), ("a", 5), ("b", 0)]
    assert [f.split for f in frames] == ["train"] * 7 + ["val"] + ["train"] + ["test"] * 4
    assert left_out == {"duplicate": 1, "no face": 1}
    tests, lost = choose_frames(samples, "test")
    assert [(f.number, f.clip, f.frame) for f in tests] == [(0, "t", 0), (1, "t", 1), (2, "t", 2), (3, "t", 4)]
    assert lost == {"no face": 1}
    assert {f.split for f in choose_frames(samples, "train")[0]} == {"train", "val"}


def test_the_table_is_read_as_it_was_written():
    assert parse_table(as_table(FRAMES), "x", "anna") == FRAMES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a table of frames"),
        ("a\tb\n", "not a table of frames"),
        (HEADER + f"0\tanna\t../t\t0\ttest\t{DIGEST}\n", "line 2: '../t' is not a valid clip"),
        (HEADER + f"0\tanna\tt\t-1\ttest\t{DIGEST}\n", "'-1' is not a valid frame"),
        (HEADER + f"0\tbert\tt\t1\ttest\t{DIGEST}\n", "about subject 'bert', not 'anna'"),
        (HEADER + f"0\tanna\tt\t1\tother\t{DIGEST}\n", "unknown split 'other'"),
        (HEADER + "0\tanna\tt\t1\n", "4 cells instead of 6"),
        (HEADER + f"0\tanna\tt\t1\ttest\t{DIGEST}\n" * 2, "names|line"),
        (HEADER + f"0\tanna\tt\t1\ttest\t{DIGEST}\n1\tanna\tt\t1\ttest\t{DIGEST}\n", "twice"),
    ],
)
def test_a_table_that_was_changed_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        parse_table(text, "frames.tsv", "anna")


def test_images_are_found_by_the_last_number_in_their_names():
    found = pair(FRAMES, ["epoch12_0002.png", "epoch12_0000.png", "epoch12_0001.png"], "test", "number")
    assert [(frame.frame, name) for frame, name in found] == [
        (0, "epoch12_0000.png"), (2, "epoch12_0001.png"), (4, "epoch12_0002.png")
    ]  # fmt: skip


def test_images_in_order():
    assert [name for _, name in pair(FRAMES, ["7.png", "8.png", "9.png"], "test", "order")] == [
        "7.png",
        "8.png",
        "9.png",
    ]


@pytest.mark.parametrize(
    ("names", "by", "said"),
    [
        (["0.png", "1.png"], "number", "1 of the 3 frames of split 'test' have no image, the first is number 2"),
        (["0.png", "1.png", "2.png", "9.png"], "number", "1 images have numbers that the table of frames lacks"),
        (["0.png", "000000.png"], "number", "have the same running number"),
        (["face.png"], "number", "has no running number"),
        (["0.png", "1.png"], "order", "2 images for the 3 frames"),
    ],
)
def test_counts_and_numbers_must_agree(names, by, said):
    with pytest.raises(UserError, match=said):
        pair(FRAMES, names, "test", by)


def test_images_of_other_splits_may_lie_there():
    frames = [*FRAMES, ExportedFrame(3, "anna", "a", 0, "train", DIGEST)]
    assert len(pair(frames, ["0.png", "1.png", "2.png", "3.png"], "test", "number")) == 3


def test_tracking_anew_outdates_the_table():
    refuse_outdated(FRAMES, list(reversed(FRAMES)), "test")
    anew = [ExportedFrame(f.number, f.subject, f.clip, f.frame, f.split, "f" * 16) for f in FRAMES]
    for now in (anew, FRAMES[:2]):
        with pytest.raises(UserError, match="have changed since the export"):
            refuse_outdated(FRAMES, now, "test")
