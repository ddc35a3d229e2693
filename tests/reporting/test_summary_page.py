"""The page escapes what it is given, has the failed subjects first, and says sizes in words."""

import math
from html.parser import HTMLParser

import pytest

from selfieavatar.reporting.job_states import Job, Subject
from selfieavatar.reporting.summary_page import bytes_in_words, summary_page, terminal_lines


def subject(name, *jobs, **rest):
    given = {"clips": 1, "frames": {}, "left_out": {}, "metrics": {}, "sizes": {}} | rest
    return Subject(name, list(jobs), **given)


BAD = subject("zoe", Job("decode", "talk", "failed", "<b>no</b> video & no face", "zoe/logs/a b#.decode.log"))
GOOD = subject(
    "anna",
    Job("decode", "talk", "done", minutes=0.5),
    Job("train", "", "done", minutes=12.25),
    frames={"train": 80.0, "val": 4.0, "test": 20.0, "left_out": 3.0},
    left_out={"blurred": 2, "<i>lost</i>": 1},
    metrics={"psnr_db_face": 27.31, "ssim_face": 0.876},
    sizes={"pictures": 3_000_000, "training": 250},
    links=[("video", "anna/self.mp4")],
    images=[("sheet", "anna/clips/talk/contact.png")],
)


class Tags(HTMLParser):
    """Notes the tags that are open and the links."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.seen = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_escaped():
    page = summary_page([GOOD, BAD], ["table.md"], "today")
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and not tags.seen & {"b", "i"}
    assert {"table.md", "zoe/logs/a%20b%23.decode.log", "anna/self.mp4"} <= set(tags.links)
    assert "&lt;b&gt;no&lt;/b&gt; video &amp; no face" in page and "http" not in page


def test_failed_subjects_come_first():
    page = summary_page([GOOD, BAD], [], "today")
    assert page.index('<tr id="zoe">') < page.index('<tr id="anna">')
    assert "2 subjects: 1 failed, 1 done" in page
    lines = terminal_lines([GOOD, BAD])
    assert "zoe   failed at decode talk: <b>no</b> video & no face" in lines[1]
    assert lines[2].split() == ["anna", "done", "face", "27.3", "dB,", "SSIM", "0.88", "13", "min", "3.0", "MB"]


def test_what_is_not_known_stays_empty():
    page = summary_page([subject("new", Job("decode", "talk", "waiting"))], [], "today")
    assert "nan" not in page and "What has failed" not in page


def test_a_long_batch_is_cut_in_the_terminal_only():
    many = [subject(f"s{n}", Job("decode", "talk", "done")) for n in range(50)]
    lines = terminal_lines(many, most=10)
    assert len(lines) == 12 and lines[-1].strip() == "and 40 more"
    assert summary_page(many, [], "today").count("<tr id=") == 50


def test_minutes_of_what_has_run():
    assert GOOD.minutes() == pytest.approx(12.75) and GOOD.minutes("train") == 12.25
    assert math.isnan(BAD.minutes())


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (123_456, "123 kB"), (1.26e6, "1.3 MB"), (5e10, "50.0 GB")],
)
def test_sizes(count, words):
    assert bytes_in_words(count) == words
