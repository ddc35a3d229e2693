"""The table of results holds what was measured, says what is missing and why, and mixes nothing."""

import json

import numpy as np
import pytest

from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.io.files import content_hash, write_json
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.io.schemas import SCHEMAS
from selfieavatar.settings import cli
from stages import compare
from tests.evaluation.made_up import SHEET_HEAD, metrics


def row(subject, clip, role, dataset="selfie"):
    return f"{subject}\t{clip}\t{role}\t{subject}-{clip}.mp4\t\t\t{dataset}\tself\tsmoke\n"


@pytest.fixture
def results(tmp_path):
    """Anna with a variant and somebody else's images, Bert with an avatar alone; Carl has failed."""
    sheet = SHEET_HEAD + "".join(row(name, "talk", "train") for name in ("anna", "bert", "carl"))
    (tmp_path / "sheet.tsv").write_text(sheet)
    folder = tmp_path / "results"
    write_json(folder / "anna/metrics.json", metrics("anna", 28.5))
    write_json(folder / "anna/variants/unet/metrics.json", metrics("anna", 26.0, "unet"))
    write_json(folder / "anna/external/peer/metrics.json", metrics("anna", 27.0, training=None, speed=None))
    write_json(folder / "bert/metrics.json", metrics("bert", 22.0, copies=(20.0, 23.0)))
    for avatar in ("anna", "anna/variants/unet", "bert"):
        (folder / avatar / "avatar.pt").touch()
    (folder / "carl/logs").mkdir(parents=True)
    (folder / "carl/logs/talk.decode.log").write_text("error: decode: no face")
    return folder


def run(results):
    argv = ["--results", str(results), "--subjects", str(results.parent / "sheet.tsv")]
    cli.main(compare.build_parser(), compare.run, argv)
    return (results / "table.md").read_text(), read_manifest(results / "table.parquet", "table").table.to_pandas()


def rows_of(page, heading):
    """Cells of the table under a heading, by their first two."""
    part = page.partition(f"{heading}\n")[2].partition("\n#")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {tuple(row[:2]): row[2:] for row in cells}


def test_every_method_of_every_subject_has_a_row(results):
    page, _ = run(results)
    rows = rows_of(page, "### selfie, the face")
    assert {subject for subject, _ in rows} == {"mean of 2", "anna", "bert", "carl"}
    assert [method for subject, method in rows if subject == "anna"] == [
        "mean frame (baseline)", "nearest training frame (baseline)", "peer (external)", "unet (variant)", "ours",
    ]  # fmt: skip
    assert rows["anna", "ours"][:3] == ["30", "**28.50** (27.50–29.50)", "**0.713**"]


def test_the_tracked_torso_stands_beside_ours_and_takes_part_in_no_contest(results):
    write_json(
        results / "anna/metrics.json",
        metrics("anna", 28.5) | {"tracked_torso": metrics("anna", 31.0), "interleaved": ["x"]},
    )
    page, table = run(results)
    rows = rows_of(page, "### selfie, the face")
    assert rows["anna (interleaved)", "ours, torso tracked in the truth"][1].startswith("31.00")
    assert rows["anna (interleaved)", "ours"][1].startswith("**28.50**") and ("bert", "ours") in rows
    assert not any(subject == "bert" and "torso" in method for subject, method in rows)
    mine = table[(table.kind == "tracked") & (table.metric == "psnr_db") & (table.region == "face")]
    assert mine.value.tolist() == [31.0] and mine.method.tolist() == ["tracked_torso"]


def test_a_method_of_few_subjects_takes_the_means_from_nobody(results):
    for name in ("carl", "dora"):
        write_json(results / name / "metrics.json", metrics(name, 24.0))
        (results / name / "avatar.pt").touch()
    with (results.parent / "sheet.tsv").open("a") as sheet:
        sheet.write(row("dora", "talk", "train"))
    page, _ = run(results)
    assert "4 of 4 subjects that all methods but peer (external) and unet (variant) were measured on" in page
    rows = rows_of(page, "### selfie, the face")
    assert [method for subject, method in rows if subject == "mean of 4"] == [
        "mean frame (baseline)", "nearest training frame (baseline)", "ours",
    ]  # fmt: skip


def test_the_best_of_a_subject_is_bold_whoever_it_is(results):
    page, _ = run(results)
    rows = rows_of(page, "### selfie, the whole image")
    best = {key for key, row in rows.items() if "**" in row[1] and "mean" not in key[0]}
    assert best == {("anna", "ours"), ("bert", "nearest training frame (baseline)")}
    sharp = {key for key, row in rows.items() if "**" in row[-1]}
    assert ("anna", "ours") in sharp  # 0.95 is nearest to 1


def test_means_are_over_the_subjects_that_all_methods_have(results):
    page, _ = run(results)
    assert "2 of 3 subjects that all methods but peer (external) and unet (variant) were measured on" in page
    assert "| bert | unet" not in page and "| bert | peer" not in page, "nobody has asked for them"
    assert "Not asked for, and so not in these tables: peer (external) of bert; unet (variant) of bert." in page
    file = f"{results.name}/bert/variants/unet/metrics.json"
    assert f"`snakemake --cores all {file} --config subjects=sheet.tsv results={results.name}`" in page
    assert str(results.parent) not in page
    write_json(results / "bert/variants/unet/metrics.json", metrics("bert", 24.0, "unet"))
    write_json(results / "bert/external/peer/metrics.json", metrics("bert", 25.0))
    page, _ = run(results)
    assert "Means are over the 2 of 3 subjects that all these methods were measured on: anna, bert." in page
    rows = rows_of(page, "### selfie, the whole image")
    assert rows["mean of 2", "ours"][:2] == ["60", "25.25"] and rows["mean of 2", "peer (external)"][1] == "**26.00**"


def test_what_is_missing_is_a_dash_with_its_reason(results):
    page, table = run(results)
    notes = dict(line.split(": ", 1) for line in page.splitlines() if line.startswith("[^"))
    rows = rows_of(page, "### selfie, the whole image")

    def why(subject, method, column=1):
        dash, _, mark = rows[subject, method][column].partition("[")
        assert dash == "—"
        return notes[f"[{mark}"]

    lost = "not made: carl/clips/talk/decode.parquet is missing; no face (carl/logs/talk.decode.log)"
    assert why("carl", "ours") == lost and [method for subject, method in rows if subject == "carl"] == ["ours"]
    reasons = table[table.subject == "bert"].groupby("method").reason.first()
    assert reasons["unet"].startswith("not made") and reasons["peer"] == "no images of it in bert/external/peer/"
    (results / "bert/external/peer").mkdir(parents=True)
    (results / "bert/external/peer/000000.png").touch()
    rows = rows_of(run(results)[0], "### selfie, the whole image")
    assert rows["bert", "peer (external)"][1].startswith("—")
    assert why("anna", "ours", 4) == "no weights here"
    missing = table[table.value.isna()]
    assert (missing.reason != "").all() and (table[table.value.notna()].reason == "").all()


def test_the_long_table_is_tidy(results):
    _, table = run(results)
    assert set(table.region) == set(REGIONS) and set(table.split) == {"self"} and set(table.dataset) == {"selfie"}
    assert not table.duplicated(["subject", "method", "kind", "split", "region", "metric"]).any()
    mine = table[(table.subject == "anna") & (table.method == "ours") & (table.region == "eyes")].set_index("metric")
    assert tuple(mine.loc["psnr_db", ["value", "low", "high", "frames", "size_px"]]) == (28.5, 27.5, 29.5, 30, 64)
    assert "fid" not in mine.index and np.isnan(mine.loc["ssim", "low"])
    assert not table.method.str.contains("StyleAvatar").any(), "the paper's scores are not ours"


def test_the_paper_s_scores_stand_apart(results):
    page, _ = run(results)
    ours, _, paper = page.partition("## For reference: the table of the paper")
    assert "| StyleAvatar | 0.82 | 23.4 | 0.055 | 27.4 |" in paper and "StyleAvatar" not in ours
    assert "| SelfieAvatar | **0.88** | **28.5** | **0.027** | **13.7** |" in paper


def test_training_and_size_are_said(results):
    page, _ = run(results)
    rows = rows_of(page, "## What was measured")
    assert rows["anna", "ours"] == ["selfie", "cpu (x86\\_64, 2 threads)", "30", "64", "24.2", "4000", "12.5"]
    assert rows["anna", next(m for s, m in rows if m.startswith("peer"))][4:] == ["—", "—", "—"]


def test_scores_without_their_avatar_are_said_to_be_old(results):
    """A new training that failed has removed the avatar, and the scores of the one before still lie there."""
    said = "avatar.pt is not there: these scores may be of an earlier one"
    assert said not in run(results)[0]
    (results / "bert/avatar.pt").unlink()
    assert said in run(results)[0]


def test_scores_of_an_avatar_from_before_are_said_to_be(results):
    said = "these scores are of an avatar from before; snakemake "
    for measured, old in ((content_hash(results / "anna/avatar.pt"), False), ("0" * 16, True)):
        write_json(results / "anna/metrics.json", metrics("anna", 24.2) | {"avatar": measured})
        assert (said in run(results)[0]) == old


def test_an_image_equal_to_the_truth_is_said_to_be(results):
    write_json(results / "anna/external/peer/metrics.json", metrics("anna", 100.0))
    page, table = run(results)
    mine = table[(table.kind == "external") & (table.metric == "psnr_db") & (table.subject == "anna")]
    assert (mine.value == 100).all() and mine.reason.str.startswith("equal to the truth: PSNR is infinite").all()
    assert "PSNR is infinite and counts as 100 dB" in page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not readable"),
        ("[" * 100000, "is not readable"),
        (json.dumps({"subject": "mallory"}), "is not of subject 'anna'"),
        (json.dumps({"subject": "anna", "full": 3, "notes": {"a": 1}, "intervals": []}), "does not hold it"),
    ],
)
def test_a_damaged_file_costs_its_row_alone(results, text, sentence):
    (results / "anna/metrics.json").write_text(text)
    _, table = run(results)
    mine = table[(table.subject == "anna") & (table.kind == "ours")]
    assert mine.value.isna().all() and mine.reason.str.contains(sentence).all()
    assert table[(table.subject == "anna") & (table.kind == "external")].value.notna().any()


def test_text_from_files_stays_text(results):
    notes = ["lpips: <script>alert(1)</script> | [x](http://y) *z* $x^2$\n# heading"]
    write_json(results / "bert/metrics.json", metrics("bert", 22.0) | {"notes": notes})
    page, _ = run(results)
    assert "<script>" not in page and "\n# heading" not in page and "\\[x\\](http://y) \\*z\\* \\$x^2\\$" in page
    lines = [line for line in page.splitlines() if line.startswith("| bert | ours | 30")]
    assert [line.count(" | ") for line in lines] == [9, 9, 9, 8, 8, 17]  # boxes have no FID


def test_the_same_results_give_the_same_bytes(results):
    run(results)
    first = [(results / name).read_bytes() for name in ("table.md", "table.parquet")]
    run(results)
    assert first == [(results / name).read_bytes() for name in ("table.md", "table.parquet")]


def test_other_frames_than_the_avatar_s_are_said(results):
    write_json(results / "anna/variants/unet/metrics.json", metrics("anna", 26.0, "unet", frames=12))
    assert "measured on other frames or at another size than ours" in run(results)[0]


def write_frames(path, clips, psnr_db, block=1):
    count = len(clips)
    scores = {f"{name}_{region}": np.full(count, value) for region in REGIONS
              for name, value in (("psnr_db", psnr_db), ("ssim", psnr_db / 40), ("sharpness", 1.0))}  # fmt: skip
    names = [name for name in SCHEMAS["self"].names if name not in ("clip", "frame", *scores)]
    scores |= dict.fromkeys(names, np.full(count, np.nan))
    scores["psnr_db_face"] = np.where(np.array(clips) == "angry", psnr_db - 5, psnr_db)
    write_manifest(path, "self", {"clip": clips, "frame": np.arange(count)} | scores, {"block": block})


def write_decode(path, labels):
    columns = {
        "frame": [0], "time_s": [0.0], "source_frame": [0], "face": [True], "face_box_px": np.zeros((1, 4)),
        "duplicate": [False], "sharpness": [1.0], "picture_hash": [""],
    }  # fmt: skip
    write_manifest(path, "decode", columns, {"fps": 25.0, "size_px": 64, "labels": labels})


@pytest.fixture
def mead(tmp_path):
    """Two actors with two test clips each; the second has no variant."""
    rows = [row(actor, clip, role, "mead") for actor in ("M003", "W009")
            for clip, role in (("calm", "train"), ("angry", "test"), ("happy", "test"))]  # fmt: skip
    (tmp_path / "sheet.tsv").write_text(SHEET_HEAD + "".join(rows))
    folder = tmp_path / "results"
    for actor, psnr_db in (("M003", 30.0), ("W009", 26.0)):
        write_json(folder / actor / "metrics.json", metrics(actor, psnr_db))
        write_frames(folder / actor / "self.parquet", ["angry"] * 6 + ["happy"] * 4, psnr_db)
        for clip in ("angry", "happy"):
            labels = {"emotion": clip, "level": "3" if clip == "angry" else "1", "take": "1", "view": "front"}
            write_decode(folder / actor / "clips" / clip / "decode.parquet", labels)
    write_json(folder / "M003/variants/no_mrf/metrics.json", metrics("M003", 29.0, "no_mrf"))
    write_frames(folder / "M003/variants/no_mrf/self.parquet", ["angry"] * 6 + ["happy"] * 4, 29.0)
    return folder


def test_scores_by_emotion_and_level(mead):
    page, table = run(mead)
    assert "#### By level, the whole image: PSNR, dB / SSIM" in page
    rows = rows_of(page, "#### By emotion, the face: PSNR, dB / SSIM")
    assert rows == {("angry", "2"): ["12", "23.00 / 0.700"], ("happy", "2"): ["8", "28.00 / 0.700"]}
    angry = table[(table.split == "self/emotion=angry") & (table.region == "face") & (table.metric == "psnr_db")]
    found = {(f.subject, f.method): (f.value, f.low, f.high, f.frames) for f in angry.itertuples() if f.frames}
    assert found["M003", "ours"] == (25.0, 25.0, 25.0, 6) and found["W009", "ours"] == (21.0, 21.0, 21.0, 6)
    assert set(table[table.split != "self"].split.str.partition("=")[0]) == {"self/emotion", "self/level"}


def test_groups_of_the_one_subject_that_has_them(mead):
    (mead / "W009/self.parquet").unlink()
    page, _ = run(mead)
    assert rows_of(page, "#### By emotion, the face: PSNR, dB / SSIM") == {
        ("angry", "1"): [
            "6",
            "24.00 (24.00–24.00) / 0.725 (0.725–0.725)",
            "**25.00** (25.00–25.00) / **0.750** (0.750–0.750)",
        ],
        ("happy", "1"): ["4", "29.00 / 0.725", "**30.00** / **0.750**"],
    }
    assert "In brackets stands the interval: of one subject, over its frames" in page


def test_a_second_of_each_clip(mead, caplog):
    """Clips of several frame rates have blocks of their own; a table that lacks one's is not taken."""
    path = mead / "M003/self.parquet"
    for block, known in (({"angry": 1, "happy": 2}, True), ({"angry": 1}, False), ("x", False)):
        write_frames(path, ["angry"] * 6 + ["happy"] * 4, 30.0, block)
        _, table = run(mead)
        mine = table[(table.subject == "M003") & (table.split != "self") & (table.method == "ours")]
        assert mine.value.notna().any() == known
    assert "does not say how many frames a second of its clips has" in caplog.text


def test_without_the_table_of_frames_a_group_is_missing_with_its_reason(mead):
    (mead / "W009/self.parquet").write_bytes(b"no parquet")
    _, table = run(mead)
    mine = table[(table.subject == "W009") & (table.split == "self/level=1") & (table.kind == "ours")]
    assert mine.value.isna().all() and mine.reason.str.contains("not a readable Parquet file").all()


def test_what_is_no_method_is_passed_over(results, caplog):
    before = run(results)[0]
    (results / "anna/external/read me.txt").touch()
    assert run(results)[0] == before and "read me.txt is no folder named after a method" in caplog.text


def test_a_peer_that_failed_says_why(results):
    (results / "bert/external/peer").mkdir(parents=True)
    assert "bert/external/peer/metrics.json is missing; its step has not run" in run(results)[0]
    (results / "bert/logs").mkdir()
    (results / "bert/logs/peer.external.log").write_text("error: external: 3 images are missing\n")
    assert "is missing; 3 images are missing (bert/logs/peer.external.log)" in run(results)[0]


def test_no_reason_names_a_folder_of_footage_or_results(results):
    sheet, private = results.parent / "sheet.tsv", f"{results.parent}/carl: a, b.mp4 (c"
    sheet.write_text(sheet.read_text().replace("carl-talk.mp4", f"{private}/x.mp4"))
    said = f"error: decode: {private}/x.mp4 has no face for {results}/carl/avatar.pt"
    (results / "carl/logs/talk.decode.log").write_text(said)
    page, _ = run(results)
    assert "x.mp4 has no face for results/carl/avatar.pt" in page and "carl:" not in page


def test_metrics_that_no_region_has_are_compared_too(results):
    further = {
        "tracked": {"found": 29, "akd": 0.0123, "aed": 0.4, "apd_deg": 1.5, "jitter": 0.002},
        "temporal": {"pairs": 28, "difference_error": 0.004, "difference_error_face": None, "flicker_static": 0.001},
    }
    intervals = metrics("anna", 28.5)["intervals"] | {"tracked": {"akd": [0.01, 0.02]}}
    note = "difference_error_face: no two frames that follow each other show the face"
    write_json(results / "anna/metrics.json", metrics("anna", 28.5, notes=[note], intervals=intervals, **further))
    page, table = run(results)
    mine = table[(table.subject == "anna") & (table.kind == "ours")].set_index(["metric", "region"])
    assert tuple(mine.loc["akd", "face"][["value", "low", "high", "frames"]]) == (0.0123, 0.01, 0.02, 29)
    assert tuple(mine.loc["flicker_static", "full"][["value", "frames"]]) == (0.001, 28)
    assert mine.loc["difference_error_face", "face"].reason == note.partition(": ")[2]
    row = rows_of(page, "### selfie, identity, expression and steadiness")["anna", "ours"]
    assert row[2:6] == ["0.0123 (0.0100–0.0200)", "0.400", "1.50", "0.0020"] and row[7].startswith("—[^")


def test_a_sheet_without_an_avatar_is_refused(results, capsys):
    (results.parent / "sheet.tsv").write_text(SHEET_HEAD + row("anna", "talk", "drive"))
    with pytest.raises(SystemExit):
        run(results)
    assert "makes no avatar to compare" in capsys.readouterr().err
