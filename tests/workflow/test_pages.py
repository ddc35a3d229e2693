"""The pages in a real browser: nothing is broken, and nothing is wider than the window."""

import html
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.io.images import write_image
from selfieavatar.io.paths import STAGES
from selfieavatar.reporting.avatar_scores import METRICS
from selfieavatar.reporting.capture_page import CLIP_COLUMNS, capture_page
from selfieavatar.reporting.job_states import KINDS, Job, Subject
from selfieavatar.reporting.page_templates import Image
from selfieavatar.reporting.summary_page import summary_page
from tests.fitting import makers
from tests.reporting.test_capture_page import check, report
from tests.stages import test_figures, test_tracking

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")  # Firefox cannot print a page
DESKS_PX, PHONE_PX = (1440, 1200), 500
LONGEST = "a_very_long_name_of_a_clip_that_somebody_has_chosen_for_a_reason"
CLIPS = ("front_angry_level_3_001", LONGEST)
LOOK = """<script>addEventListener("load", () => document.body.dataset.found = JSON.stringify({
title: document.title, heading: document.querySelector("h1").textContent, window: innerWidth,
wide: document.documentElement.scrollWidth,
cut: [...document.querySelectorAll(".wide")].filter(box => box.scrollWidth > box.clientWidth).length,
images: [...document.images].map(image => image.naturalWidth)}))</script>"""


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    return found


def write_summary(folder):
    write_image(folder / "M003/clips/talk/contact.png", np.full((40, 1600, 3), 99, np.uint8))
    frames = {"train": 12345.0, "test": 1234.0, "left_out": 123.0}
    metrics = {f"{name}_{region}": 31.25 for name in ("psnr_db", "ssim") for region in ("full", "face")}
    given = {"clips": 1, "frames": frames, "left_out": {"blurred": 2}, "metrics": metrics}
    given |= {"sizes": dict.fromkeys(KINDS, 123_000_000)}
    given["links"] = [(f"{kind} {name}", "M003/self.mp4") for kind in ("contact sheet", "driven by") for name in CLIPS]
    jobs = [Job(stage, CLIPS[0], "done", minutes=123.5) for stage in STAGES]
    failed = Job("decode", LONGEST, "failed", "no face " * 40, "M004/train.log")
    done = Subject("M003", jobs, images=[("sheet", "M003/clips/talk/contact.png")], **given)
    other = Subject(LONGEST, [failed, *(Job(stage, "", "waiting") for stage in STAGES)], **given)
    (folder / "summary.html").write_text(summary_page([done, other], ["table.md"], "today"))


def write_capture(folder):
    data = cv2.imencode(".png", np.full((300, 1600, 3), 99, np.uint8))[1].tobytes()
    images = [Image(f"most blurred: {LONGEST}, frame 3, 0.1 s", data)] * 2
    numbers = dict.fromkeys((name for name, _, _ in CLIP_COLUMNS), 1234.5)
    clips = {name: numbers | {"role": role} for name, role in zip(CLIPS, ("train", "test"), strict=True)}
    checks = [check(), check(name="pitch", verdict="missing", unit="% of frames lost or doubtful")]
    content = report(*checks, clips=clips, verdict="missing")
    (folder / "capture.html").write_text(capture_page(content, images, images, images))


def write_figures(folder):
    labels = {clip: {"emotion": clip, "level": "1"} for clip in CLIPS}
    test_figures.write_subject(folder, CLIPS, labels=labels)
    names = dict.fromkeys(METRICS, 0.815)
    whole = dict.fromkeys(REGIONS, names | {"frames": 1000})
    intervals = {region: dict.fromkeys(METRICS, [0.7954, 0.8351]) for region in REGIONS} | {"drawn": "blocks of 25"}
    baselines = dict.fromkeys(("mean_frame", "nearest_frame"), dict.fromkeys(REGIONS, names))
    test_figures.write_json(folder, test_figures.metrics_of(40, **whole, intervals=intervals, baselines=baselines))
    test_figures.page_of(folder)


def write_tracking(folder):
    makers.identity(makers.model(2)).save(folder / "identity.npz")
    for name in CLIPS:
        test_tracking.write_clip(folder / "clips" / name)
        write_image(folder / "clips" / name / "contact.png", np.full((40, 1200, 3), 99, np.uint8))
    test_tracking.run(folder, CLIPS)


PAGES = {
    "summary.html": (write_summary, "1 failed", 1), "capture.html": (write_capture, "anna", 4),
    "figures.html": (write_figures, "anna", 8), "tracking.html": (write_tracking, "anna", 4),
}  # fmt: skip


def seen(browser, page, width_px, profile):
    """What a browser of that width says of a page."""
    copy = page.with_name(f"looked_at_{page.name}")
    copy.write_text(page.read_text().replace(' loading="lazy"', "").replace("</body>", f"{LOOK}</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command += [f"--window-size={width_px},900", "--dump-dom", copy.as_uri()]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search('data-found="([^"]*)"', said)[1]))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_at_a_desk_and_on_a_phone(browser, tmp_path, name):
    write, words, images = PAGES[name]
    write(tmp_path)
    for width_px in (*DESKS_PX, PHONE_PX):
        found = seen(browser, tmp_path / name, width_px, tmp_path / "profile")
        assert found["title"] == found["heading"] and words in found["title"].lower()
        assert len(found["images"]) >= images and min(found["images"]) > 0, "an image is broken"
        assert found["window"] <= width_px and found["wide"] <= found["window"], "something is wider than the window"
        assert width_px == PHONE_PX or not found["cut"], "a table is wider than the page"
