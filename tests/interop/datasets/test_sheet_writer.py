"""Test that rows are added to a sheet once, and that an error leaves the sheet unchanged."""

import pytest

from selfieavatar.errors import UserError
from selfieavatar.interop.datasets.sheet_writer import add_to_sheet, as_text
from selfieavatar.settings.clip_sheet import Clip, read_sheet

ONE = Clip("M003", "a", "train", "/videos/a.mp4", None, None, "mead", "licence", "smoke")
TWO = Clip("M003", "b", "test", "/videos/b.mp4", 3, 9, "mead", "licence", "smoke")


def test_rows_are_added_once(tmp_path):
    path = tmp_path / "sheet.tsv"
    assert add_to_sheet(path, [ONE]) == 1
    path.write_text("# mine\n" + path.read_text().rstrip("\n"))  # a comment, and no line end
    assert add_to_sheet(path, [ONE, TWO]) == 1
    assert read_sheet(path).clips == [ONE, TWO] and path.read_text().startswith("# mine\n")
    before = path.read_bytes()
    assert add_to_sheet(path, [ONE, TWO]) == 0 and path.read_bytes() == before


def test_a_comment_precedes_its_rows(tmp_path):
    path = tmp_path / "sheet.tsv"
    add_to_sheet(path, [ONE], "drawn by\tseed 1")
    add_to_sheet(path, [ONE, TWO], "drawn by seed 2")
    assert [line.split("\t")[0] for line in path.read_text().splitlines()] == [
        "subject", "# drawn by seed 1", "M003", "# drawn by seed 2", "M003"
    ]  # fmt: skip
    assert read_sheet(path).clips == [ONE, TWO]
    before = path.read_bytes()
    assert add_to_sheet(path, [ONE, TWO], "drawn by seed 3") == 0 and path.read_bytes() == before


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (Clip("M003", "a", "test", "/videos/a.mp4", None, None, "mead", "licence", "smoke"), "already, and it differs"),
        (Clip("M003", "c", "train", "/videos/c.mp4", None, None, "mead", "licence", ""), "sheet.tsv, row 3: subject"),
        (Clip("M003", "c", "train", "/videos/\tc.mp4", None, None, "mead", "licence", "smoke"), "tab or a line break"),
        (Clip("M003", "c", "train", "/videos/{c}.mp4", None, None, "mead", "licence", "smoke"), "brace"),
    ],
)
def test_an_invalid_row_leaves_the_sheet_unchanged(tmp_path, clip, words):
    path = tmp_path / "sheet.tsv"
    add_to_sheet(path, [ONE])
    before = path.read_bytes()
    with pytest.raises(UserError, match=words):
        add_to_sheet(path, [clip])
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["sheet.tsv"]


def test_text():
    assert as_text([TWO]) == "M003\tb\ttest\t/videos/b.mp4\t3\t9\tmead\tlicence\tsmoke\n"
