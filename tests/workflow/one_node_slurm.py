"""A Slurm of one node in a folder of its own: munged, slurmctld and slurmd with their own keys, ports and logs.

It claims more cores and memory than the machine has, and two GPUs that are none, so that jobs are let in as on a
cluster; they see no GPU. It keeps no accounts (no slurmdbd, no database).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
START_S = 30

CONFIG = """ClusterName=check
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/no_gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
MinJobAge=86400
KillWait=30
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=400000 TmpDisk=400000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES
"""


def missing() -> str:
    """Say what keeps such a Slurm from starting here; empty if nothing does."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"needs Slurm, but {', '.join(absent)} are not installed (Debian: apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "needs root, as slurmd does"


class OneNodeSlurm:
    """Start it in an empty folder; `env` has what Slurm's commands need to find it; `stop` ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._running = folder, []
        host, user = socket.gethostname(), subprocess.check_output(["id", "-un"], text=True).strip()
        config = CONFIG.format(host=host, user=user, folder=folder, ports=_free_ports(2))
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(config)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        (folder / "no_gpu").write_text("#!/bin/sh\necho unset CUDA_VISIBLE_DEVICES\n")
        (folder / "no_gpu").chmod(0o755)
        for number in range(2):  # Slurm counts GPUs by their device files
            os.mknod(folder / f"gpu{number}", 0o20600, os.makedev(1, 3))
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")
        self.env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "USER": user}
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={self.folder}/munge.{ending}" for option, ending in places.items()]
        self._daemon("munged", "--foreground", "--force", *options)
        self._wait(lambda: (self.folder / "munge.socket").exists())
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D")
        self._wait(lambda: "idle" in self.say("sinfo", "--noheader", "--format=%T", check=False))

    def _daemon(self, *command: str) -> None:
        log = (self.folder / f"{command[0]}.said").open("w")
        started = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
        self._running.append(started)

    def _wait(self, ready) -> None:
        until = time.monotonic() + START_S
        while not ready():
            if time.monotonic() > until or any(one.poll() is not None for one in self._running):
                said = "\n".join(path.read_text()[-1000:] for path in sorted(self.folder.glob("*.said")))
                raise RuntimeError(f"Slurm does not start:\n{said}")
            time.sleep(0.2)

    def say(self, *command: str, check: bool = True) -> str:
        """Run a command of Slurm and return what it says."""
        return subprocess.run(
            command, env=self.env, check=check, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60
        ).stdout

    def jobs(self) -> list[dict[str, str]]:
        """List all jobs that it has had, each as the pairs of `scontrol show job`."""
        rows = self.say("scontrol", "--oneliner", "show", "job").splitlines()
        return [dict(re.findall(r"(\S+?)=(.*?)\s*(?= \S+?=|$)", row)) for row in rows if row.startswith("JobId=")]

    def stop(self) -> None:
        """End it, with all jobs."""
        for daemon in reversed(self._running):
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
