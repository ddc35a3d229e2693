"""The summary of a batch: states, reasons, scores, time and disk of every subject; odd files do not stop it."""

import io
import json
import os
import time

import numpy as np
import pytest

from selfieavatar.io.files import content_hash
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.settings import cli
from selfieavatar.settings.clip_sheet import COLUMNS
from stages import summary

SHEET = """anna talk train anna.mp4 0 80 selfie self smoke
anna read test anna.mp4 80 100 selfie self smoke
bert talk train bert.mp4 - - selfie written smoke
carl talk train carl.mp4 - - selfie written smoke
guest talk drive demo:2 - - demo synthetic smoke
"""
BROKEN = "12:00:00 INFO decode: looking\nerror: decode: bert.mp4 is no video (<moov> is missing); film it again\n"


def touch(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def made(results, *paths):
    for path in paths:
        touch(results / path)


def write_samples(path, split, used, reason):
    count = len(split)
    columns = {"clip": ["talk"] * count, "frame": np.arange(count), "split": split, "weight": np.ones(count)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(path, "samples", columns | {"used": used, "reason": reason}, {"subject": "anna"})


def make_anna(results):
    """A finished subject."""
    for clip in ("talk", "read"):
        kinds = ("decode", "landmarks", "matting", "fit", "render")
        made(results, *(f"anna/clips/{clip}/{kind}.parquet" for kind in kinds), f"anna/clips/{clip}/contact.png")
        touch(results / f"anna/logs/{clip}.decode.log", b"12:00:00 INFO decode: 80 frames\n")
        touch(results / f"anna/benchmarks/{clip}.decode.tsv", b"s\th:m:s\tmax_rss\n30.0\t0:00:30\t100\n")
    made(results, "anna/identity.npz", "anna/tracking.html", "anna/capture.html", "anna/figures.html", "anna/self.mp4")
    made(results, "anna/self/read/000019.png")
    touch(results / "anna/avatar.pt", b"x" * 700)
    touch(results / "anna/clips/talk/frames/000000.png", b"x" * 5000)
    touch(results / "anna/benchmarks/train.tsv", b"s\th:m:s\n600\t0:10:00\n")
    write_samples(results / "anna/samples.parquet", ["train", "train", "val"], [True, False, True], ["", "blurred", ""])
    write_samples(results / "anna/test_samples.parquet", ["test", "test"], [True, False], ["", "no face"])
    scores = {"psnr_db": 27.5, "ssim": 0.9}
    (results / "anna/metrics.json").write_text(json.dumps({"full": scores, "face": {"psnr_db": 25.25, "ssim": None}}))


@pytest.fixture
def batch(tmp_path):
    rows = [line.replace(" -", " ").split(" ") for line in SHEET.splitlines()]
    text = "\n".join("\t".join(row) for row in [COLUMNS, *rows])
    (tmp_path / "sheet.tsv").write_text(text + "\n")
    results = tmp_path / "results"
    make_anna(results)
    touch(results / "bert/logs/talk.decode.log", BROKEN.encode())
    return results


def run(results, asked=None, monkeypatch=None):
    argv = ["--subjects", str(results.parent / "sheet.tsv"), "--results", str(results)]
    if asked is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(asked)))
        argv.append("--after-run")
    cli.main(summary.build_parser(), summary.run, argv)
    table = read_manifest(results / "summary.parquet", "summary").table.to_pylist()
    return {row["subject"]: row for row in table}, (results / "summary.html").read_text()


def test_every_subject_has_its_state_and_reason(batch, capsys):
    rows, page = run(batch)
    assert [row["state"] for row in rows.values()] == ["done", "failed", "waiting", "waiting"]
    bert = rows["bert"]
    assert (bert["failed_stage"], bert["failed_of"]) == ("decode", "talk")
    assert bert["reason"] == "bert.mp4 is no video (<moov> is missing); film it again"
    assert bert["log"] == "bert/logs/talk.decode.log" and (batch / bert["log"]).is_file()
    assert "&lt;moov&gt;" in page and "<moov>" not in page
    assert page.index('<tr id="bert">') < page.index('<tr id="carl">') < page.index('<tr id="anna">')
    assert rows["carl"]["state_train"] == "waiting" and rows["guest"]["state_train"] == "not asked"
    said = capsys.readouterr().out
    assert "4 subjects: 1 failed, 2 waiting, 1 done" in said and "failed at decode talk: bert.mp4 is no video" in said


def test_no_reason_names_a_folder_of_footage_or_results(tmp_path):
    private, results = tmp_path / "anna: a, b.mp4 (c", tmp_path / "o'neil, anna;" / "results"
    results.mkdir(parents=True)
    row = f"anna\ttalk\ttrain\t{private}/x.mp4\t\t\tselfie\tself\tsmoke"
    (results.parent / "sheet.tsv").write_text("\t".join(COLUMNS) + f"\n{row}\n")
    said = f"error: decode: {private}/x.mp4 has no face for {results}/anna/avatar.pt\n"
    touch(results / "anna/logs/talk.decode.log", said.encode())
    rows, page = run(results)
    assert rows["anna"]["reason"] == "x.mp4 has no face for results/anna/avatar.pt"
    assert "neil" not in page and "anna:" not in page


def test_frames_time_scores_and_disk(batch):
    anna = run(batch)[0]["anna"]
    assert [anna[f"frames_{split}"] for split in ("train", "val", "test", "left_out")] == [1, 1, 1, 2]
    assert anna["minutes_decode"] == 1 and anna["minutes_train"] == 10 and np.isnan(anna["minutes_fit"])
    assert anna["psnr_db_full"] == 27.5 and anna["psnr_db_face"] == 25.25 and np.isnan(anna["ssim_face"])
    assert anna["bytes_pictures"] == 5000 and anna["bytes_avatar"] == 700 and anna["clips"] == 2
    assert anna["bytes_other"] == sum(
        path.stat().st_size
        for path in (batch / "anna").rglob("*")
        if path.is_file() and path.name not in ("avatar.pt", "000000.png")
    )


def test_after_a_run_only_its_own_files_are_asked_for(batch, monkeypatch, capsys):
    rows, _ = run(batch, [str(batch / "bert/clips/talk/decode.parquet"), str(batch / "bert/avatar.pt")], monkeypatch)
    assert rows["carl"]["state"] == rows["guest"]["state"] == "not asked" and rows["anna"]["state"] == "done"
    assert rows["bert"]["state_train"] == "waiting" and rows["bert"]["state_evaluate"] == "not asked"
    said = capsys.readouterr().out
    assert "2 not asked" in said and "carl" not in said


def test_what_was_only_tracked_is_no_finished_avatar(batch, monkeypatch):
    made(batch, "carl/clips/talk/decode.parquet")
    rows, _ = run(batch, [str(batch / "carl/clips/talk/decode.parquet")], monkeypatch)
    assert rows["carl"]["state"] == "done" and rows["carl"]["remarks"] == "no avatar was asked for"
    assert rows["anna"]["remarks"] == ""


def test_a_log_without_an_end_runs_by_hand_and_was_killed_after_a_run(batch, monkeypatch):
    touch(batch / "carl/logs/talk.decode.log", b"12:00:00 INFO decode: looking\n")
    assert run(batch)[0]["carl"]["state_decode"] == "running"
    rows, _ = run(batch, [], monkeypatch)
    assert rows["carl"]["state"] == "failed" and "killed" in rows["carl"]["reason"]


def test_variants_and_drivers_that_have_left_a_trace(batch):
    touch(batch / "anna/variants/no_mrf/logs/train.log", b"error: train: the disk is full at /data; free some space\n")
    touch(batch / "anna/logs/guest--talk.reenact.log")
    made(batch, "anna/reenact/guest--talk.mp4", "anna/reenact/<odd>.mp4")
    rows, page = run(batch)
    assert (rows["anna"]["state"], rows["anna"]["failed_of"]) == ("failed", "no_mrf")
    assert rows["anna"]["log"] == "anna/variants/no_mrf/logs/train.log"
    assert rows["anna"]["state_reenact"] == "done" and rows["anna"]["state_train"] == "failed"
    assert 'href="anna/reenact/guest--talk.mp4"' in page and "odd" not in page


def test_what_is_wrong_with_a_finished_subject_is_said(batch, capsys):
    face = {"psnr_db": 20.3, "ssim": 0.5}
    copied = {"full": face, "face": {"psnr_db": 24.9, "ssim": 0.8}}
    metrics = {"full": face, "face": face, "baselines": {"nearest_frame": copied}, "interleaved": ["b", "c"]}
    (batch / "anna/metrics.json").write_text(json.dumps(metrics))
    (batch / "anna/capture.json").write_text('{"verdict": "thin", "sentence": "Turn your <head>."}')
    rows, page = run(batch)
    said = "interleaved: b, c lie next to frames that are trained on, so that PSNR and SSIM flatter; "
    said += "the face is worse than a plain copy (20.3 dB, the nearest training frame 24.9 dB)"
    assert rows["anna"]["remarks"] == f"{said}; Turn your <head>."
    out = capsys.readouterr().out
    assert all(part in page and part in out for part in said.split("; "))
    assert "Turn your &lt;head&gt;." in page


def test_metrics_of_an_avatar_from_before_are_a_remark(batch):
    metrics = {"full": {"psnr_db": 30.0, "ssim": 0.9}, "face": {"psnr_db": 30.0, "ssim": 0.9}}
    said = "PSNR and SSIM are of an avatar from before; make figures.html again"
    for measured, remark in ((content_hash(batch / "anna/avatar.pt"), ""), ("0" * 16, said)):
        (batch / "anna/metrics.json").write_text(json.dumps(metrics | {"avatar": measured}))
        rows, _ = run(batch)
        assert rows["anna"]["remarks"] == remark


def test_a_peer_that_failed_is_a_remark_beside_the_finished_avatar(batch, capsys):
    touch(batch / "anna/logs/peer.external.log", b"error: external: 3 images are missing\n")
    touch(batch / "anna/logs/guest--talk.reenact.log", b"error: reenact: no frame to follow\n")
    rows, page = run(batch)
    anna = rows["anna"]
    assert (anna["state"], anna["failed_stage"], anna["state_external"]) == ("done", "", "failed")
    assert "external peer has failed: 3 images are missing (anna/logs/peer.external.log)" in anna["remarks"]
    said = capsys.readouterr().out
    assert "anna   done  " in said and "reenact guest--talk has failed: no frame to follow" in said
    assert "external peer has failed" in page


def test_a_table_that_failed_is_said(batch, monkeypatch, capsys):
    touch(batch / "logs/compare.log", b"error: compare: the disk is full\n")
    said = "the table of all subjects has failed: the disk is full (logs/compare.log)"
    assert said in run(batch, [], monkeypatch)[1] and said in capsys.readouterr().out
    made(batch, "table.md")
    assert said not in run(batch, [], monkeypatch)[1]


def test_links_lead_to_what_is_there(batch):
    page = run(batch)[1]
    assert 'href="anna/tracking.html"' in page and 'src="anna/clips/talk/contact.png"' in page
    assert 'src="anna/self/read/000019.png"' in page
    assert 'href="anna/capture.html"' in page and "table.md" not in page
    made(batch, "table.md")
    (batch / "anna/capture.html").unlink()
    page = run(batch)[1]
    assert 'href="table.md"' in page and "capture.html" not in page


def test_damaged_files_do_not_stop_it(batch, caplog):
    touch(batch / "anna/metrics.json", b'{"full": 3}')
    touch(batch / "anna/capture.json", b'{"verdict": "thin", "sentence": 12}')
    touch(batch / "anna/samples.parquet", b"no table")
    touch(batch / "anna/benchmarks/train.tsv", b"minutes\nmany\n")
    touch(batch / "bert/logs/talk.decode.log", b"\xff\xfe\n" + BROKEN.encode())
    anna = run(batch)[0]["anna"]
    assert anna["state"] == "done" and np.isnan(anna["psnr_db_full"]) and np.isnan(anna["minutes_train"])
    assert anna["frames_test"] == 1 and len(caplog.records) == 4
    touch(batch / "anna/metrics.json", b"[" * 200000)
    assert run(batch)[0]["anna"]["state"] == "done"


def test_a_file_of_two_names_counts_once_and_links_are_not_followed(batch, tmp_path):
    state = batch / "anna/train/0123456789abcdef/state.pt"
    touch(state, b"x" * 3000)
    os.link(state, state.with_name("checkpoint_000000010.pt"))
    touch(tmp_path / "elsewhere/big.bin", b"x" * 9000)
    (batch / "anna/train/link").symlink_to(tmp_path / "elsewhere")
    assert run(batch)[0]["anna"]["bytes_training"] == 3000


def test_nothing_made_yet(tmp_path, capsys):
    (tmp_path / "sheet.tsv").write_text("\t".join(COLUMNS) + "\nanna\ttalk\ttrain\ta.mp4\t\t\tselfie\tself\t\n")
    with pytest.raises(SystemExit):
        run(tmp_path / "results")
    assert "there is no folder" in capsys.readouterr().err and not (tmp_path / "results").exists()
    (tmp_path / "results").mkdir()
    rows, _ = run(tmp_path / "results")
    assert rows["anna"]["state"] == "waiting" and rows["anna"]["bytes_other"] == 0


def test_fifty_subjects_take_no_time(tmp_path):
    names = [f"s{number}" for number in range(50)]
    rows = "".join(f"{name}\ttalk\ttrain\t{name}.mp4\t\t\tselfie\tself\t\n" for name in names)
    (tmp_path / "sheet.tsv").write_text("\t".join(COLUMNS) + "\n" + rows)
    results = tmp_path / "results"
    for name in names:
        make_anna(tmp_path / name)
        results.mkdir(exist_ok=True)
        (tmp_path / name / "anna").rename(results / name)
        for number in range(100):
            touch(results / name / f"clips/talk/frames/{number:06d}.png")
    begun = time.process_time()  # of a busy machine only our own share counts
    found, _ = run(results)
    assert {row["state"] for row in found.values()} == {"done"} and time.process_time() - begun < 3
