"""What the rules' commands are made of."""

import os
import signal
import subprocess
import sys
import time

import pytest

from selfieavatar.workflow.command import logged

STAGE = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print("started", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.2)
    sys.exit("saved")
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_log_has_a_stage_s_last_words(tmp_path, sent):
    """At the end of a job's time Slurm sends SIGTERM to all of its processes; a terminal sends SIGINT or SIGHUP."""
    (tmp_path / "stage.py").write_text(STAGE.replace("SIGTERM", sent.name))
    log = tmp_path / "stage.log"
    command = logged(f"{sys.executable} {tmp_path}/stage.py").replace("{log:q}", str(log))
    job = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 20
    while not (log.is_file() and log.read_text().endswith("\n")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(job.pid, sent)
    assert job.communicate(timeout=20)[0] == b"started\nsaved\n" and log.read_text() == "started\nsaved\n"
