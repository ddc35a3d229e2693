"""A wrong sheet or setting ends at once, with one sentence, before anything is made."""

import pytest
import yaml

from selfieavatar.settings.config import variant_names
from tests.workflow.conftest import ANNA, HEADER, jobs


def said(snakemake, sheet, *arguments):
    """What a run with this sheet ends with."""
    (snakemake.folder / "sheet.tsv").write_text(sheet)
    status, said = snakemake(*arguments)
    assert status != 0 and not (snakemake.folder / "results").exists()
    return said


@pytest.mark.parametrize(
    ("sheet", "sentence"),
    [
        (HEADER + ANNA.replace("train", "trian"), "row 2: unknown role 'trian'"),
        (HEADER + ANNA.replace("\tself\t", "\t\t"), "row 2: consent is empty"),
        (HEADER.replace("clip", "clipp") + ANNA, "unknown column 'clipp'"),
        (HEADER + ANNA, "the source 'anna.mp4' of subject 'anna', clip 'talk' does not exist"),
        (HEADER + ANNA + ANNA.replace("anna", "bert"), "; nor do 1 more: bert.mp4; fix the path"),
        (
            HEADER + ANNA.replace("anna.mp4", r"C:\x\a.mp4"),
            "(it is a path of Windows, which would be /mnt/c/x/a.mp4 here)",
        ),
    ],
)
def test_sheet(snakemake, sheet, sentence):
    (snakemake.folder / "anna.mp4").unlink()
    assert sentence in said(snakemake, sheet)


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"train": {"minuts": 5}}, "did you mean 'train.minutes'"),
        ({"decode": {"size_px": 100}}, "decode.size_px 100"),  # no network fits
    ],
)
def test_a_wrong_overlay(snakemake, overlay, sentence):
    (snakemake.folder / "my.yaml").write_text(yaml.safe_dump(overlay))
    assert sentence in said(snakemake, HEADER + ANNA, "--configfile", "my.yaml")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"matting": {"method": "given"}}, "has no folder of masks"),
        ({"fit": {"model": "flame", "model_path": "x", "coefficients": "*.json"}}, "anna.json are missing"),
    ],
)
def test_what_a_data_set_should_have_brought_stops_nobody_else(snakemake, change, sentence):
    """The job that needs it refuses; other subjects are made."""
    (snakemake.folder / "x").mkdir()
    (snakemake.folder / "my.yaml").write_text(yaml.safe_dump(change))
    status, said = snakemake("--dry-run", "--configfile", "my.yaml")
    assert status == 0 and said.count(sentence) == 1, said


def test_no_clip_to_train_on(snakemake):
    sheet = HEADER + ANNA.replace("train", "drive")
    assert "subject 'anna' has no clip of role 'train'" in said(snakemake, sheet, "results/anna/avatar.pt")


def test_a_failing_stage_fails_its_job_and_shows_its_sentence(snakemake):
    (snakemake.folder / "anna.mp4").write_text("no video")
    status, said = snakemake("results/anna/avatar.pt")
    assert status != 0 and "error: decode: " in said and "completed successfully" not in said
    results = snakemake.folder / "results"
    assert "1 subject: 1 failed" in said and (results / "summary.html").is_file()
    assert not list((results / "anna/clips").rglob("*.*"))


def test_unknown_subject(snakemake):
    sentence = "there is no subject 'bert' in the sheet; it has: anna"
    assert sentence in said(snakemake, HEADER + ANNA, "results/bert/avatar.pt")


def test_unknown_variant(snakemake):
    asked = "results/anna/variants/no_mfr/metrics.json"
    assert "there is no variant 'no_mfr'; known variants: detail, l1_only, no_cos" in said(
        snakemake, HEADER + ANNA, asked
    )


def test_all_variants_of_the_sheet(snakemake):
    """The graph: tracked once, then trained and measured once for each variant."""
    status, said = snakemake("variants", "--dry-run")
    found = jobs(said)
    assert status == 0 and found["fit"] == 1 and found["train"] == found["evaluate"] == len(variant_names())


def test_a_source_like_an_option(snakemake):
    (snakemake.folder / "anna.mp4").rename(snakemake.folder / "-x.mp4")
    (snakemake.folder / "sheet.tsv").write_text(HEADER + ANNA.replace("anna.mp4", "-x.mp4"))
    status, said = snakemake("results/anna/identity.npz")
    assert status != 0 and "-x.mp4 is an empty file" in said and "usage:" not in said
