"""The pages in a real browser: nothing is broken, and nothing is wider than the window."""

import html
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from stages.batch.jobs import Job, Subject
from stages.batch.page import summary_page
from stages.core.files import write_picture
from stages.metrics.capture_page import Picture, capture_page
from tests.metrics.test_capture_page import check, report
from tests.stages import test_figures, test_tracking

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")  # Firefox cannot print a page
WIDTHS_PX = (1280, 500)  # a desk, a phone
LOOK = """<script>addEventListener("load", () => document.body.dataset.found = JSON.stringify({
title: document.title, heading: document.querySelector("h1").textContent, window: innerWidth,
wide: document.documentElement.scrollWidth, images: [...document.images].map(image => image.naturalWidth)}))</script>"""


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    return found


def write_summary(folder):
    write_picture(folder / "anna/clips/talk/contact.png", np.full((40, 1600, 3), 99, np.uint8))
    given = {"clips": 1, "frames": {"train": 80.0}, "left_out": {"blurred": 2}, "figures": {"ssim_face": 0.9}}
    given |= {"sizes": {"pictures": 3_000_000}, "links": [("film", "anna/self.mp4")]}
    jobs = [Job("decode", "talk", "done", minutes=0.5), Job("train", "", "failed", "no face " * 40, "anna/train.log")]
    anna = Subject("anna", jobs, pictures=[("sheet", "anna/clips/talk/contact.png")], **given)
    (folder / "summary.html").write_text(summary_page([anna], ["table.md"], "today"))


def write_capture(folder):
    data = cv2.imencode(".png", np.full((300, 1600, 3), 99, np.uint8))[1].tobytes()
    pictures = [Picture("a caption " * 20, data)] * 2
    (folder / "capture.html").write_text(capture_page(report(check(), check(name="pitch")), pictures, [], pictures))


def write_figures(folder):
    labels = {clip: {"emotion": clip, "level": "1"} for clip in ("angry", "happy")}
    test_figures.page_of(test_figures.write_subject(folder, tuple(labels), labels=labels))


def write_tracking(folder):
    np.savez(folder / "identity.npz", expression_scale=np.ones(2, np.float32))
    for name in ("talk", "a_very_long_name_of_a_clip_that_somebody_has_chosen"):
        test_tracking.write_clip(folder / "clips" / name)
        write_picture(folder / "clips" / name / "contact.png", np.full((40, 1200, 3), 99, np.uint8))
    test_tracking.run(folder, ["talk", "a_very_long_name_of_a_clip_that_somebody_has_chosen"])


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
    write, words, pictures = PAGES[name]
    write(tmp_path)
    for width_px in WIDTHS_PX:
        found = seen(browser, tmp_path / name, width_px, tmp_path / "profile")
        assert found["title"] == found["heading"] and words in found["title"].lower()
        assert len(found["images"]) >= pictures and min(found["images"]) > 0, "a picture is broken"
        assert found["window"] <= width_px and found["wide"] <= found["window"], "something is wider than the window"
