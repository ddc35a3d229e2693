"""Results in an object store, by Snakemake's storage plugin and a local S3 server: `make s3-check`.

`make test` leaves this out: it needs two packages that are not in requirements.lock (docs/cluster.md).
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from selfieavatar.io.manifest import read_manifest
from tests.workflow.conftest import HEADER, ROOT

NEEDED = {"snakemake_storage_plugin_s3": "snakemake-storage-plugin-s3", "moto": "moto[server]"}
ROW = "anna\ttalk\tdrive\ttalk.mp4\t0\t20\tdemo\tsynthetic\tsmoke\n"
TARGETS = [f"results/anna/clips/talk/{name}.parquet" for name in ("landmarks", "matting")]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """Its address, a client, and the environment that names the server."""
    absent = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if absent:
        pytest.skip(f"needs {' and '.join(absent)} (docs/cluster.md)")
    import boto3

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path_factory.mktemp("s3") / "server.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    keys = {"ACCESS_KEY": "check", "SECRET_KEY": "check", "ENDPOINT_URL": address}
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="check", aws_secret_access_key="check"
    )
    yield client, os.environ | {f"SNAKEMAKE_STORAGE_S3_{name}": value for name, value in keys.items()}
    server.terminate()
    server.wait()


def run(project, env, *options):
    command = [sys.executable, "-m", "snakemake", "--snakefile", project.code / "Snakefile", "--cores", "1", *options]
    command += ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://avatars", *TARGETS]
    done = subprocess.run(
        [*command, "--config", "subjects=sheet.tsv"],
        cwd=project.work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_the_rule_of_the_documentation_stores_what_is_finished(fresh_project, bucket):
    client, env = bucket
    text = (ROOT / "docs/cluster.md").read_text()
    lines = text[text.index("    module avatars:") : text.index("and then\n")]
    snakefile = re.sub("^    ", "", lines, flags=re.MULTILINE).replace(
        "/path/to/selfieavatar/workflow/Snakefile", str(fresh_project.code / "workflow/Snakefile")
    )
    kept = re.sub("FILES = .*", 'FILES = ["clips/talk/decode.parquet"]', snakefile)
    (fresh_project.work / "stored.smk").write_text(kept)
    (fresh_project.work / "sheet.tsv").write_text(HEADER + ROW)
    command = [sys.executable, "-m", "snakemake", "-s", "stored.smk", "--cores", "1", "stored", "--config"]
    subprocess.run([*command, "subjects=sheet.tsv", "store=anna"], cwd=fresh_project.work, env=env, check=True)
    stored = client.get_object(Bucket="my-bucket", Key="anna/clips/talk/decode.parquet")["Body"].read()
    assert stored == (fresh_project.work / "results/anna/clips/talk/decode.parquet").read_bytes()
    shutil.rmtree(fresh_project.work / "results")


def test_results_lie_in_the_bucket_alone(fresh_project, bucket):
    client, env = bucket
    (fresh_project.work / "sheet.tsv").write_text(HEADER + ROW)
    run(fresh_project, env)
    folder = fresh_project.work / "bucket"
    for row in client.get_paginator("list_objects_v2").paginate(Bucket="avatars"):
        for item in row["Contents"]:
            path = folder / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file("avatars", item["Key"], str(path))
    clip = folder / "results/anna/clips/talk"
    assert sorted(path.name for path in (clip / "frames").glob("*.png")) == [f"{n:06d}.png" for n in range(20)]
    assert len(list((clip / "alpha").glob("*.png"))) == 20
    assert read_manifest(clip / "landmarks.parquet", "landmarks")["frame"].tolist() == list(range(20))
    assert not (fresh_project.work / "results").exists()
    shutil.rmtree(folder)
    assert "Nothing to be done" in run(fresh_project, env)
