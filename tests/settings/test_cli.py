"""How a stage starts and ends."""

import errno
import importlib
import os
import signal
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from selfieavatar.errors import UserError
from selfieavatar.settings.cli import ENDS_WITH, main, stage_parser
from selfieavatar.settings.provenance import ROOT


def outcome(run, capsys, *argv):
    """Exit status and standard error of a stage that runs `run`."""
    with pytest.raises(SystemExit) as ended:
        main(stage_parser("Doc.", "decode"), run, list(argv))
    return ended.value.code, capsys.readouterr().err


def raising(error):
    def run(_args):
        raise error

    return run


def test_settings_are_validated_and_filled():
    seen = {}
    main(stage_parser("Doc.", "decode"), lambda args: seen.update(args.settings), ["--settings", '{"size_px": 64}'])
    assert seen["size_px"] == 64 and len(seen) > 1


def test_small_matrices_keep_to_one_thread():
    """Their results depend on the number of threads, and small ones take longer on two."""
    pools = []
    with threadpool_limits(2, user_api="blas"):
        main(stage_parser("Doc.", "decode"), lambda _args: pools.extend(threadpool_info()), [])
    assert {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"} == {1}


@pytest.mark.parametrize("text", ["{", "[1]", '{"sise_px": 1}'])
def test_bad_settings_end_with_one_line(text, capsys):
    status, said = outcome(lambda _args: None, capsys, "--settings", text)
    assert status == 2 and said.startswith("error: decode: ") and said.count("\n") == 1


def test_how_errors_end(capsys):
    assert outcome(raising(UserError("fix it")), capsys) == (2, "error: decode: fix it\n")
    status, said = outcome(raising(OSError(errno.ENOSPC, "No space left", "/data/x")), capsys)
    assert status == 2 and "the disk is full at /data/x" in said
    assert outcome(raising(KeyboardInterrupt()), capsys)[0] == 130
    status, said = outcome(raising(PermissionError(errno.EACCES, "Permission denied", "/data/x")), capsys)
    assert status == 2 and "cannot write /data/x (Permission denied)" in said
    for number in (errno.EIO, errno.ESTALE):
        status, said = outcome(raising(OSError(number, os.strerror(number), "/data/x")), capsys)
        assert status == 2 and f"the disk or its connection fails at /data/x ({os.strerror(number)})" in said
    status, said = outcome(raising(OSError(errno.ENAMETOOLONG, "File name too long", "/data/x")), capsys)
    assert status == 2 and "a name is too long for the file system: /data/x" in said


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        main(stage_parser("Doc.", "decode"), raising(ZeroDivisionError()), [])


WAITING = """
import contextlib, time
from selfieavatar.settings import cli
from selfieavatar.settings.cli import main, stage_parser

cli.AGAIN_S = 0.2

def run(args):
    print("begun", flush=True)
    with contextlib.suppress(KeyboardInterrupt):  # as code in C that calls back may do
        time.sleep(60)
    time.sleep(60)

main(stage_parser("Doc.", "decode"), run, [])
"""


@pytest.mark.parametrize("killed", [0, 1])
def test_a_stage_ends_with_the_run_that_started_it(killed):
    """Killed outright, neither Snakemake nor the shell between can pass it on."""
    parents = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    env = os.environ | {ENDS_WITH: " ".join(str(parent.pid) for parent in parents)}
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as stage:
        assert stage.stdout.readline() == "begun\n"
        parents[killed].send_signal(signal.SIGKILL)  # and nobody has waited for it: a zombie
        _, said = stage.communicate(timeout=30)
    for parent in parents:
        parent.kill()
        parent.wait()
    assert stage.returncode == 130 and "the run that started this stage has ended" in said
    assert "nothing half-written was left behind" in said


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "stages").glob("[a-z]*.py"))])
def test_the_help_of_a_stage_announces_it(name):
    parser = importlib.import_module(f"stages.{name}").build_parser()
    assert parser.prog == f"python -m stages.{name}" and parser.get_default("stage") == name


def test_what_a_stage_writes_by_whatever_library_is_private(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SELFIEAVATAR_UMASK", raising=False)
    before = os.umask(0o022)
    try:
        main(stage_parser("Doc.", "decode"), lambda _args: (tmp_path / "events").touch(), [])
        assert (tmp_path / "events").stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv("SELFIEAVATAR_UMASK", "everybody")
        status, said = outcome(lambda _args: None, capsys)
        assert status == 2 and "SELFIEAVATAR_UMASK is 'everybody'" in said
    finally:
        os.umask(before)
