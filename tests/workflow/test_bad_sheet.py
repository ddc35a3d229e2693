"""A wrong sheet or setting ends at once, with one sentence, before anything is made."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from selfieavatar.settings.config import variant_names

ROOT = Path(__file__).resolve().parents[2]
HEADER = "subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset\n"
GOOD = "anna\ttalk\ttrain\tanna.mp4\t\t\tselfie\tself\tsmoke\n"


def said(folder, sheet, *arguments):
    """What a run with this sheet ends with."""
    (folder / "sheet.tsv").write_text(sheet)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", *arguments]
    done = subprocess.run(
        [*command, "--config", "subjects=sheet.tsv"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Traceback (most recent call last)" not in done.stderr
    assert not (folder / "results").exists()
    return done.stderr + done.stdout


@pytest.mark.parametrize(
    ("sheet", "sentence"),
    [
        (HEADER + GOOD.replace("train", "trian"), "row 2: unknown role 'trian'"),
        (HEADER + GOOD.replace("\tself\t", "\t\t"), "row 2: consent is empty"),
        (HEADER.replace("clip", "clipp") + GOOD, "unknown column 'clipp'"),
        (HEADER + GOOD, "the source 'anna.mp4' of subject 'anna', clip 'talk' does not exist"),
        (HEADER + GOOD + GOOD.replace("anna", "bert"), "; nor do 1 more: bert.mp4; fix the path"),
    ],
)
def test_sheet(tmp_path, sheet, sentence):
    assert sentence in said(tmp_path, sheet)


def test_typo_in_an_overlay(tmp_path):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"train": {"minuts": 5}}))
    assert "did you mean 'train.minutes'" in said(tmp_path, HEADER + GOOD, "--configfile", "my.yaml")


def test_a_size_that_no_network_fits(tmp_path):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"decode": {"size_px": 100}}))
    assert "decode.size_px 100" in said(tmp_path, HEADER + GOOD, "--configfile", "my.yaml")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"matting": {"method": "given"}}, "has no folder of masks"),
        ({"fit": {"model": "flame", "model_path": "x", "coefficients": "*.json"}}, "anna.json are missing"),
    ],
)
def test_what_a_data_set_should_have_brought_stops_nobody_else(tmp_path, change, sentence):
    """The job that needs it refuses; other subjects are made."""
    (tmp_path / "anna.mp4").touch()
    (tmp_path / "x").mkdir()
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(change))
    (tmp_path / "sheet.tsv").write_text(HEADER + GOOD)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", "--dry-run"]
    command += ["--configfile", "my.yaml", "--config", "subjects=sheet.tsv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    everything = done.stdout + done.stderr
    assert done.returncode == 0 and everything.count(sentence) == 1, everything


def test_no_clip_to_train_on(tmp_path):
    (tmp_path / "anna.mp4").touch()
    sheet = HEADER + GOOD.replace("train", "drive")
    assert "subject 'anna' has no clip of role 'train'" in said(tmp_path, sheet, "results/anna/avatar.pt")


def test_a_failing_stage_fails_its_job_and_shows_its_sentence(tmp_path):
    (tmp_path / "anna.mp4").write_text("no video")
    (tmp_path / "sheet.tsv").write_text(HEADER + GOOD)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["results/anna/avatar.pt", "--config", "subjects=sheet.tsv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    everything = done.stdout + done.stderr
    assert done.returncode != 0 and "error: decode: " in everything
    assert "completed successfully" not in everything
    assert "1 subject: 1 failed" in everything and (tmp_path / "results/summary.html").is_file()
    assert not list((tmp_path / "results/anna/clips").rglob("*.*"))


def test_unknown_subject(tmp_path):
    (tmp_path / "anna.mp4").touch()
    assert "there is no subject 'bert' in the sheet; it has: anna" in said(
        tmp_path, HEADER + GOOD, "results/bert/avatar.pt"
    )


def test_unknown_variant(tmp_path):
    (tmp_path / "anna.mp4").touch()
    asked = "results/anna/variants/no_mfr/metrics.json"
    assert "there is no variant 'no_mfr'; known variants: l1_only, no_cos" in said(tmp_path, HEADER + GOOD, asked)


def test_all_variants_of_the_sheet(tmp_path):
    """The graph: tracked once, then trained and measured once for each variant."""
    (tmp_path / "anna.mp4").touch()
    (tmp_path / "sheet.tsv").write_text(HEADER + GOOD)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", "--dry-run"]
    done = subprocess.run(
        [*command, "variants", "--config", "subjects=sheet.tsv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    count = str(len(variant_names()))
    assert jobs["fit"] == "1" and jobs["train"] == jobs["evaluate"] == count
