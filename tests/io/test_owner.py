"""A process counts as gone only where that is sure."""

import os
import signal
import subprocess

from selfieavatar.io.owner import is_gone, place, start_of


def test_a_process_is_gone_when_it_has_ended_and_not_when_it_is_halted():
    process = subprocess.Popen(["sleep", "60"])
    start = start_of(process.pid)
    process.send_signal(signal.SIGSTOP)
    assert not is_gone(place(), process.pid, start)
    assert is_gone(place(), process.pid, "1"), "another process that had the same id"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(place(), process.pid, start), "killed, though nobody has asked for its status yet"
    process.wait()
    assert is_gone(place(), process.pid, start)


def test_of_another_host_or_container_nothing_is_sure():
    assert not is_gone("0" * 8, 2**22 + 1) and is_gone(place(), 2**22 + 1)
    assert not is_gone(place(), 0) and not is_gone(place(), 10**30)
