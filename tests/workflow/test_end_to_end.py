"""From a video to metrics.json at 64 px: every stage runs and the files of the contract say what they must."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from selfieavatar.identity import Identity
from selfieavatar.io.images import read_image
from selfieavatar.io.manifest import read_manifest
from tests.workflow.conftest import ROOT, VARIANT

pytestmark = pytest.mark.slow


def video_of(path):
    """Frames of a video, RGB uint8."""
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_the_files_of_the_contract(made_project):
    subject = made_project.work / "results" / "smoke"
    for name in ("identity.npz", "samples.parquet", "test_samples.parquet", "self.parquet", "self.mp4"):
        assert (subject / name).stat().st_size > 0, name
    for clip, frames in (("talk", 70), ("other", 30)):
        folder = subject / "clips" / clip
        for kind, images in (("decode", ["frames"]), ("matting", ["alpha"]), ("render", ["render", "uv"])):
            manifest = read_manifest(folder / f"{kind}.parquet", kind)
            assert manifest["frame"].tolist() == list(range(frames))
            for name in images:
                assert sorted(path.name for path in (folder / name).glob("*.png")) == [
                    f"{n:06d}.png" for n in range(frames)
                ]
        assert read_image(folder / "frames" / "000000.png").shape == (64, 64, 3)
        assert (folder / "contact.png").is_file() and (folder / "overlay.mp4").is_file()
    assert "overlay.mp4" in (subject / "tracking.html").read_text()
    footage = json.loads((subject / "capture.json").read_text())
    assert footage["sentence"] in (subject / "capture.html").read_text() and footage["clips"]["other"]["role"] == "test"
    assert "other: score of each frame" in (subject / "figures.html").read_text()
    half_written = {path.name for path in subject.rglob(".*")} - {".snakemake_timestamp"}
    assert not half_written


def test_results_are_private_and_name_neither_folders_nor_the_machine(made_project):
    results = made_project.work / "results"
    open_to_others = [path for path in (results, *results.rglob("*")) if path.stat().st_mode & 0o077]
    assert not open_to_others
    shared = [path for kind in ("html", "json", "md") for path in results.rglob(f"*.{kind}")]
    assert len(shared) > 3
    places = (str(made_project.code.parent), str(ROOT), str(Path.home()) + "/")
    for path in (*shared, results / "smoke/avatar.pt", results / "smoke/identity.npz"):
        assert not [place for place in places if place.encode() in path.read_bytes()], path
    assert not [path for path in results.rglob("*tfevents*") if socket.gethostname() in path.name.split(".")]


def test_the_avatar_is_a_plain_dict(made_project):
    avatar = torch.load(made_project.work / "results/smoke/avatar.pt", weights_only=True)
    assert avatar["size_px"] == 64 and isinstance(avatar["settings"], dict)


def test_metrics(made_project):
    metrics = json.loads((made_project.work / "results/smoke/metrics.json").read_text())
    assert metrics["subject"] == "smoke" and metrics["frames"] == 30 and metrics["size_px"] == 64
    for region in ("full", "person", "face"):
        assert 5 < metrics[region]["psnr_db"] < 60 and -1 < metrics[region]["ssim"] <= 1
        assert metrics[region]["lpips"] is None and metrics["notes"]
    truth = [read_image(made_project.work / f"results/smoke/clips/other/frames/{n:06d}.png") for n in range(30)]
    own = [read_image(made_project.work / f"results/smoke/self/other/{n:06d}.png") for n in range(30)]
    error = (np.stack(truth).astype(float) - np.stack(own)) / 255
    psnr = np.mean(-10 * np.log10(np.mean(error**2, axis=(1, 2, 3))))
    assert metrics["full"]["psnr_db"] == pytest.approx(psnr, abs=0.05)


def test_a_variant_has_the_files_of_the_contract(varied_project):
    folder = (varied_project.work / VARIANT).parent
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["variant"] == "own" and metrics["subject"] == "smoke" and metrics["weights"].get("vgg19") is None
    assert metrics["full"]["psnr_db"] > 5
    avatar = torch.load(folder / "avatar.pt", weights_only=True)
    assert avatar["settings"]["net_generator"] == "unet" and avatar["maps"] == {"face": {}, "back": {}}
    assert {path.name for path in folder.iterdir()} >= {"self.parquet", "self.mp4", "self", "logs", "train"}
    assert "Avatar of smoke, variant own" in (folder / "figures.html").read_text()


def test_the_table_of_results(made_project):
    page = (made_project.work / "results/table.md").read_text()
    metrics = json.loads((made_project.work / "results/smoke/metrics.json").read_text())
    assert "| smoke | ours | 30 |" in page and "guest" not in page
    table = read_manifest(made_project.work / "results/table.parquet", "table").table.to_pandas()
    face = table[(table.region == "face") & (table.metric == "psnr_db")].set_index("method")
    assert set(face.index) == {"mean_frame", "nearest_frame", "tracked_torso", "ours"} and set(face.dataset) == {"demo"}
    assert face.value["tracked_torso"] == metrics["tracked_torso"]["face"]["psnr_db"]
    assert face.value["ours"] == metrics["face"]["psnr_db"] and np.isnan(face.low["nearest_frame"])  # 30 frames
    assert face.value["nearest_frame"] == metrics["baselines"]["nearest_frame"]["face"]["psnr_db"]


def test_the_table_of_an_unfinished_batch(made_project):
    """By hand, as the README of the configuration says, when a subject has failed."""
    sheet, results = made_project.work / "half.tsv", made_project.work / "half"
    text = (made_project.work / "sheet.tsv").read_text()
    sheet.write_text(text + "nobody\ttalk\ttrain\ttalk.mp4\t0\t70\tdemo\tsynthetic\tsmoke\n")
    shutil.copytree(made_project.work / "results", results)
    command = [sys.executable, "-m", "stages.compare", "--results", results, "--subjects", sheet]
    subprocess.run(command, cwd=made_project.code, check=True)
    page = (results / "table.md").read_text()
    assert "not made: nobody/clips/talk/decode.parquet is missing; its step has not run" in page
    assert "No means: smoke is the only subject" in page


def test_report_of_what_is_there(varied_project):
    """A subject of the sheet that was never made, or whose footage is gone, does not stop the report."""
    sheet = varied_project.work / "sheet.tsv"
    text = sheet.read_text()
    try:
        rows = ["nobody\ttalk\ttrain\ttalk.mp4", "gone\ttalk\tdrive\tgone.mp4"]
        sheet.write_text(text + "".join(f"{row}\t0\t70\tdemo\tsynthetic\tsmoke\n" for row in rows))
        gone = varied_project.work / "results/gone/clips/talk"
        gone.mkdir(parents=True)
        for name in ("contact.png", "overlay.mp4"):
            (gone / name).touch()
        command = [sys.executable, varied_project.code / "tools" / "report.py", "--config"]
        said = subprocess.run(
            [*command, "subjects=sheet.tsv"], cwd=varied_project.work, env=os.environ | {"CI": "1"}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        assert "what was made of gone.mp4" in said.stderr and said.stdout.endswith(
            "The report is results/report.html\n"
        )
        page = (varied_project.work / "results/report.html").read_text()
        entries = json.loads(re.search(r"var categories = (.*);", page)[1])
        assert set(entries) == {"1 Tracking", "2 Avatar", "4 Comparison"}, "the table lacks nobody's row, not itself"
        assert set(entries["1 Tracking"]) == {"smoke", "guest"} and "summary.html" in page
        for folder in ("results/smoke", "results/smoke/variants/own"):
            wanted = {f"{folder}/{name}" for name in ("metrics.json", "self.mp4", "figures.html")}
            assert wanted <= set(entries["2 Avatar"]["smoke"])
        for name in ("contact.png", "overlay.mp4"):
            assert f"results/guest/clips/talk/{name}" in entries["1 Tracking"]["guest"]
        results = json.loads(re.search(r"var results = ({.*});", page)[1])
        assert results["results/smoke/variants/own/self.mp4"]["labels"]["avatar"] == "own"
    finally:
        sheet.write_text(text)


def test_a_guest_drives_the_avatar(made_project):
    made_project.snakemake("results/smoke/reenact/guest--talk.mp4")
    folder = made_project.work / "results/smoke/reenact"
    table = read_manifest(folder / "guest--talk.parquet", "reenact")
    assert table["frame"].tolist() == list(range(20)) and table["driven"].all()
    assert table.metadata["aed"] is None or 0 < table.metadata["aed"] < 10
    model = Identity.load(made_project.work / "results/smoke/identity.npz").model
    reach = np.maximum(np.abs(model.expression_low), np.abs(model.expression_high))
    assert (np.abs(table["expression"]) < 3 * reach + 1).all() and table["expression"].std(axis=0).max() > 0.05
    assert len(video_of(folder / "guest--talk.mp4")) == 20


def test_driving_one_s_own_test_clip_is_self_reenactment(made_project):
    sharp = made_project.work / "sharp.yaml"  # the images of so short a training are noise to a video codec
    sharp.write_text("reenact: {video_crf: 2}\nmarking: {label: false}\n")
    made_project.snakemake("results/smoke/reenact/smoke--other.mp4", "--configfile", str(sharp))
    video = video_of(made_project.work / "results/smoke/reenact/smoke--other.mp4")
    for number in (0, 13, 29):
        image = read_image(made_project.work / f"results/smoke/self/other/{number:06d}.png")
        tile = video[number][24:, video[number].shape[1] // 2 :]
        shown = cv2.resize(image, tile.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        # what is left is the video's compression, and the watermark
        assert -10 * np.log10(np.mean((tile.astype(float) - shown) ** 2) / 255**2) > 30


def test_the_page_of_the_paper_of_a_subject(varied_project):
    overlay = varied_project.work / "paper.yaml"
    overlay.write_text("paper: {variants: [own], drivers: 1, frames: 2}\n")
    target = ("results/smoke/paper.html", "--configfile", str(overlay))
    varied_project.snakemake(*target)
    smoke = varied_project.work / "results/smoke"
    same = torch.load(smoke / "variants/own_same_images/avatar.pt", weights_only=True)
    own = torch.load(smoke / "avatar.pt", weights_only=True)
    assert same["images"] == own["images"] and same["settings"]["net_generator"] == "unet"
    page = (smoke / "paper.html").read_text()
    assert "Equal images" in page and "Equal minutes" in page and "Fig. 2: cross-reenactment" in page
    # Rows of both strips: truth (driver), own, ours; two test frames, and two of the guest's.
    assert page.count("data:image/jpeg") == 3 * 2 + 3 * 2 and "guest--talk" in page
    assert varied_project.pending(*target) == {}
    driven = "results/smoke/variants/own/reenact/guest--talk.mp4"
    assert varied_project.pending(driven) == {"reenact": 1}


def test_a_driver_that_is_not_in_the_sheet_is_said_at_once(made_project):
    said = made_project.snakemake("results/smoke/reenact/nobody--talk.mp4", check=False)
    assert said.returncode and "no clip of the sheet is called 'nobody--talk'" in said.stdout + said.stderr


def test_a_guest_is_only_tracked(made_project):
    guest = made_project.work / "results" / "guest"
    assert (guest / "clips/talk/contact.png").is_file() and not (guest / "avatar.pt").exists()
    assert (guest / "source/demo-2.mp4").is_file()
