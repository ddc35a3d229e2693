"""The page about the footage says verdicts in words, and asks for a recording only where there is cause."""

import re

import pytest

from selfieavatar.reporting.capture_page import capture_page
from selfieavatar.reporting.page_templates import Image


def check(**changes):
    return {
        "name": "yaw", "group": "content", "title": "head turned", "unit": "degrees", "value": 12.34, "digits": 0,
        "good": 25, "thin": 12, "verdict": "thin", "advice": "Turn your head.", "note": None, "told": "held for 0.2 s",
    } | changes  # fmt: skip


def report(*checks, **changes):
    return {
        "subject": "anna", "verdict": "thin", "sentence": "Thin: head turned.", "size_px": 128, "checks": checks,
        "held_out": 0, "left_out": {}, "record_again": [c["advice"] for c in checks if c["advice"]],
        "clips": {},
    } | changes  # fmt: skip


def cells(page):
    return [re.sub("<[^>]+>", "|", row) for row in re.findall("<tr><td>.*", page)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ("12 degrees", "at least 25", "thin: 12", "thin", "Turn your head.")),
        ({"good": 1, "thin": 5, "value": 3.0}, ("3 degrees", "at most 1", "thin: 5")),
        ({"verdict": "good", "advice": None}, ("good",)),
        ({"verdict": None, "value": None, "advice": None, "note": "no lids"}, ("not known", "unknown", "no lids")),
        ({"verdict": "missing", "value": None, "note": "out of sight"}, ("not known", "missing", "out of sight")),
    ],
)
def test_a_check_says_figure_limits_verdict_and_advice(changes, said):
    (row,) = cells(capture_page(report(check(**changes)), [], [], []))
    assert all(word in row for word in said)


def test_a_good_recording_is_not_asked_for_again():
    assert "What to record again" in capture_page(report(check()), [], [], [])
    good = check(verdict="good", advice=None)
    assert "What to record again" not in capture_page(report(good, verdict="good"), [], [], [])


def test_everything_from_outside_is_escaped():
    bad = '<img src="//x">&"'
    clip = dict.fromkeys(
        (
            "frames",
            "seconds",
            "face_source_px",
            "blurred",
            "exposure",
            "lost",
            "doubtful",
            "left_out",
            "cut",
            "frame_rate",
            "camera",
        ),
        None,
    ) | {"role": "test"}
    content = report(check(advice=bad, note=bad), subject=bad, sentence=bad, clips={bad: clip})
    page = capture_page(content, [Image(bad, b"x")], [Image(bad, b"x", "jpeg")], [Image(bad, b"x")])
    assert '<img src="//' not in page and page.count("&lt;img") >= 8


def test_clips_to_test_on_stand_apart():
    clip = {"frames": 100, "seconds": 4.0, "face_source_px": 300.0, "blurred": 1.0, "exposure": 0.0, "lost": 0.0,
            "doubtful": 0.0, "left_out": 0.0, "cut": 0.0, "frame_rate": 25.0, "camera": None}  # fmt: skip
    page = capture_page(
        report(check(), clips={"a": clip | {"role": "train"}, "b": clip | {"role": "test"}}), [], [], []
    )
    assert page.index("Clips to train on") < page.index("<td>a</td>") < page.index("Clips to test on")
    assert page.index("Clips to test on") < page.index("<td>b</td>")
