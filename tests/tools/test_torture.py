"""An accident that is to happen once is tried again until it counts; a run that has ended is not one that halted."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from tools import torture


@pytest.fixture
def tortured(tmp_path, monkeypatch):
    """Torture without a workflow: each build starts from an empty folder, and its last run goes well."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(torture, "differences", lambda *_, **__: [])
    made = torture.Torture(torture.build_parser().parse_args(["--halt-s", "0"]), tmp_path / "base")
    monkeypatch.setattr(made, "half_done", lambda name, _: made_folder(made.base / name))
    well = SimpleNamespace(wait=lambda: 0, survivors=list, temporary=temporary, said="")
    monkeypatch.setattr(made, "run", lambda work: well)
    return made


def made_folder(path):
    path.mkdir(parents=True)
    return path


def test_an_accident_that_came_too_late_is_tried_again_until_it_counts(tortured):
    outcomes = [[], [], ["halted"], ["halted"]]
    tortured.once(lambda work: outcomes.pop(0))
    assert outcomes == [["halted"]] and tortured.builds == 3 and not tortured.skipped
    assert list(tortured.base.iterdir()) == []


def test_tries_are_bounded_and_the_table_says_so(tortured):
    def full_disk(work):
        return []

    tortured.once(full_disk)
    assert tortured.builds == 5 and "| full disk | skipped: 5 runs ended without it | |" in tortured.table()


def test_what_cannot_be_tried_here_is_not_tried_again(tortured, monkeypatch):
    monkeypatch.setattr(torture.os, "getuid", lambda: 1000)
    tortured.once(tortured.full_disk)
    assert tortured.builds == 1 and tortured.skipped == {"full disk": "only root may mount a small one"}


@pytest.mark.parametrize("lasts", [True, False])
def test_a_run_that_has_just_ended_did_not_halt(tortured, lasts):
    with subprocess.Popen(
        [sys.executable, "-c", "input()" if lasts else ""], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        if not lasts:
            torture.os.waitid(torture.os.P_PID, process.pid, torture.os.WEXITED | torture.os.WNOWAIT)
        assert tortured.hold(SimpleNamespace(process=process)) is lasts
        process.communicate(b"\n", timeout=10)


def test_all_that_happens_once_is_tried_until_it_counts(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(torture.Torture, "make_reference", lambda self: None)
    monkeypatch.setattr(torture.Torture, "build", lambda self, accidents: asked.append(accidents.__name__) or False)
    assert torture.main(["--count", "0"]) == 0
    assert asked == ["halt"] * 5 + ["read_only"] * 5 + ["full_disk"] * 5 and "skipped" in capsys.readouterr().out
