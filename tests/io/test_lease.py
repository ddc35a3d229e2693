"""Of two runs on one folder only one makes its files: no lock of the file system is asked, only O_EXCL and times."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfieavatar.errors import UserError
from selfieavatar.io import files, lease
from selfieavatar.io.files import atomic_dir, atomic_file
from selfieavatar.io.lease import Holder, lease_file, leased, new_run, refuse_lost, refuse_others
from selfieavatar.io.owner import place

# Another process: it writes a.txt below the folder, and waits in the middle for a line.
WRITER = """
import sys
from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_file
from selfieavatar.io.lease import leased
from pathlib import Path
try:
    with leased([Path(sys.argv[1])]), atomic_file(Path(sys.argv[1], "a.txt")) as temporary:
        print("begun", flush=True)
        temporary.write_text(sys.stdin.readline())
except UserError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def writer(tmp_path):
    """A run of another process that has begun to write."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "anna")]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def anna(tmp_path) -> Path:
    return tmp_path / "anna"


def change(path: Path, **facts: object) -> None:
    """Let the lease of a path say something else, as that of another host does."""
    file = lease_file(path)
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def test_a_second_run_is_refused_by_one_sentence_that_says_who_works_there(writer, anna):
    with pytest.raises(UserError) as caught, leased([anna / "clips/talk/frames"]):
        pytest.fail("two at once")
    said = str(caught.value)
    assert f"process {writer.pid}, since 20" in said and f"rm {lease_file(anna)}" in said and "\n" not in said
    assert not (anna / "clips").exists() or not any(anna.rglob("*.lease")), "its own lease does not stay"
    said, _ = writer.communicate("all of it\n")
    assert writer.returncode == 0 and (anna / "a.txt").read_text() == "all of it\n"
    assert sorted(path.name for path in anna.parent.rglob("*")) == ["a.txt", "anna"]
    with leased([anna]):
        pass


def test_a_run_that_comes_later_leaves_a_stage_that_was_started_by_hand_alone(tmp_path):
    """The stage leases its output, deep in the subject's folder; the run would lease the folder."""
    by_hand = Holder(new_run())
    by_hand.take([tmp_path / "anna/clips/talk/frames"])
    with pytest.raises(UserError, match="clips/talk/frames is being made by .*process"):
        Holder(new_run()).take([tmp_path / "anna"])
    assert not lease_file(tmp_path / "anna").exists()
    by_hand.release()
    run = Holder(new_run())
    run.take([tmp_path / "anna"])
    run.release()


def test_what_killed_runs_have_left_on_this_host_is_cleared(writer, anna, tmp_path):
    writer.kill()
    writer.wait()
    other, mine = Holder(new_run()), Holder(new_run())
    other.take([tmp_path / "bert", tmp_path / "carl"])
    change(tmp_path / "carl", place="another host", pid=1)
    mine.clear(tmp_path)
    assert not lease_file(anna).exists()
    assert lease_file(tmp_path / "bert").exists() and lease_file(tmp_path / "carl").exists()
    other.release()


@pytest.mark.parametrize("ended", [True, False], ids=["the other has ended", "the other goes on"])
def test_a_halted_run_whose_lease_was_taken_leaves_the_finished_file_alone(writer, anna, ended):
    writer.send_signal(signal.SIGSTOP)
    lease_file(anna).unlink()  # what the sentence says
    other = Holder(new_run())
    other.take([anna])
    (anna / "a.txt").write_text("finished")
    if ended:
        other.release()
    writer.send_signal(signal.SIGCONT)
    _, said = writer.communicate("late\n")
    assert writer.returncode == 1 and "the lease of this run" in said and said.count("\n") == 1
    assert (anna / "a.txt").read_text() == "finished" and [path.name for path in anna.iterdir()] == ["a.txt"]
    assert lease_file(anna).exists() != ended, "nor does it remove the other's lease"
    other.release()


def test_what_a_halted_run_was_writing_may_be_gone_when_it_goes_on(anna):
    holder = Holder(new_run())
    with pytest.raises(UserError, match="the lease of this run"), leased([anna]), atomic_dir(anna / "frames") as folder:
        lease_file(anna).unlink()
        holder.take([anna])
        folder.rmdir()
        (folder / "000000.png").write_bytes(b"")
    holder.release()


def test_a_killed_run_is_taken_over_at_once(writer, anna, caplog):
    writer.kill()
    os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
    with leased([anna]), atomic_file(anna / "a.txt") as temporary:
        temporary.write_text("whole")
    assert f"process {writer.pid}" in caplog.text and "dead" in caplog.text
    assert [path.name for path in anna.iterdir()] == ["a.txt"], "what it had begun is removed, too"


@pytest.mark.parametrize(("age_s", "taken"), [(290, False), (310, True)])
def test_a_run_on_another_host_is_taken_over_when_its_heartbeat_is_old(anna, monkeypatch, age_s, taken):
    """By the clock of the file system: that of this host may be hours off."""
    other = Holder(new_run())
    other.take([anna])
    change(anna, place="00000000", host="node7", pid=1)
    now_s = lease_file(anna).stat().st_mtime - age_s
    os.utime(lease_file(anna), (now_s, now_s))
    monkeypatch.setattr(time, "time", lambda: now_s + 7200)
    mine = Holder(new_run())
    if taken:
        mine.take([anna])
        assert json.loads(lease_file(anna).read_text())["token"] == mine.run.token
    else:
        with pytest.raises(UserError, match=f"on node7, process 1, since .* last heard of {age_s} s ago"):
            mine.take([anna])
    mine.release()
    assert [path.name for path in anna.parent.iterdir()] == ([] if taken else [".anna.lease"])
    other.release()


def test_the_heart_beats_by_the_file_systems_clock_until_the_lease_is_lost(anna, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", 0.02)
    holder, file = Holder(new_run()), lease_file(anna)
    holder.take([anna])
    os.utime(file, (0, 0))
    until = time.monotonic() + 20
    while file.stat().st_mtime == 0 and time.monotonic() < until:
        time.sleep(0.01)
    assert file.stat().st_mtime > 1e9
    change(anna, token="another's")
    os.utime(file, (0, 0))
    time.sleep(0.2)
    holder.release()
    assert file.stat().st_mtime == 0, "neither kept alive nor released by whom it does not belong to"


def test_a_run_that_writes_nothing_leaves_no_folder(anna):
    with pytest.raises(UserError, match="a wrong input"), leased([anna / "clips/talk/frames", anna / "avatar.pt"]):
        raise UserError("a wrong input")
    assert not anna.exists() and anna.parent.exists()


def test_all_leases_are_taken_or_none(anna):
    bert, holder = anna.with_name("bert"), Holder(new_run())
    holder.take([bert])
    with pytest.raises(UserError, match="bert is being made"):
        Holder(new_run()).take([anna, bert])
    assert not lease_file(anna).exists() and lease_file(bert).exists()
    holder.release()


def test_of_several_that_take_over_at_once_one_owns_it(anna):
    """Four processes, a dead owner, twenty times."""
    script = (
        "import sys, json; from pathlib import Path; from selfieavatar.io.lease import *;"
        "from selfieavatar.errors import UserError\n"
        "for line in sys.stdin:\n"
        "    holder = Holder(new_run())\n"
        "    try: holder.take([Path(line.strip())]); refuse = ''\n"
        "    except UserError: refuse = 'no'\n"
        "    print(refuse or holder.run.token, flush=True)\n"
    )
    pipe = subprocess.PIPE
    many = [subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for number in range(20):
        path = anna.with_name(f"anna{number}")
        dead = Holder(new_run())
        dead.take([path])
        change(path, place=place(), pid=2**22 + 1)
        for one in many:
            one.stdin.write(f"{path}\n")
            one.stdin.flush()
        tokens = [one.stdout.readline().strip() for one in many]
        assert json.loads(lease_file(path).read_text())["token"] in tokens
    for one in many:
        one.communicate()
    assert not [path for path in anna.parent.iterdir() if not path.name.endswith(".lease")]


def test_the_stages_of_a_run_need_its_lease_of_each_subject(anna, monkeypatch):
    results = anna.parent
    run = new_run()
    run.roots.append(str(results))
    holder = Holder(run)
    holder.take([anna])
    monkeypatch.setenv(lease.VARIABLE, "")
    run.publish()
    refuse_lost(anna / "clips/talk/frames")
    refuse_lost(results / "table.md")  # all subjects share it
    refuse_lost(results.parent / "elsewhere/weights.pth")
    assert re.fullmatch(r"[\w%./~-]+", os.environ[lease.VARIABLE]), "fit for the command of a job on another host"
    with pytest.raises(UserError, match="the lease of this run"):
        refuse_lost(results / "bert/avatar.pt")
    holder.release()
    with pytest.raises(UserError, match="the lease of this run"), leased([anna / "avatar.pt"]):
        pytest.fail("a job that was queued before its run had ended")


@pytest.mark.parametrize("planted", ["link", "folder", "junk", "deep", "escape"])
def test_a_lease_that_is_none_is_an_unknown_owner_until_it_is_old(anna, planted, capsys):
    file = lease_file(anna)
    if planted == "link":
        file.symlink_to(anna.with_name("target"))
    elif planted == "folder":
        file.mkdir()
    else:
        bad = {"token": "\x1b[31m", "user": "\x1b]0;x\x07", "host": 1, "place": [], "start": {}, "since": None}
        text = {"junk": "", "deep": "[" * 10_000, "escape": json.dumps(bad | {"command": "a\nb", "pid": -1})}
        file.write_text(text[planted])
    with pytest.raises(UserError) as caught:
        Holder(new_run()).take([anna])
    assert str(caught.value).isprintable() and not anna.with_name("target").exists()
    os.utime(file, (0, 0), follow_symlinks=False)
    holder = Holder(new_run())
    holder.take([anna])
    assert json.loads(file.read_text())["token"] == holder.run.token
    holder.release()


def test_reading_and_writing_elsewhere_is_not_hindered(anna, writer):
    refuse_others(anna.with_name("bert"))
    with atomic_file(anna.with_name("bert") / "a.txt") as temporary:
        temporary.touch()
    with pytest.raises(UserError, match="is being made by"), atomic_file(anna / "b.txt"):
        pass
    assert not (anna / "b.txt").exists()
    refuse_others(anna.with_name("b" * 255))


def test_nothing_is_locked(anna, monkeypatch):
    """flock and lockf do nothing, or hang, on some network file systems."""
    import fcntl

    def fail(*_: object) -> None:
        pytest.fail("a lock")

    monkeypatch.setattr(fcntl, "flock", fail)
    monkeypatch.setattr(fcntl, "lockf", fail)
    monkeypatch.setattr(os, "link", fail)
    with leased([anna]), atomic_dir(anna / "frames"):
        pass
    assert files.content_hash(b"") and (anna / "frames").is_dir()
