"""`python -m stages.live`: what stops it is said in a sentence, and it serves until Ctrl-C."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import torch

from selfieavatar.errors import UserError
from stages import live
from tests.conftest import ROOT
from tests.live.avatars import write_avatar


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


def given(*arguments):
    return live.build_parser().parse_args(list(map(str, arguments)))


@pytest.mark.parametrize("kind", ["missing", "truncated", "code", "older", "none"])
def test_avatars_that_are_none(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "avatar.pt"
    if kind == "truncated":
        torch.save({"format": 3, "size_px": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:900])
    elif kind == "code":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "older":
        torch.save({"format": 2}, path)
    elif kind == "none":
        torch.save([1], path)
    with pytest.raises(UserError) as refused:
        live.run(given("--avatar", path, "--port", 0))
    assert "avatar.pt" in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "evil").exists()


def test_port_and_video_are_looked_at_before_the_avatar(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on localhost port {port}"):
            live.run(given("--avatar", "none.pt", "--port", port))
    (tmp_path / "empty.mp4").touch()
    for video in (tmp_path, tmp_path / "none.mp4", tmp_path / "empty.mp4"):
        with pytest.raises(UserError, match=re.escape(video.name)):
            live.run(given("--avatar", "none.pt", "--port", 0, "--video", video))


@pytest.mark.slow
def test_it_serves_until_it_is_stopped(tmp_path):
    """Real networks, tiny; beyond this machine the address that is printed has a token."""
    write_avatar(tmp_path / "avatar.pt")
    command = [
        sys.executable,
        "-m",
        "stages.live",
        "--avatar",
        tmp_path / "avatar.pt",
        "--port",
        "0",
        "--host",
        "0.0.0.0",
    ]
    process = subprocess.Popen(
        [*command, "--recordings", tmp_path / "recordings"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    lines = iter(process.stderr.readline, "")
    address = next((found[1] for line in lines if (found := re.search(r"open (http\S+)", line))), "")
    address = re.sub(r"//[^:/]+:", "//localhost:", address)
    try:
        assert "?token=" in address
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address, timeout=20) as page:
            assert b"SelfieAvatar" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.partition("?")[0], timeout=20)
    finally:
        process.send_signal(signal.SIGINT)
        process.stderr.close()
        assert process.wait(timeout=30) == 0
