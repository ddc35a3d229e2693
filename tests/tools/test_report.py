"""The report asks for what has been made, as a whole, and opens where somebody can see it."""

import importlib.util
from pathlib import Path

import pytest

from selfieavatar.settings.clip_sheet import Clip, Sheet

FILE = Path(__file__).resolve().parents[2] / "tools" / "report.py"


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("report", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sheet_of(*rows):
    """Clips of (subject, clip, role, source)."""
    return Sheet([Clip(*row, None, None, "demo", "synthetic", "smoke") for row in rows])


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


SHEET = sheet_of(
    ("anna", "talk", "train", "demo:1"), ("anna", "read", "test", "demo:1"), ("bert", "x", "drive", "demo:2")
)


def test_nothing_is_asked_for_before_anything_is_made(report, tmp_path):
    assert report.made(SHEET, tmp_path) == []


def test_what_is_whole_is_asked_for(report, tmp_path):
    anna = ("anna/clips/talk/contact.png", "anna/clips/talk/overlay.mp4", "anna/clips/read/contact.png")
    make(tmp_path, *anna, "anna/tracking.html", "anna/metrics.json")
    found = [str(Path(path).relative_to(tmp_path)) for path in report.made(SHEET, tmp_path)]
    assert found == ["anna/clips/talk/contact.png"], "the page and the other sheet need the video of `read`"
    make(tmp_path, "anna/clips/read/overlay.mp4", "anna/self.mp4", "anna/figures.html")
    make(tmp_path, "anna/reenact/bert--x.mp4", "anna/reenact/bert--x.parquet")
    for variant in ("no_mrf", "forgotten"):
        make(tmp_path, f"anna/variants/{variant}/metrics.json", f"anna/variants/{variant}/self.mp4")
    found = {str(Path(path).relative_to(tmp_path)) for path in report.made(SHEET, tmp_path)}
    assert found == {
        "anna/clips/talk/contact.png", "anna/clips/read/contact.png", "anna/tracking.html", "anna/metrics.json",
        "anna/figures.html", "anna/variants/no_mrf/metrics.json", "anna/reenact/bert--x.mp4",
    }  # fmt: skip


def test_without_its_footage_nothing_can_be_asked_for(report, tmp_path):
    video = tmp_path / "bert.mp4"
    sheet = sheet_of(("anna", "talk", "train", "demo:1"), ("bert", "x", "drive", str(video)))
    make(tmp_path, "bert/clips/x/contact.png", "bert/clips/x/overlay.mp4", "anna/metrics.json", "anna/self.mp4")
    make(tmp_path, "anna/reenact/bert--x.mp4", "anna/reenact/bert--x.parquet")
    assert [Path(path).name for path in report.made(sheet, tmp_path)] == ["metrics.json"]
    assert list(report.missing_footage(sheet)) == [str(video)]
    video.touch()
    assert len(report.made(sheet, tmp_path)) == 3 and not list(report.missing_footage(sheet))


@pytest.mark.parametrize(
    ("environment", "platform", "shown"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
        ({}, "linux", False),
        ({"DISPLAY": ":0", "CI": "true"}, "linux", False),
        ({"CI": "true"}, "darwin", False),
    ],
)
def test_a_browser_is_opened_where_somebody_sees_it(report, environment, platform, shown):
    assert report.has_display(environment, platform) is shown
