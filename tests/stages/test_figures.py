"""The page about an avatar from made-up tables: what it shows, what it escapes, what it refuses."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.io.avatar_file import FORMAT
from selfieavatar.io.images import image_name, write_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.io.schemas import SCHEMAS
from selfieavatar.marking.facts import BESIDE_REAL
from selfieavatar.marking.reading import read_marks
from selfieavatar.reporting import avatar_page
from selfieavatar.settings import cli
from stages import figures
from tests.training.makers import write_manifests

SIZE, COUNT = 16, 40
HOSTILE = '<img src="http://x" onerror=alert(1)>'
HISTORY = [{"images": 8.0 * k, "minutes": 0.1, "l1": 0.5 / k, "total": 1.0 / k, "d_real": 0.1} for k in range(1, 5)]


def region_metrics(value):
    return {r: {"frames": COUNT, "psnr_db": value, "ssim": 0.9, "sharpness": 1.0, "lpips": None} for r in REGIONS}


def metrics_of(count=COUNT, **changes):
    """Content of a metrics.json."""
    content = {"subject": "anna", "variant": "default", "split": "self", "frames": count, "size_px": SIZE}
    content |= region_metrics(31.25)
    content |= {
        "temporal": {"pairs": 3, "flicker_static": None}, "tracked": None,
        "mask": {"frames": COUNT, "mask_mae": 0.0125, "mask_iou": 0.97},
        "intervals": {r: {"psnr_db": [30.5, 32.75], "ssim": None} for r in REGIONS} | {"drawn": "blocks of 25"},
        "interleaved": [], "tracked_torso": region_metrics(32.5),
        "baselines": {"nearest_frame": region_metrics(24.5)}, "definitions": {"ssim": "Gaussian window"},
        "speed": {"fps": 20.0, "device": "cpu"}, "training": {"images": 40, "minutes": 0.5},
        "weights": {"vgg19": "random:1", "alexnet": None}, "versions": {"python": "3.11"},
        "notes": ["lpips: no weights here", "2 test frames left out"],
    }  # fmt: skip
    return content | changes


def write_scores(path, clips, frames, **facts):
    """self.parquet; frames without a face have no score of it."""
    score = 30 + np.sin(np.arange(len(frames)) / 3)
    columns = {f"{f}_{r}": score for f in ("psnr_db", "ssim", "sharpness") for r in REGIONS} | {"frame": frames}
    names = [name for name in SCHEMAS["self"].names if name not in ("clip", *columns)]
    columns |= dict.fromkeys(["psnr_db_eyes", *names], np.full(len(frames), np.nan))
    write_manifest(
        path, "self", columns | {"clip": clips}, {"subject": "anna", "variant": "default", "size_px": SIZE} | facts
    )


def write_subject(folder, clips=("talk",), count=COUNT, labels=None):
    """All inputs: `count` frames of each clip, every second one measured."""
    frames = np.arange(0, count, 2)
    for clip in clips:
        write_manifests(folder / "clips" / clip, count)
        decode = read_manifest(folder / "clips" / clip / "decode.parquet", "decode")
        columns = {name: decode[name] for name in decode.table.column_names}
        facts = {"fps": 10.0, "size_px": SIZE, "labels": (labels or {}).get(clip, {})}
        write_manifest(folder / "clips" / clip / "decode.parquet", "decode", columns, facts)
        for number in frames.tolist():
            for place, value in ((folder / "clips" / clip / "frames", 90), (folder / "self" / clip, 99)):
                write_image(place / image_name(number), np.full((SIZE, SIZE, 3), value, np.uint8))
    all_clips = [clip for clip in clips for _ in frames]
    write_scores(folder / "self.parquet", all_clips, np.tile(frames, len(clips)))
    write_json(folder, metrics_of(len(all_clips)))
    torch.save(
        {"format": FORMAT, "subject": "anna", "consent": "self", "history": HISTORY, "versions": {"torch": "2"}},
        folder / "avatar.pt",
    )
    return folder


def write_json(folder, content):
    (folder / "metrics.json").write_text(json.dumps(content))


def page_of(folder):
    """Runs the stage and reads its page."""
    words = "--avatar avatar.pt --metrics metrics.json --frames-table self.parquet --pictures self --video self.mp4"
    words = [*words.split(), "--clips-dir", "clips", "--out", "figures.html"]
    cli.main(figures.build_parser(), figures.run, [w if w.startswith("--") else str(folder / w) for w in words])
    return (folder / "figures.html").read_text()


def refused(folder, capsys):
    """The sentence that a run ends with; it leaves no page."""
    with pytest.raises(SystemExit) as stop:
        page_of(folder)
    said = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and said.count("error:") == 1 and not list(folder.glob("*figures*"))
    return said


def test_the_page_shows_metrics_intervals_and_what_is_missing(tmp_path):
    page = page_of(write_subject(tmp_path))
    assert "<b>face: the avatar</b>" in page and "31.25 <small>[30.50, 32.75]</small>" in page and "24.50" in page
    row = r"face: the avatar</b></td><td>40</td><td>[^<]*<small>[^<]*</small></td><td>0.900</td>"
    assert re.search(row, page), "no interval of SSIM"
    assert "LPIPS is null: no weights here" in page and "FID is null: metrics.json does not say why" in page
    assert page.count("no weights here") == 1 and "2 test frames left out" in page
    assert "40 images in 0.5 minutes" in page and "trained with torch 2" in page and "weights of alexnet: null" in page
    assert 'href="self.mp4"' in page and "<h2>Training</h2>" in page and "worse than a plain copy" not in page


def test_images_of_the_page_say_that_the_avatar_is_synthetic(tmp_path):
    page = page_of(write_subject(tmp_path))
    data = [base64.b64decode(one) for one in re.findall(r'jpeg;base64,([^"]+)', page)]
    assert data
    for number, one in enumerate(data):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(one)
        marks = read_marks(path)
        assert marks.facts.kind == BESIDE_REAL and marks.facts.consent == "self"
        assert marks.credentials.signature == "valid, untrusted" and marks.facts.region[0] > 0


def test_the_page_needs_nothing_but_the_video(tmp_path):
    page = page_of(write_subject(tmp_path))
    assert set(re.findall(r'href="([^"]*)"', page)) == {"self.mp4"}
    assert not re.findall(r'src="(?!data:image/(?:png|jpeg);base64,)', page) and "url(" not in page
    assert page.count("data:image/jpeg") == 4, "a second apart, two seconds hold two of the worst and two of the rest"


def test_everything_from_files_is_escaped(tmp_path):
    folder = write_subject(tmp_path, labels={"talk": {"emotion": HOSTILE}})
    hostile = {"notes": [f"lpips: {HOSTILE}", HOSTILE], "weights": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}}
    hostile |= {"definitions": {HOSTILE: HOSTILE}, "subject": HOSTILE, "speed": {"fps": 1.0, "device": HOSTILE}}
    intervals = metrics_of()["intervals"] | {"drawn": HOSTILE}
    write_json(folder, metrics_of(COUNT // 2, **hostile, intervals=intervals, temporal={HOSTILE: 1.0}))
    write_scores(folder / "self.parquet", ["talk"] * (COUNT // 2), np.arange(0, COUNT, 2), subject=HOSTILE)
    torch.save(
        {"format": FORMAT, "subject": "anna", "consent": "self", "history": [], "versions": {HOSTILE: HOSTILE}},
        folder / "avatar.pt",
    )
    page = page_of(folder)
    assert '<img src="http' not in page and page.count("&lt;img src=&#34;http") > 12
    assert "holds no history of its training" in page


def test_clips_are_told_apart_by_emotion_level_and_name(tmp_path):
    labels = {"one": {"emotion": "happy", "level": "1"}, "two": {"emotion": "sad", "level": "2"}}
    page = page_of(write_subject(tmp_path, ("one", "two"), labels=labels))
    for label, values in (("emotion", ("happy", "sad")), ("level", ("1", "2")), ("clip", ("one", "two"))):
        assert f"By {label}, over the region: face" in page
        assert all(f"<tr><td>{value}</td><td>20</td>" in page for value in values)
    assert page.count("score of each frame, by region") == 2 and "By view" not in page


def test_of_many_clips_the_weakest_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(avatar_page, "MOST_CLIPS", 1)
    folder = write_subject(tmp_path, ("one", "two"), count=8)
    page = page_of(folder)  # the scores of `write_scores` go on rising: those of the first clip are lower
    assert "The 1 clips with the lowest PSNR of 2" in page
    assert "one: score of each frame" in page and "two: score of each frame" not in page


def test_a_single_frame(tmp_path):
    page = page_of(write_subject(tmp_path, count=1))
    assert "The only one" in page and "Worst" not in page and "Best" not in page and "Over time" not in page
    assert page.count("data:image/jpeg") == 1 and "on 1 frame of 1 clip" in page


@pytest.mark.parametrize("count", [2, 5])
def test_of_few_frames_one_is_the_worst(tmp_path, count):
    clips = tuple("abcde")[:count]
    page = page_of(write_subject(tmp_path, clips, count=1))
    shown = re.split("<h3>", page.split("Frames to look at")[1].split("<h2>")[0])[1:]
    assert [part[:5] for part in shown] == ["Worst", "Typic", "Best<"][:: 2 if count == 2 else 1]
    assert all(part.count("data:image/jpeg") == 1 for part in shown)


def test_an_avatar_worse_than_a_copy_is_said(tmp_path):
    folder = write_subject(tmp_path)
    write_json(folder, metrics_of(COUNT // 2, face=region_metrics(20.0)["face"]))
    assert "worse than a plain copy (20.0 dB, the nearest training frame 24.5 dB)" in page_of(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"face": {"psnr_db": "31"}}, "face.psnr_db: '31' is not of type 'number', 'null'"),
        ({"intervals": dict.fromkeys(REGIONS, {"ssim": [1]})}, "ssim: [1] is too short"),
        ({"frames": 7}, "are of different runs"),
        ({"subject": "bert"}, "are of different runs"),
        ({"notes": None}, "notes: None is not of type 'array'"),
    ],
)
def test_other_metrics_are_refused(tmp_path, capsys, change, sentence):
    folder = write_subject(tmp_path)
    write_json(folder, metrics_of(COUNT // 2) | change)
    assert sentence in refused(folder, capsys)


def test_other_files_are_refused(tmp_path, capsys):
    folder = write_subject(tmp_path)
    torch.save({"format": FORMAT, "subject": "anna", "consent": "self", "history": [{"l1": 1.0}]}, folder / "avatar.pt")
    assert "is not that of a training" in refused(folder, capsys)
    for number in range(0, COUNT, 2):
        write_image(folder / "self/talk" / image_name(number), np.zeros((8, 8, 3), np.uint8))
    assert "differ in size" in refused(folder, capsys)
    write_scores(folder / "self.parquet", ["../talk"] * (COUNT // 2), np.arange(0, COUNT, 2))
    assert "no name of a clip" in refused(folder, capsys)
    write_scores(folder / "self.parquet", ["talk"] * (COUNT // 2), np.arange(1, COUNT + 1, 2) + 2)
    assert "does not fit the frames of clip 'talk'" in refused(folder, capsys)
    (folder / "metrics.json").write_text("[" * 100000)
    assert "not readable as JSON" in refused(folder, capsys)
