"""A batch: one failing subject stops nobody else, the run says so, and images go when they are no longer needed."""

import pytest
import yaml

from selfieavatar.io.manifest import read_manifest

pytestmark = pytest.mark.slow

HEADER = "subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset\n"
GOOD = "good\ttalk\ttrain\ttalk.mp4\t0\t60\tdemo\tsynthetic\tsmoke\n"
BROKEN = "broken\ttalk\ttrain\tbroken.mp4\t\t\tselfie\twritten\tsmoke\n"
DRIVER = "driver\ttalk\tdrive\ttalk.mp4\t0\t20\tdemo\tsynthetic\tsmoke\n"
OVERLAY = {
    "storage": {"keep_pictures": False},
    "samples": {"gap_s": 0.1},
    "train": {"images": 8, "minutes": 0, "weight_mrf": 0, "weight_cos": 0, "weight_gan": 0},
    "evaluate": {"network_metrics": False, "retrack_px": 0},
}
TRACKED = ("decode", "landmarks", "matting", "identity", "fit", "render", "overlay", "tracking")
LEARNT = ("samples", "train", "evaluate")
ALL_OF_GOOD = [f"results/good/{name}" for name in ("avatar.pt", "metrics.json", "tracking.html")]
IMAGES = ("frames", "alpha", "render", "uv")


class Batch:
    """The three subjects, before and after their run."""

    def __init__(self, project):
        self.project, self.results = project, project.work / "results"
        (project.work / "broken.mp4").write_text("no video")
        self.write(BROKEN + GOOD + DRIVER)
        self.overlay(OVERLAY)
        self.done = self.run()
        self.said = self.done.stdout + self.done.stderr

    def write(self, rows):
        (self.project.work / "batch.tsv").write_text(HEADER + rows)

    def overlay(self, settings):
        (self.project.work / "batch.yaml").write_text(yaml.safe_dump(settings))

    def run(self, *targets):
        return self.project.snakemake(*targets, "--configfile", "batch.yaml", sheet="batch.tsv", check=False)

    def pending(self, *targets):
        return self.project.pending(*targets, "--configfile", "batch.yaml", sheet="batch.tsv")

    def summary(self):
        rows = read_manifest(self.results / "summary.parquet", "summary").table.to_pylist()
        return {row["subject"]: row for row in rows}


@pytest.fixture(scope="module")
def batch(fresh_project):
    return Batch(fresh_project)


def test_the_others_are_made_and_the_status_says_that_one_has_failed(batch):
    assert batch.done.returncode == 1
    for name in ("avatar.pt", "metrics.json", "self.mp4", "tracking.html"):
        assert (batch.results / "good" / name).is_file(), name
    assert (batch.results / "driver/tracking.html").is_file()


def test_the_run_ends_with_the_summary(batch):
    rows = batch.summary()
    assert {name: row["state"] for name, row in rows.items()} == {"broken": "failed", "good": "done", "driver": "done"}
    assert "broken.mp4" in rows["broken"]["reason"] and rows["broken"]["failed_stage"] == "decode"
    assert rows["good"]["psnr_db_full"] > 5 and rows["good"]["minutes_train"] > 0
    assert rows["driver"]["state_train"] == "not asked"
    assert "3 subjects: 1 failed, 2 done" in batch.said and "failed at decode talk:" in batch.said
    assert "broken.mp4" in (batch.results / "summary.html").read_text()


def test_the_table_is_made_of_those_that_could_be_measured(batch):
    page = (batch.results / "table.md").read_text()
    assert "| good | ours |" in page and "not made: broken/clips/talk/decode.parquet is missing" in page


def test_images_are_gone_and_the_rest_is_there(batch):
    for folder in (batch.results / "good/clips/talk", batch.results / "driver/clips/talk"):
        assert not any((folder / kind).exists() for kind in IMAGES)
        assert (folder / "contact.png").is_file() and (folder / "overlay.mp4").is_file()
        assert (folder / "render.parquet").is_file()
    assert list((batch.results / "good/self/talk").glob("*.png"))
    assert batch.summary()["good"]["bytes_pictures"] == 0


def test_a_second_call_runs_the_failed_subject_only(batch):
    """And the table, which could not be made without it."""
    assert batch.pending() == dict.fromkeys((*TRACKED, *LEARNT, "capture", "figures", "compare"), 1)
    assert batch.pending(*ALL_OF_GOOD) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"storage": {"keep_pictures": True}}, {}),
        ({"train": OVERLAY["train"] | {"images": 12}}, dict.fromkeys((*TRACKED, *LEARNT), 1)),
        ({"samples": {"gap_s": 0.2}}, dict.fromkeys((*TRACKED, *LEARNT), 1)),
    ],
)
def test_what_needs_the_images_makes_them_again(batch, change, expected):
    batch.overlay(OVERLAY | change)
    try:
        assert batch.pending(*ALL_OF_GOOD) == expected
    finally:
        batch.overlay(OVERLAY)


def test_the_same_images_give_the_same_avatar(batch):
    """Tracked once more, the clip is the same to the bit: the finished training is found again."""
    before = (batch.results / "good/avatar.pt").read_bytes()
    batch.overlay(OVERLAY | {"evaluate": OVERLAY["evaluate"] | {"baselines": False}})
    try:
        done = batch.run("results/good/metrics.json")
        assert done.returncode == 0 and "taking the avatar of an earlier run" in done.stdout + done.stderr
        assert (batch.results / "good/avatar.pt").read_bytes() == before
    finally:
        batch.overlay(OVERLAY)


def test_another_subject_runs_its_own_jobs_only(batch):
    try:
        batch.write(DRIVER + DRIVER.replace("driver", "another"))
        assert batch.pending() == dict.fromkeys(TRACKED, 1)
    finally:
        batch.write(BROKEN + GOOD + DRIVER)
