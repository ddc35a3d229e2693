"""Verdicts on either side of their limits, one sentence over all, and advice in the order of its weight."""

import re

import pytest

from selfieavatar.footage.checks import CHECKS, Measured, grade, judge, overall, record_again
from selfieavatar.settings.capture_section import Capture


@pytest.mark.parametrize(
    ("value", "good", "thin", "said"),
    [
        (30, 25, 12, "good"), (25, 25, 12, "good"), (24, 25, 12, "thin"), (12, 25, 12, "thin"), (11, 25, 12, "missing"),
        (1, 2, 10, "good"), (2, 2, 10, "good"), (3, 2, 10, "thin"), (10, 2, 10, "thin"), (11, 2, 10, "missing"),
        (float("inf"), 2, 10, "missing"), (float("nan"), 2, 10, None),
    ],
)  # fmt: skip
def test_larger_or_smaller_is_better_as_the_limits_say(value, good, thin, said):
    assert grade(value, good, thin) == said


def test_every_check_has_limits_and_every_limit_a_check():
    assert {name for name, value in Capture() if isinstance(value, list)} == {check.name for check in CHECKS}


def judged(**worse):
    """All checks at their good limit, but those given."""
    details = dict.fromkeys(re.findall(r"{(\w+)", "".join(c.advice for c in CHECKS)), 3.0)
    details = {name: value for name, value in details.items() if name not in ("value", "good")}
    good = {check.name: getattr(Capture(), check.name)[0] for check in CHECKS}
    return judge({name: Measured(float(value), details, "why") for name, value in (good | worse).items()}, Capture())


def test_nothing_to_say_of_a_good_recording():
    checks = judged()
    assert overall(checks) == ("good", "This recording suffices: nothing need be recorded again.")
    assert record_again(checks) == []


def test_spoilt_footage_comes_before_what_it_lacks():
    checks = judged(brows=0, blurred=90, teeth=1, light_drift=12)
    said, sentence = overall(checks)
    assert said == "missing" and sentence.startswith("Record again") and "sharpness" in sentence and "brows" in sentence
    again = record_again(checks)
    words = ("blurred", "brows", "wanders", "teeth")
    places = [next(i for i, text in enumerate(again) if word in text) for word in words]
    assert places == [0, 1, 2, 3] and "blurred in 90 %" in again[0]


def test_what_was_not_shown_asks_for_one_more_recording():
    said, sentence = overall(judged(yaw=3))
    assert said == "missing" and sentence.startswith("Add a recording") and "head turned to both sides" in sentence


def test_thin_footage_can_be_trained_on():
    said, sentence = overall(judged(teeth=1))
    assert said == "thin" and "can be trained on" in sentence and "teeth" in sentence


def test_what_is_not_known_is_named_and_decides_nothing():
    checks = judged(teeth=float("nan"))
    assert overall(checks)[0] == "good" and "Not told: teeth" in overall(checks)[1]
    assert next(c for c in checks if c["name"] == "teeth")["note"] == "why"


def test_advice_is_whole_sentences_for_any_measures():
    worst = {check.name: 0.0 for check in CHECKS}
    for check in judged(**worst):
        if check["advice"]:
            assert re.fullmatch(r"[A-Z].*\.", check["advice"]) and "{" not in check["advice"], check["name"]
