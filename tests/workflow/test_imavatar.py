"""From IMAvatar's folder to renders: rows, given masks and the authors' tracking, none of it fitted or matted anew."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from selfieavatar.geometry.camera import transform
from selfieavatar.identity import Identity
from selfieavatar.io.images import read_image, write_image
from selfieavatar.io.manifest import read_manifest
from selfieavatar.morphable.published import load_model
from selfieavatar.video.reader import open_source
from tests.fitting import imported_makers as track
from tests.morphable.published import makers
from tests.workflow.conftest import JOB, ROOT

pytestmark = pytest.mark.slow

FRAMES, TARGET = 12, "results/subject1/clips/MVI_1810/render.parquet"


def build(folder, source):
    """One video as IMAvatar's authors hand it out, numbered from 1 without leading zeros, and a FLAME folder."""
    video = folder / "data/subject1/subject1/MVI_1810"
    for number, _, image in open_source(source).read(range(FRAMES)):
        write_image(video / "image" / f"{number + 1}.png", image)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[:, : image.shape[1] // 2] = 255
        write_image(video / "mask" / f"{number + 1}.png", mask)
    content = track.flame_content(FRAMES, distance=3.5)
    track.write_flame(video / "flame_params.json", content)
    makers.flame_folder(folder / "flame")
    # The actor is not this made-up head: landmarks may lie anywhere.
    fit = {"model": "flame", "model_path": "flame", "coefficients": "flame_params.json", "max_error": 1000}
    overlay = {"fit": fit, "matting": {"method": "given"}, "samples": {"gap_s": 0}}
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    command = [sys.executable, "-m", "tools.ingest", "imavatar", str(folder / "data"), "--train", "MVI_1810"]
    command += ["--consent", "synthetic", "--preset", "smoke", "--out", str(folder / "imavatar.tsv")]
    subprocess.run(command, cwd=ROOT, check=True)
    return video, content


@pytest.fixture(scope="module")
def project(fresh_project):
    video, content = build(fresh_project.work, fresh_project.work / "talk.mp4")

    def run(*arguments, check=True):
        return fresh_project.snakemake(
            TARGET, "--configfile", "overlay.yaml", *arguments, sheet="imavatar.tsv", check=check
        )

    return fresh_project, run, video, content


def test_given_is_taken_and_a_change_of_it_runs_again(project):
    made, run, video, content = project
    file = video / "flame_params.json"
    before = file.read_bytes()
    file.rename(file.with_suffix(".away"))
    said = run("--dry-run").stdout
    assert "subject1', clip 'MVI_1810' will fail" in said and "flame_params.json are missing" in said
    file.with_suffix(".away").rename(file)
    run()
    clip = made.work / TARGET.rpartition("/")[0]
    decode, found = (read_manifest(clip / f"{name}.parquet", name) for name in ("decode", "fit"))
    assert found["fitted"].all()
    known = Identity.load(made.work / "results/subject1/identity.npz")
    model, camera = known.model, known.camera
    seen = camera.project(transform(model.vertices(found["expression"]), found["rotation"], found["translation"]))
    source = load_model("flame", made.work / "flame").flame_source
    truth = track.flame_truth(makers.flame_data(), content)[:, source] * decode.metadata["source_size"][0]
    left, top, side = decode.metadata["crop_px"]
    truth = (truth - (left, top)) * decode.metadata["size_px"] / side
    far = np.linalg.norm(seen[:, : len(source)] - truth, axis=2)
    assert np.median(far) < 0.1
    # The face is drawn where the vertices are; the mask's border is where it was given.
    drawn = read_image(clip / "uv" / "000003.png")[..., 2] > 0
    hull = np.zeros(drawn.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(truth[3] - 0.5).astype(np.int32)), 1)
    assert (drawn & (hull > 0)).sum() > 0.8 * drawn.sum() > 100
    alpha = read_image(clip / "alpha" / "000003.png")
    middle = round((decode.metadata["source_size"][0] / 2 - left) * decode.metadata["size_px"] / side)
    assert (alpha[:, : middle - 2] > 250).all() and (alpha[:, middle + 2 :] < 5).all()

    said = run("--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr
    content["frames"][2]["expression"][0] += 0.5
    file.write_text(json.dumps(content))
    said = run("--dry-run")
    jobs = {rule for rule, _ in JOB.findall(said.stdout + said.stderr)}
    assert {"identity", "fit", "render"} <= jobs and not {"decode", "landmarks", "matting"} & jobs
    file.write_bytes(before)


def test_a_file_painted_over_runs_again_what_reads_it_and_a_desktops_files_nothing(project):
    """Snakemake sees only entries that come or go; see config/README.md."""
    _, run, video, _ = project
    run()

    def pending():
        said = run("--dry-run")
        return {rule for rule, _ in JOB.findall(said.stdout + said.stderr)}

    assert not pending()
    for folder in ("image", "mask"):
        for name in (".DS_Store", "Thumbs.db", "._1.png", "desktop.ini"):
            (video / folder / name).write_bytes(b"left by a desktop")
    assert not pending()
    mask, image = video / "mask/5.png", video / "image/5.png"
    kept = mask.stat()
    write_image(mask, 255 - read_image(mask))
    assert {"matting", "identity", "fit"} <= pending() and not {"decode", "landmarks"} & pending()
    write_image(mask, 255 - read_image(mask))
    assert "matting" in pending(), "its time is another"
    os.utime(mask, (kept.st_atime, kept.st_mtime))  # as `cp -a` and archives keep it
    assert not pending()
    write_image(image, 255 - read_image(image))
    assert {"decode", "landmarks", "matting"} <= pending()
