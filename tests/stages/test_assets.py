"""Test downloads: complete and verified, resumed after a broken connection, refused when wrong."""

import hashlib
import http.server
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.lease import Holder, new_run
from selfieavatar.settings.assets import ASSETS, Asset, asset_path, given_file, measuring_files, needed_files
from selfieavatar.settings.sections import Evaluate
from selfieavatar.settings.train_section import Train
from stages import assets
from stages.assets import download

CONTENT = bytes(range(256)) * 4096


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve /good, /wrong, /drops (breaks the first answer half-way) and /whole (the same, without Range)."""

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].rstrip("-"))
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/chunks":  # breaks within a chunk, of no announced length
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"1000\r\n" + CONTENT[:100])
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.server.leads_to)
            self.end_headers()
            return
        if self.path == "/nonsense":
            self.send_response(200)
            self.send_header("Content-Length", "abc")
            self.end_headers()
            self.wfile.write(CONTENT)
            return
        if self.path == "/slow":  # the second half comes when the test says so
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.server.starts.append(start)
            half = max(start, len(CONTENT) // 2)
            self.wfile.write(CONTENT[start:half])
            self.server.go_on.wait(10)
            self.wfile.write(CONTENT[half:])
            return
        if self.path == "/whole":
            start = 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        content = CONTENT[start:] if self.path != "/wrong" else b"x" * len(CONTENT)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.server.starts.append(start)
        if self.path in ("/drops", "/whole") and len(self.server.starts) == 1:
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_):
        """Keep the test's output quiet."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(assets, "SCHEMES", ("https", "http"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.starts, server.go_on = [], threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def asset(server, path):
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Asset("weights.pth", f"http://127.0.0.1:{server.server_port}/{path}", digest, "MIT")


def test_download(server, tmp_path):
    download(asset(server, "good"), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


def test_a_broken_download_resumes(server, tmp_path):
    wanted = asset(server, "drops")
    with pytest.raises(UserError, match="run the command again to resume"):
        download(wanted, tmp_path / "weights.pth")
    assert not (tmp_path / "weights.pth").exists()
    download(wanted, tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert server.starts == [0, len(CONTENT) // 2]


def test_a_second_download_waits_for_the_first_and_takes_its_file(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(assets, "WAIT_S", 0.05)
    wanted, out = asset(server, "slow"), tmp_path / "weights.pth"
    with ThreadPoolExecutor() as pool:
        first = pool.submit(download, wanted, out)
        wait_until(lambda: server.starts)
        second = pool.submit(download, wanted, out)
        wait_until(lambda: "waiting for another download" in caplog.text)
        server.go_on.set()
        first.result(), second.result()
    assert out.read_bytes() == CONTENT and server.starts == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]
    assert caplog.text.count("waiting for") == 1 and f"process {os.getpid()}" in caplog.text


def test_a_second_download_resumes_where_the_first_broke(server, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "WAIT_S", 0.05)
    other, out = Holder(new_run()), tmp_path / "weights.pth"
    other.take([tmp_path / "weights.pth.part"])
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(download, asset(server, "good"), out)
        time.sleep(0.2)
        assert not waiting.done() and not server.starts
        other.release()
        waiting.result()
    assert out.read_bytes() == CONTENT and server.starts == [1000]


def wait_until(holds):
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    raise TimeoutError


def test_a_server_without_range_starts_again(server, tmp_path):
    wanted = asset(server, "whole")
    with pytest.raises(UserError, match="run the command again to resume"):
        download(wanted, tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth.part").stat().st_size == len(CONTENT) // 2
    download(wanted, tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_broken_answer_of_unknown_length(server, tmp_path):
    with pytest.raises(UserError, match="run the command again to resume"):
        download(asset(server, "chunks"), tmp_path / "weights.pth")
    assert not (tmp_path / "weights.pth").exists()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [({}, ["vgg19", "resnet50"]), ({"weight_mrf": 0}, ["resnet50"]), ({"weight_mrf": 0, "weight_cos": 0}, [])],
)
def test_losses_without_weight_ask_for_no_file(change, wanted):
    files = needed_files(Train(backbone_weights="imagenet", **change))
    assert [path.name.split("-")[0] for path in files] == wanted
    assert needed_files(Train(backbone_weights="random", **change)) == []
    assert needed_files(Train(backbone_weights="packaged", cos_network="dlib_face", **change)) == []


def test_the_users_own_file_replaces_the_published_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    asked = Train(backbone_weights="imagenet", cos_network="vggface2")
    with pytest.raises(UserError, match="resnet50_ft_weight.pkl is missing"):
        needed_files(asked)
    (tmp_path / "resnet50_ft_weight.pkl").touch()
    assert [path.name for path in needed_files(asked)] == ["resnet50_ft_weight.pkl", "vgg19-dcbb9e9d.pth"]
    assert len(needed_files(asked.model_copy(update={"weight_cos": 0}))) == 1


def test_a_wrong_file_is_refused_and_removed(server, tmp_path):
    with pytest.raises(UserError, match="another file than the published one, which was removed"):
        download(asset(server, "wrong"), tmp_path / "weights.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_no_network(server, tmp_path):
    with pytest.raises(UserError, match="404.*; put the file at"):
        download(asset(server, "missing"), tmp_path / "weights.pth")
    nowhere = Asset("weights.pth", "http://127.0.0.1:9/weights.pth", "00", "MIT")
    with pytest.raises(UserError, match="could not be downloaded"):
        download(nowhere, tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "leads_to", ["ftp://127.0.0.1/x", "http://[::1", "file:///etc/passwd", "data:,x", "gopher://x"]
)
def test_redirections_to_anything_but_https_are_refused(server, tmp_path, leads_to):
    server.leads_to = leads_to
    with pytest.raises(UserError, match="could not be downloaded"):
        download(asset(server, "to/"), tmp_path / "weights.pth")
    assert list(tmp_path.iterdir()) == []


def test_plain_http_is_refused_and_so_is_a_redirection_to_it(server, tmp_path, monkeypatch):
    wanted, check = asset(server, "to/"), assets._check_scheme
    server.leads_to = f"http://127.0.0.1:{server.server_port}/good"
    monkeypatch.setattr(assets, "SCHEMES", ("https",))
    with pytest.raises(UserError, match="not to an address of https"):
        download(wanted, tmp_path / "weights.pth")
    monkeypatch.setattr(assets, "_check_scheme", lambda url: None if url == wanted.url else check(url))
    with pytest.raises(UserError, match="leads to .*good.*, not to an address of https"):
        download(wanted, tmp_path / "weights.pth")
    assert not server.starts


def test_a_length_that_is_no_number_is_no_length(server, tmp_path):
    download(asset(server, "nonsense"), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_an_answer_without_end_is_broken_off(server, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "MOST_BYTES", 1 << 19)
    with pytest.raises(UserError, match="sends more than"):
        download(asset(server, "good"), tmp_path / "weights.pth")
    assert list(tmp_path.iterdir()) == []


def test_digests_are_whole_and_begin_as_their_publishers_say():
    assert all(re.fullmatch("[0-9a-f]{64}", known.sha256) for known in ASSETS.values())
    named = {name: re.search(r"-([0-9a-f]{8,10})\.", known.file) for name, known in ASSETS.items()}
    begins = {name: found[1] for name, found in named.items() if found}
    assert len(begins) == 6 and all(ASSETS[name].sha256.startswith(digits) for name, digits in begins.items())


def test_missing_weights_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    known = ASSETS["vgg19_imagenet"]
    with pytest.raises(UserError, match="snakemake --cores 1 .*or download https://.*put the file there"):
        asset_path("vgg19_imagenet")
    (tmp_path / known.file).write_bytes(b"something else")
    with pytest.raises(UserError, match="not the published file"):
        asset_path("vgg19_imagenet")


def test_metrics_use_the_weights_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    assert measuring_files(Evaluate()) == []
    there = [tmp_path / ASSETS["inception_fid"].file, given_file("resnet50_vggface2")]
    for path in (*there, tmp_path / ASSETS["vgg19_imagenet"].file):
        path.touch()
    assert measuring_files(Evaluate()) == there
    assert measuring_files(Evaluate(network_metrics=False)) == []
