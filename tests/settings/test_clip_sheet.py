"""The sheet of clips: what is read, and the one sentence for each mistake."""

import pytest

from selfieavatar.errors import UserError
from selfieavatar.settings.clip_sheet import COLUMNS, read_sheet
from selfieavatar.settings.typed_paths import why_missing

HEADER = "\t".join(COLUMNS)
ROW = "anna\ttalk\ttrain\tanna.mp4\t\t\tselfie\tself\t"


def sheet(tmp_path, *rows, header=HEADER):
    path = tmp_path / "subjects.tsv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_rows_become_clips(tmp_path):
    test_row = "anna\tsmile\ttest\tsmile.mp4\t10\t20\tselfie\tself\t"
    demo_row = "bert\ttalk\tdrive\tdemo:7\t\t\tdemo\tsynthetic\tcpu-128"
    found = read_sheet(sheet(tmp_path, ROW, "# a comment", "", test_row, demo_row))
    assert found.subjects() == ["anna"]
    assert [clip.clip for clip in found.of("anna")] == ["talk", "smile"]
    assert found.clip("anna", "smile").start_frame == 10 and found.clip("anna", "talk").end_frame is None
    assert found.clip("bert", "talk").demo_seed == 7 and found.preset("bert") == "cpu-128"


def test_a_subject_is_of_the_data_sets_that_it_is_measured_on(tmp_path):
    rows = [ROW, "bert\ta\ttrain\tb.mp4\t\t\tselfie\tself\t", "bert\tb\ttest\tc.mp4\t\t\tmead\tlicence\t"]
    rows.append("bert\tc\ttest\td.mp4\t\t\timavatar\tlicence\t")
    found = read_sheet(sheet(tmp_path, *rows))
    assert [found.dataset(name) for name in ("anna", "bert")] == ["selfie", "mead+imavatar"]


def test_all_wrong_rows_are_said_together(tmp_path):
    wrong = ROW.replace("talk", "b").replace("\tself\t", "\t\t")
    rows = [ROW, wrong, ROW.replace("talk", "c").replace("train", "trian")]
    with pytest.raises(UserError, match="row 3: consent is empty.*\n.*row 4: unknown role 'trian'"):
        read_sheet(sheet(tmp_path, *rows))
    odd = ROW.replace("train", "trian").replace("anna.mp4\t\t", "anna.mp4\t9\t5")  # a clip of another row, besides
    both = "row 2: unknown role.*\n.*row 2: end_frame 5 must.*\n.*row 4: clip 'talk' of subject 'anna' stands in row 3"
    with pytest.raises(UserError, match=both):
        read_sheet(sheet(tmp_path, odd, ROW, ROW, rows[1]))
    with pytest.raises(UserError, match="row 12: consent.*\nand 20 more faults"):
        read_sheet(sheet(tmp_path, ROW, *[rows[1].replace("\tb\t", f"\tb{n}\t") for n in range(30)]))


def test_only_training_clips_decide_the_crop(tmp_path):
    rows = [ROW.replace("\t\t\tself", "\t0\t9\tself"), "anna\tt2\ttest\tanna.mp4\t9\t12\tselfie\tself\t"]
    assert read_sheet(sheet(tmp_path, *rows)).ranges("anna", "anna.mp4") == [[0, 9]]


def test_a_test_clip_knows_what_is_trained_on_beside_it(tmp_path):
    rows = [
        ROW.replace("\t\t\tself", "\t0\t9\tself"),
        ROW.replace("talk", "more").replace("\t\t\tself", "\t20\t\tself"),
    ]
    rows += ["anna\tt2\ttest\t./anna.mp4\t9\t12\tselfie\tself\t", "anna\tt3\ttest\tb.mp4\t\t\tselfie\tself\t"]
    found = read_sheet(sheet(tmp_path, *rows)).trained_beside("anna")
    assert found == {"t2": [[0, 9], [20, None]], "t3": []}


def test_a_driver_is_named_by_subject_and_clip(tmp_path):
    rows = [ROW, ROW.replace("talk\ttrain", "x--y\tdrive"), ROW.replace("anna\t", "anna--x\t").replace("talk", "y")]
    found = read_sheet(sheet(tmp_path, *rows))
    assert found.driver("anna--talk").clip == "talk"
    with pytest.raises(UserError, match="clip 'x--y' of 'anna' and clip 'y' of 'anna--x'; rename"):
        found.driver("anna--x--y")
    with pytest.raises(UserError, match="no clip of the sheet is called 'anna--walk'.*it has: anna--talk"):
        found.driver("anna--walk")


def test_two_spellings_of_a_source_are_one(tmp_path):
    rows = [ROW.replace("mp4\t\t", "mp4\t5\t"), "anna\tt2\ttrain\t./anna.mp4\t0\t5\tselfie\tself\t"]
    assert read_sheet(sheet(tmp_path, *rows)).ranges("anna", "anna.mp4") == [[5, None], [0, 5]]


def test_frames_that_are_trained_on_twice_cannot_be_held_out(tmp_path):
    rows = [ROW, "anna\tt2\ttrain\t./anna.mp4\t0\t5\tselfie\tself\t"]
    with pytest.raises(UserError, match=r"row 3: clips 't2' and 'talk' \(row 2\) share frames"):
        read_sheet(sheet(tmp_path, *rows))
    read_sheet(sheet(tmp_path, *rows, ROW.replace("talk\ttrain\tanna.mp4", "other\ttest\tother.mp4")))


def test_a_quotation_mark_is_part_of_a_name(tmp_path):
    assert read_sheet(sheet(tmp_path, ROW.replace("anna.mp4", '"a" b.mp4'))).clips[0].source == '"a" b.mp4'


def test_unknown_subjects_and_subjects_without_training_clips(tmp_path):
    found = read_sheet(sheet(tmp_path, ROW, "bert\ttalk\tdrive\tb.mp4\t\t\tselfie\tself\t"))
    with pytest.raises(UserError, match="no subject 'carl' in the sheet; it has: anna, bert"):
        found.preset("carl")
    with pytest.raises(UserError, match="subject 'bert' has no clip of role 'train'"):
        found.to_train("bert")
    assert found.to_train("anna") == ["talk"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW.replace("train", "trian"), "row 2: unknown role 'trian'"),
        (ROW.replace("selfie", "selfies"), "row 2: unknown dataset 'selfies'"),
        (ROW.replace("\tself\t", "\t\t"), "row 2: consent is empty; nobody"),
        (ROW.replace("\tself\t", "\tyes\t"), "row 2: unknown consent 'yes'"),
        (ROW.replace("anna\t", "../x\t", 1), "row 2: subject '../x' must"),
        (ROW.replace("anna\t", "Logs\t", 1), "row 2: subject 'Logs' is the name of a folder that all subjects share"),
        (ROW.replace("anna.mp4\t\t", "anna.mp4\t5\t3"), "row 2: end_frame 3 must be greater than start_frame 5"),
        (ROW.replace("anna.mp4\t\t", "anna.mp4\t-1\t"), "row 2: start_frame '-1' must be a whole number"),
        (ROW.replace("anna.mp4", ""), "row 2: source is empty"),
        (ROW.replace("anna.mp4", "demo:x"), "row 2: source 'demo:x' must be demo:<seed>"),
        (ROW.replace("anna.mp4", "me.JPG"), "row 2: source 'me.JPG' is one image, which trains no avatar"),
        (ROW.replace("anna.mp4", "{x}.mp4"), "row 2: source '{x}.mp4' has a brace"),
        (ROW.replace("anna.mp4", "a\0.mp4"), "has a NUL character"),
        (ROW + "nosuch", "row 2: unknown preset 'nosuch'"),
        (ROW + "\t\tmore", "row 2: 11 cells under 9 columns"),
        (ROW.replace("\t", " "), "row 2: 1 cell under 9 columns; put one tab between columns, not spaces"),
        (ROW.replace("\t\t\t", "\t"), "row 2: 7 cells under 9 columns"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, said):
    with pytest.raises(UserError, match="subjects.tsv") as caught:
        read_sheet(sheet(tmp_path, row))
    assert said in str(caught.value)


def test_one_photo_may_be_measured_and_drive(tmp_path):
    rows = [f"anna\t{role}\t{role}\t{role}.jpg\t\t\tselfie\tself\t" for role in ("test", "drive")]
    assert len(read_sheet(sheet(tmp_path, ROW, *rows)).clips) == 3


def test_a_repeated_clip_is_named_with_both_rows(tmp_path):
    with pytest.raises(UserError, match="row 3: clip 'talk' of subject 'anna' stands in row 2 already"):
        read_sheet(sheet(tmp_path, ROW, ROW))


def test_test_frames_inside_training_frames_are_refused(tmp_path):
    train, test = ROW.replace("mp4\t\t", "mp4\t0\t80"), ROW.replace("talk\ttrain", "two\ttest")
    for span in ("40\t70", "79\t", "\t"):
        with pytest.raises(UserError, match="row 3: clip 'two' measures frames that clip 'talk' in row 2 trains on"):
            read_sheet(sheet(tmp_path, train, test.replace("anna.mp4\t\t", f"./anna.mp4\t{span}")))
    for good in (test.replace("mp4\t\t", "mp4\t80\t"), test.replace("anna.mp4", "other.mp4")):
        assert len(read_sheet(sheet(tmp_path, train, good)).clips) == 2


def test_two_spellings_of_a_seed_are_one_actor(tmp_path):
    rows = [ROW.replace("anna.mp4", "demo:1"), ROW.replace("talk\ttrain\tanna.mp4", "two\ttest\tdemo:01")]
    with pytest.raises(UserError, match="row 3: clip 'two' measures frames"):
        read_sheet(sheet(tmp_path, *rows))


def test_a_home_of_nobody_is_said(tmp_path):
    rows = [ROW.replace("anna.mp4", "~nobodyhere/v.mp4"), ROW.replace("talk\ttrain", "two\ttest")]
    with pytest.raises(UserError, match="'~nobodyhere/v.mp4' cannot be resolved"):
        read_sheet(sheet(tmp_path, *rows))


def test_names_that_differ_only_in_case_are_refused(tmp_path):
    with pytest.raises(UserError, match="row 3: subject 'Anna' differs only in case from 'anna' in row 2"):
        read_sheet(sheet(tmp_path, ROW, ROW.replace("anna\t", "Anna\t", 1).replace("talk", "two")))
    with pytest.raises(UserError, match="row 3: clip 'Talk' of subject 'anna' stands in row 2 already"):
        read_sheet(sheet(tmp_path, ROW, ROW.replace("talk", "Talk")))


def test_two_presets_of_one_subject_are_refused(tmp_path):
    with pytest.raises(UserError, match="row 3: subject 'anna' has preset 'smoke' here and ''"):
        read_sheet(sheet(tmp_path, ROW, ROW.replace("talk", "two") + "smoke"))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER.replace("role", "rolle"), "unknown column 'rolle'; column 'role' is missing"),
        (
            HEADER.replace("\t", ","),
            "1 cell under 9 columns; put one comma between columns, not spaces, as in the header",
        ),
        (HEADER + "\trole", "column 'role' stands twice"),
        (HEADER.replace("\t", "  "), "separated by spaces"),
    ],
)
def test_a_wrong_header_is_named(tmp_path, header, said):
    with pytest.raises(UserError, match=said):
        read_sheet(sheet(tmp_path, ROW, header=header))


def test_missing_and_empty_sheets(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_sheet(tmp_path / "none.tsv")
    (tmp_path / "empty.tsv").write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        read_sheet(tmp_path / "empty.tsv")
    with pytest.raises(UserError, match="no clips below its header"):
        read_sheet(sheet(tmp_path, "\t".join([" "] * 9)))
    with pytest.raises(UserError, match="no clips below its header"):
        read_sheet(sheet(tmp_path))


def saved(tmp_path, *rows, delimiter="\t", encoding="utf-8-sig", end="\r\n"):
    """A sheet as a spreadsheet saves it."""
    path = tmp_path / "saved.tsv"
    lines = [HEADER, *rows]
    path.write_bytes(end.join(line.replace("\t", delimiter) for line in [*lines, ""]).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [("\t", "utf-8-sig"), (";", "utf-8-sig"), (",", "utf-8"), ("\t", "utf-16")]
)
def test_a_sheet_that_a_spreadsheet_saved(tmp_path, delimiter, encoding):
    rows = [ROW.replace("anna.mp4", '"anna, ""the; first"".mp4"'), '"# a, comment"' + "\t" * 8, "\t" * 8]
    found = read_sheet(saved(tmp_path, *rows, delimiter=delimiter, encoding=encoding)).clips
    assert [(clip.source, clip.preset) for clip in found] == [('anna, "the; first".mp4', "")]
    with pytest.raises(UserError, match=f"row 3: {10 if delimiter != chr(9) else 1} cell"):
        read_sheet(
            saved(tmp_path, ROW, ROW.replace("talk", "b") + "\t" if delimiter != "\t" else "a b", delimiter=delimiter)
        )


def test_names_are_found_in_both_forms_of_unicode(tmp_path, monkeypatch):
    """macOS composes an accent of two characters, keyboards type one."""
    monkeypatch.chdir(tmp_path)
    composed, apart = "Zo\u00eb", "Zoe\u0308"
    for there, typed in ((composed, apart), (apart, composed)):
        path = tmp_path / there / f"{there}.mp4"
        path.parent.mkdir()
        path.touch()
        for source in (f"{typed}/{typed}.mp4", f"{tmp_path}/{typed}/{typed}.mp4", f"{typed}/{there}.mp4"):
            clip = read_sheet(sheet(tmp_path, ROW.replace("anna.mp4", source))).clips[0]
            assert not clip.lacks_footage() and clip.source.endswith(f"{there}/{there}.mp4")
        path.unlink()
        path.parent.rmdir()
    missing = ROW.replace("anna.mp4", f"{composed}.mp4")
    assert read_sheet(sheet(tmp_path, missing)).clips[0].source == f"{composed}.mp4"


def test_paths_of_windows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my videos").mkdir()
    (tmp_path / "my videos/a.mp4").touch()
    clip = read_sheet(sheet(tmp_path, ROW.replace("anna.mp4", "my videos\\a.mp4"))).clips[0]
    assert clip.source == "my videos/a.mp4"
    share = "\\\\wsl.localhost\\Ubuntu" + str(tmp_path / "my videos/a.mp4").replace("/", "\\")
    assert read_sheet(sheet(tmp_path, ROW.replace("anna.mp4", share))).clips[0].source == f"{tmp_path}/my videos/a.mp4"
    source = r"C:\Users\anna\selfie.mp4"
    assert read_sheet(sheet(tmp_path, ROW.replace("anna.mp4", source))).clips[0].source == source
    assert why_missing(source) == " (it is a path of Windows, which would be /mnt/c/Users/anna/selfie.mp4 here)"
    assert why_missing("anna.mp4") == ""


def test_a_source_that_looks_like_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-x.mp4").touch()
    assert read_sheet(sheet(tmp_path, ROW.replace("anna.mp4", "-x.mp4"))).clips[0].source == str(tmp_path / "-x.mp4")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW.replace("anna.mp4", "x" * 140_000), r"row 2: it has \d+ characters, more than any path takes"),
        (ROW.replace("anna.mp4", "/x" * 3000), r"row 2: source '/x/x.*\.\.\.' has 6000 bytes; a path has at most 4095"),
        (ROW.replace("anna.mp4", "ä" * 150), "row 2: source 'ä.*' has a name of 300 bytes; files have at most 255"),
        (ROW.replace("anna\t", "x" * 300 + "\t", 1), r"row 2: subject 'x+\.\.\.' has 300 characters; it names files"),
        (
            ROW.replace("anna.mp4", "<x>.mp4"),
            "row 2: source '<x>.mp4' has <x>, which stands for a path of the workflow",
        ),
        (ROW.replace("train", "y" * 5000), r"row 2: unknown role 'y{77}\.\.\.'"),
    ],
)
def test_odd_cells_are_named_in_a_short_sentence(tmp_path, row, said):
    with pytest.raises(UserError, match=said) as caught:
        read_sheet(sheet(tmp_path, row))
    assert len(str(caught.value)) < 400
    long_names = read_sheet(sheet(tmp_path, ROW.replace("anna\t", "x" * 100 + "\t", 1)))
    assert long_names.subjects() == ["x" * 100]


def test_a_header_that_is_none_is_named(tmp_path):
    for rows in ([], [ROW]):
        with pytest.raises(UserError, match="subjects.tsv, row 1: it has 140000 characters"):
            read_sheet(sheet(tmp_path, *rows, header="x" * 140_000))
